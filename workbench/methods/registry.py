"""The registry of methods: those of the package, which its `__init__` enters, and those that users register."""

import inspect
import re
from typing import TypeVar

from workbench.errors import InputError, shown
from workbench.methods.base import Method

METHODS: dict[str, type[Method]] = {}

# Names of those that users have registered.
_OWN: set[str] = set()

M = TypeVar("M", bound=Method)


def own_methods() -> tuple[type[Method], ...]:
    """Those that `register` has added."""
    return tuple(METHODS[name] for name in METHODS if name in _OWN)


def home_of(kind: type[Method]) -> str:
    """Where a method's class lives, as a config names it: `my_module:Mine`."""
    return f"{kind.__module__}:{kind.__qualname__}"


def register(kind: type[M]) -> type[M]:
    """Add a method of a user's own to `METHODS`, so that configs can name it. Can decorate its class.

    A class of the same home takes the place of the one before, as where a cell of a notebook is run again.

    Args:
        kind: a class derived from `Method`, whose field `method` is a literal with that literal as its default.

    Raises:
        InputError: it is no complete method, or another class has the name.
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
