"""The exception for wrong input, raised where input enters the package and shown to the user as one message."""

import functools
import inspect
import operator
import os
import re
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any, TypeVar

# The most characters of a value and of a line, and the most lines, that a message shows.
VALUE, LINE, LINES = 80, 1000, 20

# Longer runs of characters without a space, which nobody reads, are shortened to a value's length wherever they stand.
RUN = 3 * VALUE

# No whole number that a user gives may be larger, unless its own check says so: no run gets through as many steps, and
# the product of two of them, and a thousand times that, is still counted in 64 bits.
MOST_WHOLE = 10_000_000


class InputError(ValueError):
    """Wrong input, with a message that names the file, the field, the value and the remedy.

    The command line prints the message without a traceback and exits with status 2. Long messages are shortened: long
    words and lines in the middle, which keeps the position and the remedy, and lines after the first 20 are omitted.
    """

    def __init__(self, message: str) -> None:
        lines = with_short_runs(message).split("\n")
        more = [f"... and {len(lines) - LINES} more"] if len(lines) > LINES else []
        super().__init__("\n".join([*(cut(line, LINE) for line in lines[:LINES]), *more]))


class ArgumentError(InputError, TypeError):
    """Arguments of a function that do not fit it: one of another type, an unknown one, or too few."""


class UnknownError(InputError, KeyError):
    """A name that is not there."""

    def __str__(self) -> str:
        # KeyError shows the `repr` of its message.
        return str(self.args[0])


# Where an object of each of these classes comes from.
_SOURCES = {
    "Problem": "wb.Problem(x, components) makes one",
    "Comparison": "wb.compare(problem, methods) returns one",
    "Trace": 'a comparison holds one for each method, as comparison["em"]',
    "Mixture": "trace.best(problem) is one, and wb.Mixture.from_covariances(weights, means, covariances) makes one",
    "Experiment": "wb.read_experiment(file) reads one",
    "Study": "wb.read_study(file) reads one",
    "Dataset": "wb.read_file(file), wb.read_table(table) and wb.load_dataset(name) return one",
    "Wanted": "as wb.Wanted(columns=..., label=...)",
    "Climber": "as wb.EM() or wb.GradientAscent()",
    "Start": "as wb.KMeans(restarts=8)",
}


F = TypeVar("F", bound=Callable[..., Any])


def checks_arguments(function: F) -> F:
    """A decorator of public functions, and of the classes whose instances people make: wrong arguments are one line.

    Unknown and missing arguments are named with those that there are, and so is an argument that is no instance of the
    package's class that its annotation names, a sequence of these, text, a number or a path, and axes to draw on. All
    other values are checked by the function itself.
    """
    if isinstance(function, type):
        init: Any = function.__init__  # type: ignore[misc]
        # What a class checks itself, it says in its own words.
        init.checks_itself = hasattr(function, "__post_init__")
        function.__init__ = checks_arguments(init)  # type: ignore[misc]
        return function
    signature = inspect.signature(function)
    name = function.__qualname__.removesuffix(".__init__")

    def bind(*args: Any, **values: Any) -> Mapping[str, Any]:
        try:
            return signature.bind(*args, **values).arguments
        except TypeError as error:
            raise ArgumentError(_misfit(name, signature, values, str(error))) from None

    @functools.wraps(function)
    def called(*args: Any, **values: Any) -> Any:
        # To bind the arguments of a class that computations make takes longer than making it.
        try:
            return function(*args, **values)
        except TypeError:
            bind(*args, **values)
            raise

    if getattr(function, "checks_itself", False):
        return typing.cast("F", called)

    @functools.wraps(function)
    def checked(*args: Any, **values: Any) -> Any:
        bound = bind(*args, **values)
        for key, kinds in _kinds(function).items():
            if key in bound and not isinstance(bound[key], kinds):
                own = [kind.__name__ for kind in kinds if kind is not type(None)]
                source = "; ".join(_SOURCES[each] for each in own if each in _SOURCES)
                value = bound[key]
                given = shown(value) if isinstance(value, str | int | float) else type(value).__name__
                remedy = f" ({source})" if source else ""
                raise ArgumentError(f"{name}: {key} must be of type {' or '.join(own)}, got {given}{remedy}")
        for key, check in _checks(function).items():
            if key in bound:
                check(f"{name}: {key}", bound[key])
        return function(*args, **values)

    return typing.cast("F", checked)


