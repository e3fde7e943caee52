"""Provenance: which code and which packages numbers rest on, so that what other code made is told from what this made.

The code is a digest of syntax trees, without docstrings and comments, of the modules of ours that are reached from what
computes the numbers. It is derived from the imports: nobody has to remember to raise a number.
"""

import ast
import hashlib
import logging
import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from importlib.metadata import packages_distributions, version
from importlib.util import resolve_name
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import BaseModel

from workbench.errors import shown

ROOT = Path(__file__).parent
PACKAGE = __package__ or "workbench"

_LOG = logging.getLogger(PACKAGE)

# Shows what was computed, and is never asked for a number: what imports it does not rest on it.
SHOWING = f"{PACKAGE}.table"

# Beside a module's name: the module itself counts, and what it imports does not.
ALONE = "="

# What made a record that does not say.
UNKNOWN = "an unknown version"

# Where installed modules lie, and those of Python itself.
_INSTALLED = ("site-packages", "dist-packages", str(Path(ast.__file__).parent))

# The name of a module, as roots have it.
_MODULE = re.compile(rf"{ALONE}?[^\W\d]\w*(\.[^\W\d]\w*)*")

# Packages named of those that differ, and characters shown of what a record says of itself.
_MOST, _SHOWN = 8, 40

# Distributions whose versions decide numbers, by the name that code imports them by.
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
    """What a record was made by."""

    code: str  # empty where the sources cannot be read: nothing is the same as that
    versions: Mapping[str, str]  # of the packages that the code imports and that decide numbers
    roots: tuple[str, ...]  # modules from which the code is reached
    workbench: str  # the version that the package gives itself; says nothing of whether the code is the same

    @classmethod
    def of(cls, *rests_on: Any, alone: Sequence[str] = ()) -> "Provenance":
        """The present code and packages.

        Args:
            rests_on: what computes: functions, classes, and configs, of which every part counts.
            alone: modules that say what computes with which settings, and do much else: their own text counts, and
                not what they import.
        """
        glue = (f"{ALONE}{PACKAGE}.{name}" for name in alone)
        return cls.from_roots([*(name for each in rests_on for name in _homes(each)), *glue])

    @classmethod
    def from_roots(cls, roots: Iterable[str], root: Path = ROOT) -> "Provenance":
        """The present code that some modules reach, and its packages."""
        return _made_by(frozenset(roots), root)

    @classmethod
    def _of_modules(cls, own: frozenset[str], root: Path) -> "Provenance":
        modules = modules_of(own, root)
        if any(_is_ours(name) and _source(name, root) is None for name in modules):
            return cls("", {}, tuple(sorted(own)), version_of(PACKAGE))
        packages = sorted({package for name in modules for package in _packages(name, root)})
        versions = {name: version_of(name) for name in packages}
        return cls(code_digest(modules, root), versions, tuple(sorted(own)), version_of(PACKAGE))

    def to_dict(self) -> dict[str, Any]:
        """As a record keeps it."""
        kept = {"code": self.code, "versions": dict(self.versions), "roots": list(self.roots)}
        return kept | {PACKAGE: self.workbench}

    def why_stale(self, stored: Any) -> str | None:
        """What else made a record; None where the present code and packages did.

        Args:
            stored: what the record keeps, of `to_dict`; a record of an earlier version has nothing.
        """
        if not self.code or not isinstance(stored, Mapping) or not isinstance(stored.get("versions"), Mapping):
            return UNKNOWN
        versions = {str(name): value for name, value in stored["versions"].items()}
        names = {name for name in {*versions, *self.versions} if versions.get(name) != self.versions.get(name)}
        differing = [_said(name, versions.get(name, "absent")) for name in sorted(names)]
        if stored.get("code") != self.code:
            differing.insert(0, _said(PACKAGE, stored.get(PACKAGE)))
        rest = [f"and {len(differing) - _MOST} more"] if len(differing) > _MOST else []
        return ", ".join(differing[:_MOST] + rest) or None


@lru_cache
def _made_by(roots: frozenset[str], root: Path) -> Provenance:
    return Provenance._of_modules(roots, root)


@lru_cache
def version_of(package: str) -> str:
    """The version of an installed package, which is looked up in files: once."""
    return version(package)


