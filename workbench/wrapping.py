"""Words wrapped to the width of the terminal.

No number depends on it, so it is not part of the code that a stored record depends on.
"""

import shutil
import textwrap

# Characters of a line if the output is not a terminal and COLUMNS is not set in the environment.
PLAIN_WIDTH = 80

# The least width to which words are wrapped.
NARROWEST = 20


def terminal_width() -> int:
    """Characters of a line of the terminal; `PLAIN_WIDTH` of other output."""
    return shutil.get_terminal_size((PLAIN_WIDTH, 24)).columns


def paragraph(text: str, width: int | None = None) -> str:
    """Each line of a text wrapped to a number of characters; by default to those of the terminal."""
    most = max(terminal_width() if width is None else width, NARROWEST)
    wrap = textwrap.TextWrapper(most, break_long_words=False, break_on_hyphens=False).fill
    return "\n".join(line if len(line) <= most else wrap(line) for line in text.split("\n"))