@functools.cache
def _kinds(function: Callable[..., Any]) -> dict[str, tuple[type, ...]]:
    """The arguments whose annotation is a class of this package, or several, and nothing else but None."""
    found = {}
    for key, hint in inspect.get_annotations(function).items():
        # Text is the name of a class that is defined further down, or stands for what this does not check.
        kind = getattr(function, "__globals__", {}).get(hint) if isinstance(hint, str) else hint
        several = typing.get_origin(kind) in (typing.Union, types.UnionType)
        members = typing.get_args(kind) if several else (kind,)
        own = [each for each in members if _is_own(each)]
        if own and len(own) + (type(None) in members) == len(members) and key != "return":
            found[key] = tuple(each for each in members if isinstance(each, type))
    return found


def _is_own(kind: Any) -> bool:
    return isinstance(kind, type) and kind.__module__.startswith("workbench.")


@functools.cache
def _checks(function: Callable[..., Any]) -> dict[str, Callable[[str, Any], object]]:
    """A check of each argument whose annotation is text, a number, a path, a sequence of our own class, or axes."""
    known = {frozenset({str}): _check_text, frozenset({float}): _check_number, frozenset({Path, str}): path_of}
    found: dict[str, Callable[[str, Any], object]] = {}
    hint: Any
    for key, hint in inspect.get_annotations(function).items():
        several = typing.get_origin(hint) in (typing.Union, types.UnionType)
        members = frozenset(typing.get_args(hint) if several else (hint,))
        check = known.get(members - {type(None)})
        if check is not None and key != "return":
            found[key] = _unless_none(check) if type(None) in members else check
        elif typing.get_origin(hint) is Sequence and _is_own(typing.get_args(hint)[0]):
            found[key] = functools.partial(_check_each, typing.get_args(hint)[0])
        elif str(hint).replace("collections.abc.", "") in _NAMES:
            found[key] = _unless_none(_check_names) if "None" in str(hint) else _check_names
        elif key in ("ax", "axes") and function.__module__.startswith("workbench.plots"):
            found[key] = _check_ax if key == "ax" else _check_axes
    return found


# Annotations of lists of names, also of those that are text because only type checkers import their parts.
_NAMES = ("Iterable[str]", "Sequence[str]", "Sequence[str] | None", "Sequence[str] | str", "Sequence[str] | str | None")


def _check_names(name: str, value: Any) -> None:
    wrong = isinstance(value, list | tuple) and not all(isinstance(each, str) for each in value)
    if wrong or not hasattr(value, "__iter__"):
        raise ArgumentError(f"{name}: must be a list of texts, got {shown(value)}")


def _unless_none(check: Callable[[str, Any], object]) -> Callable[[str, Any], object]:
    return lambda name, value: value is None or check(name, value)


def _check_text(name: str, value: object) -> None:
    if not isinstance(value, str):
        raise ArgumentError(f"{name}: must be text, got {shown(value)}")


def _check_number(name: str, value: object) -> None:
    if isinstance(value, bool) or not hasattr(value, "__float__") or getattr(value, "shape", None):
        raise ArgumentError(f"{name}: must be a number, got {shown(value)}")


def _check_each(kind: type, name: str, value: object) -> None:
    if not isinstance(value, list | tuple) or not all(isinstance(each, kind) for each in value) or not value:
        raise ArgumentError(f"{name}: must be a list of {kind.__name__}, got {shown(value)}")


def _check_ax(name: str, value: object) -> None:
    if not hasattr(value, "get_legend_handles_labels"):
        raise ArgumentError(f"{name}: must be Axes of matplotlib, as plt.gca(), got {type(value).__name__}")


def _check_axes(name: str, value: Any) -> None:
    if not isinstance(value, list | tuple) and not getattr(value, "shape", ()):
        raise ArgumentError(f"{name}: must be a list of Axes of matplotlib, as [plt.gca()], got {type(value).__name__}")
    for each in getattr(value, "flat", value):
        _check_ax(name, each)