def why_stale(stored: Any) -> str | None:
    """What else made a record; None where the present code of the modules that it names did.

    Args:
        stored: what the record keeps, of `Provenance.to_dict`.
    """
    roots = stored.get("roots") if isinstance(stored, Mapping) else None
    if not isinstance(roots, list) or not all(isinstance(root, str) and _MODULE.fullmatch(root) for root in roots):
        return UNKNOWN
    absent = [root for root in roots if root.split(".")[0].removeprefix(ALONE) != PACKAGE and root not in sys.modules]
    if absent:
        return _said(absent[0], "is not imported")
    return Provenance.from_roots(roots).why_stale(stored)


def _said(name: str, value: object) -> str:
    """As a line of a message has it, whatever a record holds."""
    return shown(f"{name} {value}", _SHOWN).strip("'\"")


def announce_stale(whys: Sequence[str | None], what: str, *, kept: bool) -> None:
    """Say in the log how many of some stored records other code made, and what becomes of them.

    Args:
        whys: of `why_stale`, of each stored record.
        what: the records are, in the plural.
        kept: whether they are used as they are.
    """
    stale = [why for why in whys if why is not None]
    if stale:
        made = "; ".join(dict.fromkeys(stale))
        fate = "kept as they are" if kept else "run again"
        _LOG.warning("%d of %d %s were made by other code (%s): %s", len(stale), len(whys), what, made, fate)


@lru_cache
def modules_of(roots: frozenset[str], root: Path = ROOT) -> frozenset[str]:
    """The modules of ours that some modules reach by imports, themselves among them.

    A name that a package only passes on leads to the module that defines it. A registry, a `dict[str, type[...]]` of a
    package, is not followed: what a config uses of it is among the config's own parts.
    """
    alone = {name.removeprefix(ALONE) for name in roots if name.startswith(ALONE)}
    seen: set[str] = set()
    ahead = [name for name in roots if not name.startswith(ALONE)]
    while ahead:
        name = ahead.pop()
        if name not in seen and name != SHOWING:
            seen.add(name)
            ahead += _imports(name, root)
    return frozenset(seen | alone)


@lru_cache
def code_digest(modules: frozenset[str], root: Path = ROOT) -> str:
    """A digest of the syntax trees of some modules."""
    hashed = hashlib.sha256()
    for name in sorted(modules):
        hashed.update(f"{name}\n{_read(name, root).digest}\n".encode())
    return hashed.hexdigest()[:16]


def _homes(value: Any) -> Iterator[str]:
    """The modules in which a function, a class, or the class of each part of a config is defined."""
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
    """The modules of ours, and of a user's own, that a module imports from, at any depth of its code."""
    found: set[str] = set()
    for module, imported in _imported(name, root):
        found |= {module} if imported is None else set(_definition(module, imported, root))
    return tuple(sorted(found))


def _imported(name: str, root: Path) -> Iterator[tuple[str, str | None]]:
    """What a module imports of ours, or a user's own of theirs: modules, or names from modules."""
    for module, imported in _all_imported(name, root):
        if _is_ours(module):
            yield module, imported


def _all_imported(name: str, root: Path) -> Iterator[tuple[str, str | None]]:
    """What a module imports, wherever in it: modules, or names from modules."""
    for level, module, imported in _read(name, root).imported:
        yield (_absolute(name, level, module) if level else module), imported


def _absolute(name: str, level: int, module: str) -> str:
    """The module that is imported from, also where its name is relative, as in a user's own package."""
    package = getattr(sys.modules.get(name), "__package__", None) or ""
    return resolve_name("." * level + module, package)


def _definition(module: str, imported: str, root: Path) -> list[str]:
    """The module that defines a name that another one offers; none of a registry."""
    sources = _sources(root)
    if f"{module}.{imported}" in sources:
        return [f"{module}.{imported}"]
    found = _read(module, root).offered.get(imported) if module in sources and sources[module].is_package else None
    if isinstance(found, tuple):
        return _definition(*found, root)
    if found is not None:
        return [] if found.startswith("dict[str, type[") else [module]
    return [f"{module}.{imported}"] if f"{module}.{imported}" in sys.modules and module not in sources else [module]


