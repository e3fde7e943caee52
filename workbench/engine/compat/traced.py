"""Programs that a second process need not trace again: compiled programs on disk, found by what decides them.

JAX's own cache (`compilation.py`) finds a program by its text, for which the function must be traced and lowered, as
long as a small problem takes to solve. Here a program is found by what decides its text: the package's own files, the
versions of other packages, JAX's settings, the compile options, the static arguments, and the structure and types of
the arrays. Whatever has no description that says all of it (a user's own method, streamed rows) is traced as usual, and
so is everything unless the command line calls `keep_traced_programs`.

A file names the program by a digest of its text, so that after an edit that changes no program, each is traced once but
not compiled. XLA cannot write out a program that it has read from a file, so what JAX's cache has supplied is not kept.
One compile option, at its default, therefore tells these programs from all others in JAX's cache.

The files hold machine code and pickles, and lie beside JAX's own cache, which holds machine code as well.
"""

import os
import pickle
import platform
import re
import shutil
import sys
import threading
import zlib
from collections import OrderedDict
from collections.abc import Callable, Hashable, Mapping
from contextlib import suppress
from functools import cache, wraps
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import jax
import numpy as np
from jax.experimental import serialize_executable

from workbench.engine.compat import compilation
from workbench.engine.compat.compilation import BRIEF, FEW_NUMBERS, known
from workbench.engine.compat.said import UnsaidError, digest_of, said
from workbench.provenance import package_digest

T = TypeVar("T")

# This option, at its default, marks the programs that are kept here.
_MARK = {"xla_cpu_enable_fast_math": False}

# The most programs that a process holds: each takes up some hundred memory maps, of which a process may have 65,530.
MOST_HELD = 64

# The most codes (edits of the package, settings) whose programs are found without tracing.
MOST_CODES = 16

# The package's code in other languages. Read before anything runs, as `provenance.py` reads the modules.
_OTHER_CODE = [
    (file.name, digest_of(file.read_bytes()))
    for file in sorted(Path(__file__).parents[1].rglob("*"))
    if file.suffix in (".c", ".cc", ".cpp", ".h", ".so")
]

# Settings of JAX that decide no program, by parts of their names.
_IRRELEVANT = ("cache", "log", "dump", "traceback", "timeout", "color", "explain", "distributed", "coordinat")

# The beginnings of the names of environment variables that can decide a program.
_ENVIRONMENT = ("JAX_", "XLA_", "WORKBENCH_", "NPROC")

_PACKAGES = ("jax", "jaxlib", "numpyro", "numpy", "optax", "pydantic")

# The errors of reading a damaged file, or one of another version.
_DAMAGED = (
    OSError, EOFError, pickle.UnpicklingError, zlib.error, ValueError, TypeError, KeyError, AttributeError, ImportError,
    IndexError, jax.errors.JaxRuntimeError,
)  # fmt: skip


class _Kept:
    """The folder of this process, the programs that it holds, and how many were traced."""

    def __init__(self) -> None:
        self.folder: Path | None = None
        self.held: OrderedDict[Hashable, Callable[..., Any] | None] = OrderedDict()
        self.lock = threading.RLock()
        self.own = threading.local()  # how many programs JAX's cache has supplied to a thread
        self.listens = False


_KEPT = _Kept()


def keep_traced_programs() -> None:
    """Keep programs beside JAX's cache from now on; the environment that moves or disables that applies here too.

    There are none for several hosts or for an accelerator, where nobody has tried it.
    """
    if not jax.config.jax_enable_compilation_cache:  # type: ignore[attr-defined]  # set by JAX at import
        return
    given = os.environ.get("JAX_COMPILATION_CACHE_DIR")
    folder = compilation.cache_folder(os.environ, sys.platform, Path.home()) if given is None else Path(given)
    keep_in(folder / "traced")


def keep_in(folder: Path | None) -> None:
    """Keep programs in a folder from now on; None to keep none."""
    with _KEPT.lock:
        _KEPT.folder = folder
        _KEPT.held.clear()
        _surroundings.cache_clear()
        if not _KEPT.listens:
            jax.monitoring.register_event_listener(_count_hits)
            _KEPT.listens = True


def _count_hits(event: str, **_: Any) -> None:
    if event.endswith("/cache_hits"):
        _KEPT.own.hits = _hits() + 1


