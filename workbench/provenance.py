"""Provenance: the code and the packages on which results depend, so that results of other code are recognised.

The code is represented by a digest of the syntax trees, without docstrings and comments, of those modules of the
package on which the computation depends. These are derived from imports, so no version number has to be maintained.
"""

import ast
import hashlib
import logging
import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import packages_distributions, version
from importlib.util import resolve_name
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import BaseModel

from workbench.errors import shown
from workbench.kernel import in_use
from workbench.syntax import PACKAGE, Read, read_text

ROOT = Path(__file__).parent

_LOG = logging.getLogger(PACKAGE)

# Modules that only display results; modules that import them do not depend on them.
SHOWING = (f"{PACKAGE}.table", f"{PACKAGE}.frames", f"{PACKAGE}.display", f"{PACKAGE}.wrapping")

# Prefix of the name of a root whose own text counts, but not its imports.
ALONE = "="

UNKNOWN = "an unknown version"  # the maker of a record without valid provenance

# Parts of the paths of installed modules, and the folder of Python's own.
_INSTALLED = ("site-packages", "dist-packages", str(Path(ast.__file__).parent))

_MODULE = re.compile(rf"{ALONE}?[^\W\d]\w*(\.[^\W\d]\w*)*")  # the name of a root

# The most differing packages that a message names, and the most characters of a record's text that it shows.
_MOST, _SHOWN = 8, 40
# Ends a reason where the user's code that made a record is not imported: nothing then shows that it differs.
NOT_IMPORTED = "is not imported"

# Distributions whose versions affect results, by the name under which code imports them.
_DECIDING = {
    "jax": ("jax", "jaxlib"),
    "numpyro": ("numpyro",),
    "numpy": ("numpy",),
    "scipy": ("scipy",),
    "optax": ("optax",),
    "arviz_stats": ("arviz-stats",),
}


@dataclass(frozen=True)
class Provenance:
    """The code and packages by which a record was made."""

    code: str  # digest; empty if the sources cannot be read, which equals no other code
    versions: Mapping[str, str]  # versions of the packages that the code imports and that affect results
    roots: tuple[str, ...]  # modules from which the imports are followed
    workbench: str  # version of the package, for messages; it does not decide whether the code is the same

    @classmethod
    def of(cls, *rests_on: Any, alone: Sequence[str] = ()) -> "Provenance":
        """The present code and packages.

        Args:
            rests_on: the functions, classes and configs that compute; every part of a config counts.
            alone: modules that choose the computation and its settings but also do much else; their own text counts,
                but not their imports.
        """
        glue = (f"{ALONE}{PACKAGE}.{name}" for name in alone)
        return cls.from_roots([*(name for each in rests_on for name in _homes(each)), *glue])

    @classmethod
    def from_roots(cls, roots: Iterable[str], root: Path = ROOT) -> "Provenance":
        """The present code that the given modules import, directly or indirectly, and its packages."""
        return _made_by(frozenset(roots), root)

    @classmethod
    def _of_modules(cls, own: frozenset[str], root: Path) -> "Provenance":
        modules = modules_of(own, root)
        if any(_is_ours(name) and _source(name, root) is None for name in modules):
            return cls("", {}, tuple(sorted(own)), version_of(PACKAGE))
        packages = sorted({package for name in modules for package in _packages(name, root)})
        versions = {name: version_of(name) for name in packages}
        if f"{PACKAGE}.engine.native" in modules:  # which pass is in use counts as the version of a package
            versions["pass"] = in_use()
        return cls(code_digest(modules, root), versions, tuple(sorted(own)), version_of(PACKAGE))

    @property
    def code_and_versions(self) -> str:
        """All that decides numbers, in one text: an unfinished run is continued by the same alone."""
        return f"{self.code} {sorted(self.versions.items())}"

    def to_dict(self) -> dict[str, Any]:
        """The form in which records store it."""
        stored = {"code": self.code, "versions": dict(self.versions), "roots": list(self.roots)}
        return stored | {PACKAGE: self.workbench}

    def why_stale(self, stored: Any) -> str | None:
        """The code or packages, other than the present ones, that made a record; None if the present ones made it.

        Args:
            stored: the result of `to_dict` in the record; records of earlier versions have none.
        """
        if not self.code or not isinstance(stored, Mapping) or not isinstance(stored.get("versions"), Mapping):
            return UNKNOWN
        versions = {str(name): value for name, value in stored["versions"].items()}
        names = sorted({*versions, *self.versions})
        differing = [_said(n, versions.get(n, "absent")) for n in names if versions.get(n) != self.versions.get(n)]
        if stored.get("code") != self.code:
            differing.insert(0, _said(PACKAGE, stored.get(PACKAGE)))
        rest = [f"and {len(differing) - _MOST} more"] if len(differing) > _MOST else []
        return ", ".join(differing[:_MOST] + rest) or None


