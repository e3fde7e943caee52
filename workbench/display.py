"""How objects show themselves: `repr` as one short line, and what they hold as a small table, in notebooks as HTML.

No number depends on it, so it is not part of the code that a stored record depends on.
"""

import dataclasses
import math
from collections.abc import Mapping
from html import escape
from typing import Any

import numpy as np

from workbench.errors import cut, shown
from workbench.table import Table

# The most characters of a line and of one value in it, and the most numbers of an array that are shown.
LINE, VALUE, NUMBERS = 600, 160, 8

# Ends the line of an object whose text is a table.
PRINTED = "print it for the table"


def line(name: str, *parts: str) -> str:
    """One line: the name of a class, and what identifies the object."""
    return f"{name}({cut('; '.join(' '.join(part.split()) for part in parts if part), LINE)})"


def call(thing: object, values: Mapping[str, Any]) -> str:
    """One line in the form of the call that makes an object of these values."""
    return line(type(thing).__name__, ", ".join(f"{name}={words_of(value)}" for name, value in values.items()))


def short(thing: object) -> str:
    """The `__repr__` of a dataclass or named tuple: the fields that differ from their defaults, arrays by shape."""
    return call(thing, held(thing))


def as_text(thing: object) -> str:
    """The `__str__` of a dataclass or named tuple: a line for each such field."""
    return str(_table(thing))


def as_html(thing: object) -> str:
    """The `_repr_html_` of a dataclass or named tuple: a row for each such field."""
    return page(type(thing).__name__, _table(thing))


def lines_as_html(kind: str, values: Mapping[str, str]) -> str:
    """HTML for a notebook: the name of a class, and a row for each of its properties that is set."""
    return page(kind, Table.of_lines(("field", "value"), [*values.items()], words=("field", "value")))


def page(*parts: str | Table) -> str:
    """HTML for a notebook: tables, and texts as paragraphs, which are escaped; what is empty is left out."""
    shown = (p.to_html() if isinstance(p, Table) else f"<p>{escape(p)}</p>" for p in parts if len(p))
    return "".join(shown)


def held(thing: Any) -> dict[str, Any]:
    """The fields of a dataclass or named tuple whose values are not their defaults."""
    if dataclasses.is_dataclass(thing):
        defaults = {field.name: field.default for field in dataclasses.fields(thing)}
    else:
        defaults = {
            name: getattr(thing, "_field_defaults", {}).get(name, ...) for name in getattr(thing, "_fields", ())
        }
    values = {name: getattr(thing, name) for name in defaults}
    return {name: value for name, value in values.items() if not _is_default(value, defaults[name])}


def words_of(value: Any) -> str:
    """A value on one line: a small array as a list, a large one by its shape, anything else by a `repr` cut short."""
    shape = getattr(value, "shape", None)
    if not isinstance(shape, tuple):
        return shown(value, VALUE)
    try:
        if math.prod(shape) <= NUMBERS:
            return shown(np.asarray(value).tolist(), VALUE)
    except TypeError:
        # Inside a compiled program an array has no values.
        pass
    return f"array of shape {list(shape)}"


def _is_default(value: Any, default: Any) -> bool:
    # Arrays have no truth, and are no defaults.
    return value is default or (
        isinstance(default, bool | int | float | str | tuple)
        and type(value) is type(default)
        and bool(value == default)
    )


def _table(thing: object) -> Table:
    lines = [(name, value if isinstance(value, str) else words_of(value)) for name, value in held(thing).items()]
    return Table.of_lines(("field", "value"), lines, words=("field", "value"))