def _hits() -> int:
    return getattr(_KEPT.own, "hits", 0)


def jit_with(
    options: Mapping[str, Any], static_argnums: int | tuple[int, ...] = ()
) -> Callable[[Callable[..., T]], Callable[..., T]]:
    """`compilation.jit_with`, which a second process need not trace."""
    static = (static_argnums,) if isinstance(static_argnums, int) else static_argnums

    def decorate(function: Callable[..., T]) -> Callable[..., T]:
        plain = compilation.jit_with(options, static)(function)

        @cache
        def marked() -> Any:
            return jax.jit(function, static_argnums=static, compiler_options=known(options) | known(_MARK))

        @wraps(function)
        def call(*arguments: Any) -> T:
            if _KEPT.folder is None or not _is_alone():
                return plain(*arguments)
            fixed = tuple(arguments[place] for place in static)
            given = tuple(each for place, each in enumerate(arguments) if place not in static)
            leaves, tree = jax.tree.flatten(given)
            if any(isinstance(leaf, jax.core.Tracer) for leaf in leaves):
                return plain(*arguments)
            key = (function, fixed, tree, tuple(map(_kind, leaves)))
            program = _held(key, lambda: _found(function, options, marked, fixed, given, arguments))
            return plain(*arguments) if program is None else program(*given)

        return call

    return decorate


def jit_by_size(function: Callable[..., T], static_argnums: tuple[int, ...] = ()) -> Callable[..., T]:
    """`compilation.jit_by_size`, which a second process need not trace."""
    brief, full = jit_with(BRIEF, static_argnums)(function), jit_with({}, static_argnums)(function)

    def call(numbers: int, *arguments: Any) -> T:
        return (brief if numbers <= FEW_NUMBERS else full)(*arguments)

    return call


@cache
def _is_alone() -> bool:
    """Whether programs run on the CPU of one host. This starts JAX, as the call that asks is about to."""
    return jax.default_backend() == "cpu" and jax.process_count() == 1


def _held(key: Hashable, find: Callable[[], Callable[..., Any] | None]) -> Callable[..., Any] | None:
    """The program of a key, found where it is not held; the one that was used longest ago is let go."""
    with _KEPT.lock:
        if key in _KEPT.held:
            _KEPT.held.move_to_end(key)
            return _KEPT.held[key]
    program = find()
    with _KEPT.lock:
        _KEPT.held[key] = program
        while len(_KEPT.held) > MOST_HELD:
            _KEPT.held.popitem(last=False)
    return program


def _kind(leaf: Any) -> Hashable:
    """The type of an argument, and where it lies if it must stay there."""
    if isinstance(leaf, jax.Array):
        return leaf.shape, str(leaf.dtype), getattr(leaf, "weak_type", False), leaf.sharding if leaf.committed else None
    if isinstance(leaf, np.ndarray | np.generic):
        return leaf.shape, str(leaf.dtype), False, None
    return str(type(leaf))


class _Files(NamedTuple):
    """The files of one program."""

    pointer: Path  # names the program of some code, arguments and surroundings
    programs: Path  # the folder of programs, by digests of their texts


def _found(
    function: Callable[..., Any],
    options: Mapping[str, Any],
    marked: Callable[[], Any],
    fixed: tuple[Any, ...],
    given: tuple[Any, ...],
    arguments: tuple[Any, ...],
) -> Callable[..., Any] | None:
    """The program for some arguments, from disk or compiled; None if it cannot be kept."""
    folder = _KEPT.folder
    if folder is None or function.__closure__ or "<lambda>" in function.__qualname__:
        return None
    leaves, tree = jax.tree.flatten(given)
    kinds = [_kind(leaf) for leaf in leaves]
    try:
        about = (function.__module__, function.__qualname__, dict(options), fixed, _structure(tree), kinds)
        name = digest_of(said(about))
    except UnsaidError:
        return None
    files = _Files(folder / _surroundings() / name, folder / "programs")
    with suppress(*_DAMAGED):
        return _read(files, tree)
    lowered = marked().lower(*arguments)
    # Types that do not show in the text: weak ones, and keys.
    written = lowered.as_text()
    text = digest_of((written, said(kinds), dict(options), _machine()))
    with suppress(*_DAMAGED):
        blob = (files.programs / text).read_bytes()
        _point(files, text, blob, lowered.out_tree)
        return _read(files, tree)
    hits = _hits()
    compiled: Callable[..., Any] = lowered.compile()
    if _hits() == hits and _is_known_outside(written):
        # `NotImplementedError`: the program holds arrays as constants. `JaxRuntimeError`: it sorts.
        with suppress(*_DAMAGED, NotImplementedError, pickle.PicklingError):
            blob = _packed(compiled)
            _write(files.programs / text, blob)
            _point(files, text, blob, lowered.out_tree)
    return compiled


