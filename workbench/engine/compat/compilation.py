"""How programs are compiled, and cached on disk so that a second process need not compile them again."""

import hashlib
import logging
import os
import platform
import sys
from collections.abc import Callable, Mapping
from functools import cache, wraps
from pathlib import Path
from typing import Any, TypeVar

import jax

# Cache every program, however small and however quickly compiled, unless the environment says otherwise.
_KEEP = {"jax_persistent_cache_min_compile_time_secs": 0.0, "jax_persistent_cache_min_entry_size_bytes": -1}

# XLA's compile options for a CPU. They change results by rounding errors only.
# For programs that step. Vectors are as wide as the registers; by default XLA uses half of a 512-bit register. Matrix
# products run on their device's own thread, because the other threads are busy with the products of other devices. The
# first option saves an eighth of the time of a pass, the second up to a quarter on all cores. The emitters and the
# level are XLA's defaults, set explicitly so that no `XLA_FLAGS` change them.
STEPPING = {
    "xla_cpu_prefer_vector_width": 512,
    "xla_cpu_multi_thread_eigen": False,
    "xla_cpu_use_fusion_emitters": True,
    "xla_backend_optimization_level": 3,
}

# Compiling takes a third less time, and programs run as fast, except loops with many small operations.
OLD_EMITTERS = {"xla_cpu_use_fusion_emitters": False}

# For programs that step beside the native pass. XLA's own level of optimisation is left to `XLA_FLAGS`.
BESIDE = {name: value for name, value in STEPPING.items() if "level" not in name} | OLD_EMITTERS

# For programs that run only a few times: compiling takes a third of the time, and a run up to three times as long.
BRIEF = OLD_EMITTERS | {"xla_backend_optimization_level": 0}

# N x D up to which `BRIEF` takes less time in total than full optimisation.
FEW_NUMBERS = 2**15

T = TypeVar("T")

_LOG = logging.getLogger(__package__ or "workbench")


def jit_with(
    options: Mapping[str, Any], static_argnums: int | tuple[int, ...] = ()
) -> Callable[[Callable[..., T]], Callable[..., T]]:
    """A decorator: `jax.jit` with those of the compile options that this version of XLA knows.

    The options are tried at the first call and not before, because trying them starts JAX.

    Args:
        options: XLA's options, as `compiler_options` of `jax.jit`.
        static_argnums: as in `jax.jit`.
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
    """Those of the compile options that this version of XLA knows; XLA would raise an error for the others."""
    # All in one program first, because compiling even an empty one takes milliseconds.
    if _are_known(tuple(options.items())):
        return dict(options)
    return {name: value for name, value in options.items() if _are_known(((name, value),))}


@cache
def _are_known(options: tuple[tuple[str, Any], ...]) -> bool:
    try:
        jax.jit(lambda: 0, compiler_options=dict(options)).lower().compile()
    except jax.errors.JaxRuntimeError as error:
        if len(options) == 1:
            _LOG.debug("compile option %s is left out: %s", options[0][0], error)
        return False
    return True


def jit_by_size(function: Callable[..., T], static_argnums: tuple[int, ...] = ()) -> Callable[..., T]:
    """`jax.jit` for a function that is called only a few times: on small data it is compiled with `BRIEF`.

    Args:
        function: the function to compile.
        static_argnums: as in `jax.jit`.

    Returns:
        A function whose first argument is N x D, followed by the arguments of `function`.
    """
    brief = jit_with(BRIEF, static_argnums)(function)
    full = jax.jit(function, static_argnums=static_argnums)

    def call(numbers: int, *arguments: Any) -> T:
        return (brief if numbers <= FEW_NUMBERS else full)(*arguments)

    return call


def jit_to_step(function: Callable[..., T], static_argnums: tuple[int, ...] = ()) -> Callable[..., T]:
    """`jax.jit` for a function that steps. Beside the native pass, all that XLA computes is of the size of parameters.

    By the older emitters that takes as long to run, and half as long to compile (EM .5 s for .9 s, L-BFGS 1.6 s for
    2.7 s, NUTS 3.5 s for 5 s); the pass in JAX takes up to three times as long by them.

    Args:
        function: the function to compile.
        static_argnums: as in `jax.jit`.

    Returns:
        A function whose first argument is whether the native pass goes over the rows, followed by the arguments of
        `function`.
    """
    beside = jit_with(BESIDE, static_argnums)(function)
    alone = jit_with(STEPPING, static_argnums)(function)

    def call(is_native: bool, *arguments: Any) -> T:
        return (beside if is_native else alone)(*arguments)

    return call


def keep_compiled_programs() -> None:
    """Turn on JAX's persistent compilation cache in the user's cache folder.

    The environment takes precedence: `JAX_COMPILATION_CACHE_DIR` names another folder, and
    `JAX_ENABLE_COMPILATION_CACHE=false` turns the cache off. There is no cache if the folder cannot be written to.
    """
    for name, value in _KEEP.items():
        if name.upper() not in os.environ:
            jax.config.update(name, value)
    if "JAX_COMPILATION_CACHE_DIR" in os.environ:
        return
    # Machines with different processors may share the home folder, and code compiled for one can fail on another.
    folder = cache_folder(os.environ, sys.platform, Path.home()) / processor()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return
    if os.access(folder, os.W_OK | os.X_OK):
        jax.config.update("jax_compilation_cache_dir", str(folder))


def cache_folder(environment: Mapping[str, str], platform: str, home: Path) -> Path:
    """The folder of compiled programs, `workbench/jax` in the user's cache folder; it has a subfolder per processor."""
    given = environment.get("XDG_CACHE_HOME", "")
    # The XDG specification requires that relative paths are ignored.
    if Path(given).is_absolute():
        return Path(given) / "workbench" / "jax"
    return home / ("Library/Caches" if platform == "darwin" else ".cache") / "workbench" / "jax"


def processor() -> str:
    """A digest of the processor's model and instruction set; programs can be exchanged where it is equal."""
    about = Path("/proc/cpuinfo")
    lines = about.read_text(encoding="utf-8", errors="replace").splitlines() if about.is_file() else []
    # The lines of the first core: its model and its instructions ("flags" on x86, "Features" on ARM).
    fields = {line.partition("\t")[0]: line for line in reversed(lines) if ":" in line}
    features = [fields[name] for name in ("model name", "flags", "Features") if name in fields]
    return hashlib.sha256(repr((platform.machine(), platform.processor(), features)).encode()).hexdigest()[:10]
