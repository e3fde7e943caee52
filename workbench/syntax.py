"""The facts that are extracted from the text of a module: a digest of its syntax tree, imports, and top-level names.

They are a function of the text alone. The command line keeps them in the user's cache folder, by a digest of the text,
because parsing the modules that a result depends on takes half a second.
"""

import ast
import hashlib
import json
import os
from collections.abc import Mapping
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

PACKAGE = __package__ or "workbench"

# The most texts that are kept; older ones are forgotten.
MOST_KEPT = 2000


class Read(NamedTuple):
    """The facts that are extracted from the text of a module."""

    digest: str  # digest of the syntax tree
    imported: tuple[tuple[int, str, str | None], ...]  # number of dots, module, and the imported name or None
    offered: Mapping[str, tuple[str, str] | str]  # top-level names: (module, name) of an import, or the annotation


class Kept:
    """Facts in a file, by digests of the texts. They are read when first needed, and written by `save`."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self._old: dict[str, Any] | None = None
        self._new: dict[str, Any] = {}

    def get(self, text: bytes) -> Read | None:
        """The facts of a text; None if the file does not hold them, or is damaged."""
        if self._old is None:
            self._old = self._stored()
        try:
            digest, imported, offered = self._old[_key(text)]
            found = Read(
                str(digest),
                tuple((int(dots), str(module), None if name is None else str(name)) for dots, module, name in imported),
                {str(name): origin if isinstance(origin, str) else tuple(origin) for name, origin in offered.items()},
            )
        except (KeyError, TypeError, ValueError, AttributeError):
            return None
        return found

    def put(self, text: bytes, read: Read) -> None:
        """Remember the facts of a text."""
        self._new[_key(text)] = [read.digest, read.imported, read.offered]

    def save(self) -> None:
        """Write the file, if there is something new and the folder can be written to."""
        if not self._new:
            return
        # What another process has written in the meantime is kept.
        facts = dict(list((self._stored() | self._new).items())[-MOST_KEPT:])
        self._new = {}
        own = self.file.with_name(f"{self.file.name}.{os.getpid()}")
        with suppress(OSError):
            self.file.parent.mkdir(parents=True, exist_ok=True)
            own.write_text(json.dumps({"made_by": _own_digest(), "facts": facts}), encoding="utf-8")
            own.replace(self.file)

    def _stored(self) -> dict[str, Any]:
        try:
            stored = json.loads(self.file.read_bytes())
            return dict(stored["facts"]) if stored["made_by"] == _own_digest() else {}
        except (OSError, ValueError, TypeError, KeyError):
            return {}


# The file of facts of this process; None if it keeps none.
_KEPT: dict[str, Kept | None] = {"file": None}


def keep_in(file: Path | None) -> None:
    """Keep facts in a file from now on; None to keep none."""
    _KEPT["file"] = None if file is None else Kept(file)


def save_kept() -> None:
    """Write the facts that are new, if any are kept."""
    if (kept := _KEPT["file"]) is not None:
        kept.save()


@cache
def read_text(text: bytes) -> Read:
    """The facts of a text; cached, so that equal modules in two copies of the package are parsed once."""
    kept = _KEPT["file"]
    found = None if kept is None else kept.get(text)
    if found is None:
        found = parsed(text)
        if kept is not None:
            kept.put(text, found)
    return found


def parsed(text: bytes) -> Read:
    """Parse the text of a module."""
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
    """A syntax tree as nested lists, without docstrings, descriptions and positions; equal in every Python version."""
    if isinstance(node, list):
        return [_plain(each) for each in node if not _is_words(each)]
    if not isinstance(node, ast.AST):
        return repr(node)
    parts = [(name, value) for name, value in ast.iter_fields(node) if value is not None and value != []]
    if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and ast.get_docstring(node):
        parts = [(name, value[1:] if name == "body" else value) for name, value in parts]
    return [type(node).__name__, *((name, _plain(value)) for name, value in parts)]


def _is_words(node: Any) -> bool:
    """Whether a node only holds text for readers: the `summary` of a class or the `description` of a field."""
    if isinstance(node, ast.AnnAssign):
        return isinstance(node.target, ast.Name) and node.target.id == "summary"
    return isinstance(node, ast.keyword) and node.arg == "description"


@cache
def _key(text: bytes) -> str:
    return hashlib.sha256(text).hexdigest()


# Read before anything runs: other code would extract other facts.
_OWN = Path(__file__).read_bytes()


def _own_digest() -> str:
    return _key(_OWN)