@lru_cache
def _made_by(roots: frozenset[str], root: Path) -> Provenance:
    return Provenance._of_modules(roots, root)


@lru_cache
def version_of(package: str) -> str:
    """The version of an installed package; cached, because it is read from files."""
    return version(package)


def why_stale(stored: Any) -> str | None:
    """The other code that made a record; None if the present code of the modules that it names made it.

    Args:
        stored: the result of `Provenance.to_dict` in the record.
    """
    roots = stored.get("roots") if isinstance(stored, Mapping) else None
    if not isinstance(roots, list) or not all(isinstance(root, str) and _MODULE.fullmatch(root) for root in roots):
        return UNKNOWN
    absent = [root for root in roots if root.split(".")[0].removeprefix(ALONE) != PACKAGE and root not in sys.modules]
    if absent:
        return _said(absent[0], NOT_IMPORTED)
    return Provenance.from_roots(roots).why_stale(stored)


def _said(name: str, value: object) -> str:
    """A name and a value as part of a message; the value may be anything that a record holds."""
    return shown(f"{name} {value}", _SHOWN).strip("'\"")


def announce_stale(whys: Sequence[str | None], what: str, *, kept: bool) -> None:
    """Log how many stored records were made by other code, and what happens to them.

    Args:
        whys: the result of `why_stale` for each stored record.
        what: a plural noun for the records.
        kept: whether the records are used as they are.
    """
    stale = [why for why in whys if why is not None]
    if stale:
        made = "; ".join(dict.fromkeys(stale))
        fate = "kept as they are" if kept else "run again"
        _LOG.warning("%d of %d %s were made by other code (%s): %s", len(stale), len(whys), what, made, fate)


@lru_cache
def modules_of(roots: frozenset[str], root: Path = ROOT) -> frozenset[str]:
    """The modules of the package, and of users, that `roots` import directly or indirectly, including the roots.

    A name that a package re-exports leads to the module that defines it. A registry, which is a `dict[str, type[...]]`
    of a package, is not followed: the entry that a config uses is among the config's own parts.
    """
    alone = {name.removeprefix(ALONE) for name in roots if name.startswith(ALONE)}
    visited: set[str] = set()
    pending = [name for name in roots if not name.startswith(ALONE)]
    while pending:
        name = pending.pop()
        if name not in visited and name not in SHOWING:
            visited.add(name)
            pending += _imports(name, root)
    return frozenset(visited | alone)


@lru_cache
def code_digest(modules: frozenset[str], root: Path = ROOT) -> str:
    """A digest of the syntax trees of the modules."""
    hashed = hashlib.sha256()
    for name in sorted(modules):
        hashed.update(f"{name}\n{_read(name, root).digest}\n".encode())
    return hashed.hexdigest()[:16]


def _homes(value: Any) -> Iterator[str]:
    """The modules that define a function, a class, or the class of each part of a config."""
    if isinstance(value, BaseModel):
        yield from _homes(type(value))
        for name in type(value).model_fields:
            yield from _homes(getattr(value, name))
    elif callable(value):
        for each in getattr(value, "__mro__", (value,)):
            home = each.__module__
            installed = isinstance(each, type) and issubclass(each, BaseModel) and home.split(".")[0] != "pydantic"
            if installed or _is_ours(home):
                yield home
    elif isinstance(value, Mapping):
        for each in value.values():
            yield from _homes(each)
    elif isinstance(value, tuple | list):
        for each in value:
            yield from _homes(each)