@lru_cache(4096)
def _packages(name: str, root: Path) -> tuple[str, ...]:
    """The distributions that decide numbers and that a module imports; its own, where it is an installed one."""
    if not _is_ours(name):
        return tuple(packages_distributions().get(name.split(".")[0], ()))
    tops = {module.split(".")[0] for module, _ in _all_imported(name, root)}
    return tuple(package for top in sorted(tops) for package in _DECIDING.get(top, ()))


class Source(NamedTuple):
    """The text of a module of the package."""

    text: bytes
    is_package: bool


@lru_cache
def _sources(root: Path) -> dict[str, Source]:
    """Every module of the package, as it is on disk now: read once, so that later edits are not taken for what runs."""
    found = {}
    for file in sorted(root.rglob("*.py")):
        parts = (PACKAGE, *file.relative_to(root).with_suffix("").parts)
        is_package = parts[-1] == "__init__"
        found[".".join(parts[:-1] if is_package else parts)] = Source(file.read_bytes(), is_package)
    return found


def _source(name: str, root: Path) -> bytes | None:
    """The text of a module: one of the package, or a user's own that has been imported."""
    if name in _sources(root):
        return _sources(root)[name].text
    own = Path(getattr(sys.modules.get(name), "__file__", None) or "")
    return own.read_bytes() if _is_ours(name) and own.suffix == ".py" and own.is_file() else None


def _is_ours(name: str) -> bool:
    """Whether a module is of this package or of a user's own: neither installed nor of Python itself."""
    top = name.split(".")[0]
    if top == PACKAGE:
        return True
    if name not in sys.modules or top in sys.builtin_module_names:
        return False
    file = getattr(sys.modules[name], "__file__", None) or ""
    # A notebook is a module without a file.
    return name == "__main__" or (bool(file) and not any(place in file for place in _INSTALLED))


class Read(NamedTuple):
    """What is read off the text of a module."""

    digest: str  # of its syntax tree
    imported: tuple[tuple[int, str, str | None], ...]  # dots, module, and the name from it or None
    offered: Mapping[str, tuple[str, str] | str]  # names at its top: where one comes from, or how one is annotated


def _read(name: str, root: Path) -> Read:
    return _read_text(_source(name, root) or b"")


@cache
def _read_text(text: bytes) -> Read:
    """By the text alone: of two copies of the package, what is the same in both is read once."""
    tree = ast.parse(text)
    imported: list[tuple[int, str, str | None]] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            imported += [(node.level, node.module or "", alias.name) for alias in node.names]
        elif isinstance(node, ast.Import):
            imported += [(0, alias.name, None) for alias in node.names]
    offered: dict[str, tuple[str, str] | str] = {}
    for each in reversed(tree.body):
        if isinstance(each, ast.ImportFrom) and (each.module or "").split(".")[0] == PACKAGE:
            offered |= {alias.asname or alias.name: (str(each.module), alias.name) for alias in reversed(each.names)}
        elif isinstance(each, ast.AnnAssign):
            offered[ast.unparse(each.target)] = ast.unparse(each.annotation)
    digest = hashlib.sha256(repr(_plain(tree)).encode()).hexdigest()
    return Read(digest, tuple(imported), offered)


def _plain(node: Any) -> Any:
    """A syntax tree as nested lists, without words for people and places, the same in every version of Python."""
    if isinstance(node, list):
        return [_plain(each) for each in node if not _is_words(each)]
    if not isinstance(node, ast.AST):
        return repr(node)
    parts = [(name, value) for name, value in ast.iter_fields(node) if value is not None and value != []]
    if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and ast.get_docstring(node):
        parts = [(name, value[1:] if name == "body" else value) for name, value in parts]
    return [type(node).__name__, *((name, _plain(value)) for name, value in parts)]


def _is_words(node: Any) -> bool:
    """Whether it only tells people something: the line of a class in lists, or the description of a field."""
    if isinstance(node, ast.AnnAssign):
        return isinstance(node.target, ast.Name) and node.target.id == "summary"
    return isinstance(node, ast.keyword) and node.arg == "description"


# Before anything runs: what is imported now is what will run.
_sources(ROOT)
