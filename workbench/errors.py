"""The one exception for wrong input, raised at the border and shown to the user as a single message."""

# Characters of a value that was typed, of a line and lines of a message: what fits a terminal and is read.
VALUE, LINE, LINES = 80, 1000, 20


class InputError(ValueError):
    """Wrong input: a message naming the file, the field, the value and the remedy.

    The command line prints it without a traceback and exits with status 2. What is too long to be read is cut: each
    line in its middle, so that its place and its remedy stay, and the lines after the first 20.
    """

    def __init__(self, message: str) -> None:
        lines = message.split("\n")
        more = [f"... and {len(lines) - LINES} more"] if len(lines) > LINES else []
        super().__init__("\n".join([*(cut(line, LINE) for line in lines[:LINES]), *more]))


def shown(value: object, most: int = VALUE) -> str:
    """A value as Python writes it, cut in the middle where it is long."""
    try:
        return cut(repr(value), most)
    except ValueError:
        # Python does not write whole numbers of more than some thousands of digits.
        return "a number of very many digits"


def one_line(text: str, most: int = LINE) -> str:
    """Text of others as part of a message: on one line, cut, and with what is no character to print written out."""
    words = " ".join(text.split())
    return cut("".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in words), most)


def cut(text: str, most: int) -> str:
    """The text, or two thirds of so many characters from its beginning and one from its end."""
    if len(text) <= most:
        return text
    tail = most // 3
    return f"{text[: most - tail]} ... {text[-tail:]}"