def _misfit(name: str, signature: inspect.Signature, values: Mapping[str, Any], message: str) -> str:
    """Which argument is unknown or missing, and which ones there are."""
    kept = [p for p in signature.parameters.values() if p.name not in ("self", "cls")]
    names = [p.name for p in kept]
    unknown = next((key for key in values if key not in names), None)
    if unknown is not None:
        near = nearest(unknown, names) or next((each for each in names if each in unknown), None)
        hint = f"did you mean {near}?" if near else f"it takes {', '.join(names)}"
        return f"{name}: unknown argument {unknown} ({hint}){_made(name)}"
    needed = ", ".join(p.name for p in kept if p.default is p.empty and p.kind is not p.VAR_KEYWORD)
    takes = f"it needs {needed or 'no arguments'}, and takes {', '.join(names) or 'none'}"
    return f"{name}: {message}; {takes}{_made(name)}"


def _made(name: str) -> str:
    """Where an object of a class comes from that people seldom make by its parts."""
    return f"; {_SOURCES[name]}" if name == "Mixture" else ""


def nearest(word: str, names: Sequence[str]) -> str | None:
    """The name that a misspelt, shortened or capitalised word most likely stands for; None if it resembles none."""
    own, lower = cut(word, VALUE).lower(), {name.lower(): name for name in reversed(names)}
    begins = [name for name in reversed(lower) if len(own) > 1 and name.startswith(own)]
    initials = [name for name in reversed(lower) if own == "".join(part[:1] for part in name.split("_"))]
    found = [own] if own in lower else begins or get_close_matches(own, lower, n=1) or initials
    return lower[found[0]] if found else None


def shown(value: object, most: int = VALUE) -> str:
    """The `repr` of a value on one line, shortened in the middle to about `most` characters."""
    try:
        return cut(re.sub(r"\s*\n\s*", " ", repr(value)), most)
    except ValueError:
        # Python refuses to convert integers of more than some thousand digits to text.
        return "a number of very many digits"


def one_line(text: str, most: int = LINE) -> str:
    """Foreign text for use in a message: on one line, shortened, with unprintable characters escaped."""
    words = " ".join(text.split())
    return cut("".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in words), most)


def with_short_runs(text: str) -> str:
    """The text with long runs of characters without a space shortened, such as a path or a word that was typed."""
    return re.sub(rf"\S{{{RUN},}}", lambda found: cut(found[0], VALUE), text)


def typed(names: Sequence[str]) -> str:
    """Names that were typed, as one value; "none given" if there are none."""
    return cut(", ".join(names), VALUE) or "none given"


def cut(text: str, most: int) -> str:
    """The text; if it is longer than `most`, two thirds of `most` characters from its start and one from its end."""
    if len(text) <= most:
        return text
    tail = most // 3
    return f"{text[: most - tail]} ... {text[-tail:]}"


def whole_number(name: str, value: object, least: int = 1, most: int = MOST_WHOLE) -> int:
    """An argument that must be a whole number, of Python or NumPy, as an int.

    Raises:
        InputError: it is not one, or is smaller than `least` or larger than `most`.
    """
    # Booleans are whole numbers to Python; numbers such as 2.0 are none.
    if type(value).__name__ in ("bool", "bool_") or not hasattr(value, "__index__"):
        raise InputError(f"{name}: must be a whole number of at least {least}, got {shown(value)}")
    number = operator.index(value)
    if number < least:
        raise InputError(f"{name}: must be a whole number of at least {least}, got {shown(value)}")
    if number > most:
        raise InputError(f"{name}: must be a whole number of at most {most:,}, got {shown(value)}")
    return number


def check_key(key: object) -> None:
    """Check that an argument is a random key of JAX.

    Raises:
        InputError: it is another object, such as a seed, or several keys.
    """
    # Keys of the older kind are arrays of whole numbers.
    axes = {"key": 0, "uint": 1}.get(re.split(r"[<\d]", str(getattr(key, "dtype", "")))[0])
    if axes is None or len(key.shape) != axes:  # type: ignore[attr-defined]  # what has a type has a shape
        raise InputError(f"key: must be one random key, as jax.random.key(0), got {shown(key)}")


def path_of(name: str, value: object) -> Path:
    """An argument that must be a path, as a `Path`.

    Raises:
        InputError: it is neither text nor a path, or holds the character that ends texts of the system.
    """
    if not isinstance(value, str | os.PathLike) or "\0" in str(value):
        raise InputError(
            f"{name}: give the path of a {'folder' if name.endswith('folder') else 'file'}, got {shown(value)}"
        )
    return Path(value)