@lru_cache(4096)
def _imports(name: str, root: Path) -> tuple[str, ...]:
    """The modules of the package, and of users, from which a module imports anywhere in its code."""
    modules: set[str] = set()
    for module, imported in _imported(name, root):
        modules |= {module} if imported is None else set(_definition(module, imported, root))
    return tuple(sorted(modules))


def _imported(name: str, root: Path) -> Iterator[tuple[str, str | None]]:
    """The imports of a module that refer to the package or to a user's own modules, as (module, name or None)."""
    for module, imported in _all_imported(name, root):
        if _is_ours(module):
            yield module, imported


def _all_imported(name: str, root: Path) -> Iterator[tuple[str, str | None]]:
    """All imports of a module, anywhere in its code, as (module, name or None)."""
    for level, module, imported in _read(name, root).imported:
        yield (_absolute(name, level, module) if level else module), imported


def _absolute(name: str, level: int, module: str) -> str:
    """The absolute name of an imported module, given a relative one such as users' packages contain."""
    package = getattr(sys.modules.get(name), "__package__", None) or ""
    return resolve_name("." * level + module, package)


def _definition(module: str, imported: str, root: Path) -> list[str]:
    """The module that defines a name imported from `module`, as a list; empty for a registry."""
    sources = _sources(root)
    if f"{module}.{imported}" in sources:
        return [f"{module}.{imported}"]
    origin = _read(module, root).offered.get(imported) if module in sources and sources[module].is_package else None
    if isinstance(origin, tuple):
        return _definition(*origin, root)
    if origin is not None:
        return [] if origin.startswith("dict[str, type[") else [module]
    return [f"{module}.{imported}"] if f"{module}.{imported}" in sys.modules and module not in sources else [module]


@lru_cache(4096)
def _packages(name: str, root: Path) -> tuple[str, ...]:
    """The distributions that affect results and that a module imports; for an installed module, its own."""
    if not _is_ours(name):
        return tuple(packages_distributions().get(name.split(".")[0], ()))
    tops = {module.split(".")[0] for module, _ in _all_imported(name, root)}
    return tuple(package for top in sorted(tops) for package in _DECIDING.get(top, ()))


class Source(NamedTuple):
    """The source of a module of the package."""

    text: bytes
    is_package: bool


@lru_cache
def _sources(root: Path) -> dict[str, Source]:
    """The sources of all modules of the package; cached, because later edits do not change the code that runs."""
    sources = {}
    for file in sorted(root.rglob("*.py")):
        parts = (PACKAGE, *file.relative_to(root).with_suffix("").parts)
        is_package = parts[-1] == "__init__"
        sources[".".join(parts[:-1] if is_package else parts)] = Source(file.read_bytes(), is_package)
    return sources


def _source(name: str, root: Path) -> bytes | None:
    """The text of a module of the package, or of a user's own that has been imported; None if it cannot be read."""
    if name.split(".")[0] == PACKAGE:
        return _sources(root)[name].text if name in _sources(root) else None
    own = Path(getattr(sys.modules.get(name), "__file__", None) or "")
    return own.read_bytes() if _is_ours(name) and own.suffix == ".py" and own.is_file() else None


def _is_ours(name: str) -> bool:
    """Whether a module belongs to this package or to the user: neither installed nor part of Python."""
    top = name.split(".")[0]
    if top == PACKAGE:
        return True
    if name not in sys.modules or top in sys.builtin_module_names:
        return False
    file = getattr(sys.modules[name], "__file__", None) or ""
    # In a notebook `__main__` has no file.
    return name == "__main__" or (bool(file) and not any(place in file for place in _INSTALLED))


def _read(name: str, root: Path) -> Read:
    return read_text(_source(name, root) or b"")


_sources(ROOT)  # before anything runs: what is imported now is what will run