def _packed(compiled: Any) -> bytes:
    payload, _, _ = serialize_executable.serialize(compiled)
    devices = {device.id for each in jax.tree.leaves(compiled.output_shardings) for device in each.device_set}
    return zlib.compress(pickle.dumps((payload, sorted(devices))), 1)


def _lapack() -> None:
    """Have JAX look up LAPACK's functions, which it does when a program that calls them is lowered and not before."""
    jax.jit(jax.numpy.linalg.cholesky).lower(np.eye(2))


# Functions outside XLA that kept programs may call, by the beginnings of their names, and what registers them. Tracing
# a program registers what it calls, and reading one does not. A program that calls others is traced as usual, and so is
# one that calls Python.
OUTSIDE: dict[str, Callable[[], None]] = {"lapack_": _lapack}

_CALLED = re.compile(r"custom_call @([\w.]+)")


def _is_known_outside(text: str) -> bool:
    """Whether all that a program of this text calls is registered before it is read."""
    return all(name.startswith(tuple(OUTSIDE)) for name in _CALLED.findall(text))


@cache
def _prepare() -> None:
    for register in OUTSIDE.values():
        register()


def _read(files: _Files, tree: Any) -> Callable[..., Any]:
    """The program that a file names."""
    text, digest, out_tree = pickle.loads(files.pointer.read_bytes())
    blob = (files.programs / str(text)).read_bytes()
    if digest_of(blob) != digest:
        raise ValueError(f"{files.programs / text}: is damaged")
    _prepare()
    payload, ids = pickle.loads(zlib.decompress(blob))
    there = {device.id: device for device in jax.devices()}
    in_tree = jax.tree_util.treedef_tuple((tree, jax.tree.structure({})))
    loaded: Callable[..., Any] = serialize_executable.deserialize_and_load(
        payload, in_tree, out_tree, execution_devices=[there[place] for place in ids]
    )
    return loaded


def _point(files: _Files, text: str, blob: bytes, out_tree: Any) -> None:
    """Let a file name a program. Only the code of late has files, because each edit of the package has its own."""
    if not files.pointer.parent.is_dir():
        earlier = [each for each in files.programs.parent.glob("code-*") if each.is_dir()]
        for each in sorted(earlier, key=lambda each: each.stat().st_mtime)[: -(MOST_CODES - 1)]:
            shutil.rmtree(each, ignore_errors=True)
    _write(files.pointer, pickle.dumps((text, digest_of(blob), out_tree)))


def _write(file: Path, content: bytes) -> None:
    """Write a file at once: other processes see all of it or nothing."""
    file.parent.mkdir(parents=True, exist_ok=True)
    own = file.with_name(f"{file.name}.{os.getpid()}.{threading.get_ident()}")
    own.write_bytes(content)
    own.replace(file)


@cache
def _surroundings() -> str:
    """The name of the folder for what decides a program besides its function and arguments."""
    settings = {name: repr(value) for name, value in jax.config.values.items()}
    settings = {name: value for name, value in settings.items() if not any(part in name for part in _IRRELEVANT)}
    environment = {name: value for name, value in os.environ.items() if name.startswith(_ENVIRONMENT)}
    environment = {name: value for name, value in environment.items() if "CACHE" not in name}
    code = (package_digest(), _OTHER_CODE)
    return f"code-{digest_of((_machine(), sorted(settings.items()), sorted(environment.items()), code))[:16]}"


@cache
def _machine() -> str:
    """A digest of the packages, the processor and the devices."""
    devices = [(device.id, device.platform, device.device_kind) for device in jax.devices()]
    versions = {name: version(name) for name in _PACKAGES}
    return digest_of((platform.python_version(), compilation.processor(), versions, devices))


def _structure(tree: Any) -> Any:
    """The structure of arguments, as `said` can describe it."""
    node = tree.node_data()
    return None if node is None else [*node, *map(_structure, tree.children())]
