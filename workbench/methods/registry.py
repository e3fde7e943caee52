"""The registry of methods: those of the package, which `methods/__init__.py` adds, and those that users register."""

import inspect
import re
from typing import TypeVar

from workbench.errors import InputError, shown
from workbench.methods.base import Method

METHODS: dict[str, type[Method]] = {}

# Names of the methods that users have registered.
_OWN: set[str] = set()

M = TypeVar("M", bound=Method)


def own_methods() -> tuple[type[Method], ...]:
    """The methods that `register` has added."""
    return tuple(METHODS[name] for name in METHODS if name in _OWN)


def home_of(kind: type[Method]) -> str:
    """Module and name of a method's class, as a config writes them: `my_module:Mine`."""
    return f"{kind.__module__}:{kind.__qualname__}"


def register(kind: type[M]) -> type[M]:
    """Add a user's own method to `METHODS`, so that configs can name it. It can be used as a class decorator.

    A class from the same module with the same name replaces the earlier one, as when a notebook cell is run again.

    Args:
        kind: a class derived from `Method`, whose field `method` is a literal with that literal as its default.

    Raises:
        InputError: the class is not a complete method, or another class already has the name.
    """
    if not (isinstance(kind, type) and issubclass(kind, Method)) or inspect.isabstract(kind):
        raise InputError(f"{shown(kind)} is no method; give a class derived from workbench.methods.Method")
    name = kind.model_fields["method"].default
    if not isinstance(name, str) or not re.fullmatch(r"[A-Za-z0-9_-]{1,64}", name):
        raise InputError(f'{home_of(kind)}: method: give it a name, as in `method: Literal["mine"] = "mine"`')
    if not isinstance(getattr(kind, "summary", None), str):
        raise InputError(f'{home_of(kind)}: summary: say in a line what it is, as in `summary: ClassVar[str] = "..."`')
    if name in METHODS and home_of(METHODS[name]) != home_of(kind):
        raise InputError(f"{home_of(kind)}: method: {name} is the name of {home_of(METHODS[name])}; take another")
    METHODS[name] = kind
    _OWN.add(name)
    return kind
