"""The exception for wrong input, raised where input enters the package and shown to the user as one message."""

import operator
import os
from pathlib import Path

# The most characters of a value and of a line, and the most lines, that a message shows.
VALUE, LINE, LINES = 80, 1000, 20


class InputError(ValueError):
    """Wrong input, with a message that names the file, the field, the value and the remedy.

    The command line prints the message without a traceback and exits with status 2. Long messages are shortened: long
    lines in the middle, which keeps the position and the remedy, and lines after the first 20 are omitted.
    """

    def __init__(self, message: str) -> None:
        lines = message.split("\n")
        more = [f"... and {len(lines) - LINES} more"] if len(lines) > LINES else []
        super().__init__("\n".join([*(cut(line, LINE) for line in lines[:LINES]), *more]))


def shown(value: object, most: int = VALUE) -> str:
    """The `repr` of a value, shortened in the middle to about `most` characters."""
    try:
        return cut(repr(value), most)
    except ValueError:
        # Python refuses to convert integers of more than some thousand digits to text.
        return "a number of very many digits"


def one_line(text: str, most: int = LINE) -> str:
    """Foreign text for use in a message: on one line, shortened, with unprintable characters escaped."""
    words = " ".join(text.split())
    return cut("".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in words), most)


def cut(text: str, most: int) -> str:
    """The text; if it is longer than `most`, two thirds of `most` characters from its start and one from its end."""
    if len(text) <= most:
        return text
    tail = most // 3
    return f"{text[: most - tail]} ... {text[-tail:]}"


def whole_number(name: str, value: object, least: int = 1) -> int:
    """An argument that must be a whole number, of Python or NumPy, as an int.

    Raises:
        InputError: it is not one, or is smaller than `least`.
    """
    # Booleans are whole numbers to Python; numbers such as 2.0 are none.
    if type(value).__name__ in ("bool", "bool_") or not hasattr(value, "__index__"):
        raise InputError(f"{name}: must be a whole number of at least {least}, got {shown(value)}")
    number = operator.index(value)
    if number < least:
        raise InputError(f"{name}: must be a whole number of at least {least}, got {shown(value)}")
    return number


def path_of(name: str, value: object) -> Path:
    """An argument that must be a path, as a `Path`.

    Raises:
        InputError: it is neither text nor a path.
    """
    if not isinstance(value, str | os.PathLike):
        raise InputError(f"{name}: give the path of a file, got {shown(value)}")
    return Path(value)
