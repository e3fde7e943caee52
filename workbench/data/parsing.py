"""Parses CSV text into a table of cells, strictly: separators, decimal commas, headers and rows that do not fit."""

import csv
import io
import itertools
import math
import re
from collections.abc import Sequence

from workbench.data.cells import SHOWN_CELLS, told
from workbench.data.table import MISSING, THOUSANDS, WITH_COMMA, WITH_POINT, Table, number_in, table_from
from workbench.errors import VALUE, InputError, cut, shown

# Rows by which a separator of cells is recognised.
LOOKED_AT = 20

# The longest cell in characters, and, while the separator is guessed, the longest line; the module's limit is 131,072.
csv.field_size_limit(2**27)


def parse_table(text: str, where: str) -> Table:
    """Parse `text`, which holds a header row and then data rows.

    Cells are separated by commas, semicolons, tabs or |, whichever gives the first rows as many cells as the header, or
    by the character in a first line sep=; as Excel writes it. Lines before the header that begin with # are skipped if
    no such character is in them.
    Numbers may have decimal commas (3,14), in quotes where commas separate cells, unless others in the file have
    decimal points. Blank lines before and after the table are skipped. A first column without a name, or with the name
    that pandas gives to such a column, holds the ids of the rows.

    Args:
        text: the decoded text without byte order mark.
        where: the name of the file, with which every message starts.

    Raises:
        InputError: the text is empty, has no header or no data rows; a column other than the first has no name, or two
            have the same; a row is longer or shorter than the header; a quote is not closed.
    """
    lines = text.strip("\r\n")
    if not lines.strip():
        raise InputError(f"{where}: is empty; give a header row and data rows, at least 2 for a fit")
    lines, separator = _separated(lines)
    try:
        header, *rows = csv.reader(io.StringIO(lines, newline=""), delimiter=separator, strict=True)
    except csv.Error as error:
        raise InputError(f"{where}: is not a readable CSV file ({error}); check its quotes") from error
    columns = tuple(cell.strip() for cell in header)
    ragged = _ragged(rows, len(columns), separator)
    cells = [] if ragged else list(zip(*rows, strict=True))
    # A separator at the end of every line makes a column of nothing.
    kept = [place for place, name in enumerate(columns) if not place or name or not cells or any(cells[place])]
    if complaints := [*_wrong_names(tuple(columns[place] for place in kept)), *ragged]:
        if lines.startswith("#"):
            complaints.append("the first line begins with #; remove it if it is a comment and no names of columns")
        raise InputError(told(where, complaints))
    if not rows:
        raise InputError(f"{where}: has a header but no rows; give data rows, at least 2 for a fit")
    if len(columns) == 1:
        _check_spaces(header, rows, where)
    commas = _has_decimal_commas(cells, separator)
    return table_from(where, [columns[p] for p in kept], [cells[p] for p in kept], decimal_commas=commas)


def _separated(lines: str) -> tuple[str, str]:
    """The text from its header on, and the character between its cells."""
    if named := re.match(r'"?sep=([,;|\t])"?[ ,;]*[\r\n]+', lines, re.IGNORECASE):
        return lines[named.end() :], named[1]
    if comments := re.match(r"(#[^\n]*\n\s*)+", lines):
        below = lines[comments.end() :]
        separator = _separator(below) if below else ""
        if separator in below.partition("\n")[0] and separator not in comments[0]:
            return below, separator
    return lines, _separator(lines)


def _check_spaces(header: Sequence[str], rows: Sequence[Sequence[str]], where: str) -> None:
    """Refuse one column of N cells that are numbers between spaces, as many as the header has words."""
    looked_at = [row[0].split() for row in rows[:LOOKED_AT]]
    width = len(header[0].split())
    if width > 1 and all(len(row) == width and not all(map(math.isnan, map(number_in, row))) for row in looked_at):
        raise InputError(
            f"{where}: cells seem to be separated by spaces, {width} in each line; write commas, semicolons or tabs "
            "between them"
        )


def _separator(lines: str) -> str:
    """The character between cells: one that cuts header and first rows into equally many, or stands in the header."""
    first = list(itertools.islice(io.StringIO(lines, newline=""), LOOKED_AT + 1))
    # A decimal comma can cut rows as evenly as the semicolon or tab that does separate them.
    for separator in ("\t", ";", "|", ","):
        cut_up = csv.reader(first, delimiter=separator)
        widths = {len(row) for row in itertools.islice(cut_up, LOOKED_AT)}
        if len(widths) == 1 and min(widths) > 1:
            return separator
    bare = re.sub(r'"[^"]*"', "", first[0])
    # The header of one column has no separator, and commas below it are those of numbers.
    return next((separator for separator in ",;|\t" if separator in bare), "\t")


def _has_decimal_commas(cells: Sequence[Sequence[str]], separator: str) -> bool:
    """Whether commas within numbers are decimal ones: no number of the file has a point.

    Where tabs, commas or | separate cells, 1,234 may also be a thousand. Columns count if most of their cells are
    numbers, and where commas separate cells, numbers with a comma, so that a slip of the pen is none.
    """
    if not any("," in cell for column in cells for cell in column):
        return False
    commas, points, thousands = 0, 0, 0
    for column in cells:
        texts = [cell.strip() for cell in column if cell.strip().lower() not in MISSING]
        with_comma = [text for text in texts if "," in text and WITH_COMMA.fullmatch(text)]
        others = sum(not math.isnan(number_in(text)) for text in texts)
        if 2 * (len(with_comma) + others) > len(texts):
            points += sum(WITH_POINT.fullmatch(text) is not None for text in texts)
            if separator == "," and 2 * len(with_comma) <= len(texts):
                continue
            commas += len(with_comma)
            thousands += sum(THOUSANDS.fullmatch(text) is not None for text in with_comma)
    return commas > 0 and points == 0 and not (separator in "\t,|" and thousands == commas)


def _wrong_names(columns: tuple[str, ...]) -> list[str]:
    """Complaints about the header."""
    if not any(math.isnan(number_in(cell)) for cell in columns):
        return [
            f"the first row ({cut(', '.join(columns), VALUE)}) holds only numbers, so the header is missing;"
            " add a first row with the column names"
        ]
    nameless = [str(place + 1) for place, name in enumerate(columns) if place and not name]
    doubled = list(dict.fromkeys(name for place, name in enumerate(columns) if name and name in columns[:place]))
    complaints = []
    if len(nameless) == 1:
        complaints.append(f"column {nameless[0]} of the header has no name; name it")
    elif nameless:
        complaints.append(f"columns {', '.join(nameless)} of the header have no names; name them")
    if doubled:
        names = ", ".join(shown(name) for name in doubled)
        complaints.append(f"the header names column{'s' * (len(doubled) > 1)} {names} twice; give each its own name")
    return complaints


def _ragged(rows: Sequence[Sequence[str]], width: int, separator: str) -> list[str]:
    """A complaint about rows that are longer or shorter than the header."""
    wrong = [(place, len(row)) for place, row in enumerate(rows, start=1) if len(row) != width]
    if not wrong:
        return []
    first = ", ".join(f"data row {place} has {count} cells" for place, count in wrong[:SHOWN_CELLS])
    more = f" ({len(wrong):,} such rows)" if len(wrong) > SHOWN_CELLS else ""
    longer = separator == "," and all(count > width for _, count in wrong)
    quotes = ", and numbers with decimal commas quotes or semicolons between them" if longer else ""
    return [f"{first} but the header has {width}{more}; give every row one cell for each column{quotes}"]
