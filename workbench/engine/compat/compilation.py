"""How programs are compiled, and kept on disk, so that a second process steps at once instead of compiling again."""

import hashlib
import logging
import os
import platform
import sys
import time
from collections.abc import Callable, Mapping
from functools import cache, wraps
from pathlib import Path
from typing import Any, TypeVar

import jax

# What JAX keeps, unless the environment says otherwise: every program, however small and however quickly compiled.
_KEEP = {"jax_persistent_cache_min_compile_time_secs": 0.0, "jax_persistent_cache_min_entry_size_bytes": -1}

# XLA's options for a CPU; no number that is worth a word changes with them. Of a program that steps: vectors as wide as
# the registers, of which XLA leaves half where they have 512 bits, and products on their device's own thread, because
# the others are busy with products of their own. A pass takes an eighth less time by the one, and on all cores up to a
# quarter less by the other. The emitters are those that XLA chooses too, named so that no `XLA_FLAGS` change them.
STEPPING = {
    "xla_cpu_prefer_vector_width": 512,
    "xla_cpu_multi_thread_eigen": False,
    "xla_cpu_use_fusion_emitters": True,
}

# Compiling takes a third less time, and what runs is as fast but for loops of many small parts.
OLD_EMITTERS = {"xla_cpu_use_fusion_emitters": False}

# Of a program that runs a handful of times: compiling takes a third of the time, and a run up to three times as long.
BRIEF = OLD_EMITTERS | {"xla_backend_optimization_level": 0}

# Up to so many numbers of data the second is the better bargain.
FEW_NUMBERS = 2**15

T = TypeVar("T")

_LOG = logging.getLogger(__package__ or "workbench")


def jit_with(
    options: Mapping[str, Any], static_argnums: int | tuple[int, ...] = ()
) -> Callable[[Callable[..., T]], Callable[..., T]]:
    """A decorator: `jax.jit` with those of some compile options that this version of XLA knows.

    They are tried at the first call, because JAX begins with it.

    Args:
        options: of XLA, as `compiler_options` of `jax.jit`.
        static_argnums: as of `jax.jit`.
    """

    def decorate(function: Callable[..., T]) -> Callable[..., T]:
        @cache
        def program() -> Callable[..., T]:
            return jax.jit(function, static_argnums=static_argnums, compiler_options=known(options))

        @wraps(function)
        def call(*arguments: Any) -> T:
            return program()(*arguments)

        return call

    return decorate


def known(options: Mapping[str, Any]) -> dict[str, Any]:
    """Those of some compile options that this version of XLA knows. An unknown one is left out, as XLA would raise."""
    return {name: value for name, value in options.items() if _is_known(name, value)}


@cache
def _is_known(name: str, value: Any) -> bool:
    try:
        jax.jit(lambda: 0, compiler_options={name: value}).lower().compile()
    except jax.errors.JaxRuntimeError as error:
        _LOG.debug("compile option %s is left out: %s", name, error)
        return False
    return True


def jit_by_size(function: Callable[..., T], static_argnums: tuple[int, ...] = ()) -> Callable[..., T]:
    """`jax.jit` of a function that is called a handful of times: compiled briefly where data are few.

    Args:
        function: what to compile.
        static_argnums: as of `jax.jit`.

    Returns:
        A function of the number of numbers in the data, and then the arguments of `function`.
    """
    brief = jit_with(BRIEF, static_argnums)(function)
    full = jax.jit(function, static_argnums=static_argnums)

    def call(numbers: int, *arguments: Any) -> T:
        return (brief if numbers <= FEW_NUMBERS else full)(*arguments)

    return call


def keep_compiled_programs() -> None:
    """Turn on JAX's persistent compilation cache in the user's cache folder.

    What the environment says goes first: `JAX_COMPILATION_CACHE_DIR` is another folder, and
    `JAX_ENABLE_COMPILATION_CACHE=false` is none. A folder that cannot be written to is none either.
    """
    for name, value in _KEEP.items():
        if name.upper() not in os.environ:
            jax.config.update(name, value)
    if "JAX_COMPILATION_CACHE_DIR" in os.environ:
        return
    # Code for one processor can be wrong for another that shares the folder, as where homes lie on a file server.
    folder = cache_folder(os.environ, sys.platform, Path.home()) / processor()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return
    if os.access(folder, os.W_OK | os.X_OK):
        jax.config.update("jax_compilation_cache_dir", str(folder))


# Seconds between two counts of memory maps, which take milliseconds each. No process compiles half of what it may have
# in this time.
COUNT_EVERY = 1.0
_COUNTED = {"at": -float("inf")}


def make_room(share: float = 0.5, every: float = COUNT_EVERY) -> None:
    """Forget the programs compiled so far where this share of the memory maps that a process may have is taken.

    Each program on a CPU holds a few; beyond the limit (Linux: vm.max_map_count, 65,530 unless set) the next one
    crashes the process. What is needed again is compiled again, or read from disk.

    Args:
        share: of the maps that a process may have.
        every: seconds since the last count; where fewer have passed nothing is done.
    """
    now = time.monotonic()
    if now < _COUNTED["at"] + every:
        return
    _COUNTED["at"] = now
    limit, maps = Path("/proc/sys/vm/max_map_count"), Path("/proc/self/maps")
    if limit.is_file() and maps.is_file():
        with maps.open("rb") as lines:
            held = sum(1 for _ in lines)
        if held > share * int(limit.read_text()):
            jax.clear_caches()


def cache_folder(environment: Mapping[str, str], platform: str, home: Path) -> Path:
    """Where compiled programs lie: `workbench/jax` in the user's cache folder, by processor."""
    given = environment.get("XDG_CACHE_HOME", "")
    # The XDG specification has relative paths ignored.
    if Path(given).is_absolute():
        return Path(given) / "workbench" / "jax"
    return home / ("Library/Caches" if platform == "darwin" else ".cache") / "workbench" / "jax"


def processor() -> str:
    """A name for what the processor can do: equal where compiled programs can be exchanged."""
    about = Path("/proc/cpuinfo")
    lines = about.read_text(encoding="utf-8", errors="replace").splitlines() if about.is_file() else []
    # The first core's: its model, and its instructions ("flags" on x86, "Features" on ARM).
    known = {line.partition("\t")[0]: line for line in reversed(lines) if ":" in line}
    told = [known[name] for name in ("model name", "flags", "Features") if name in known]
    return hashlib.sha256(repr((platform.machine(), platform.processor(), told)).encode()).hexdigest()[:10]
