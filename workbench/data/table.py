"""Named columns of cells: parses CSV text into them, strictly, and turns columns into numbers and words."""

import csv
import io
import itertools
import json
import math
import re
from collections.abc import Callable, Sequence
from decimal import Decimal
from numbers import Real
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from workbench.data.cells import SHOWN_CELLS, Cells, place, several, told
from workbench.errors import VALUE, InputError, cut, shown

MISSING = frozenset({"", "na", "n/a", "#n/a", "nan", "<na>", "nat", "null", "none", "?", ".", "-"})

# Names of the column in which pandas and R keep numbers or names of the rows: a first one, and one wherever it stands.
FIRST_ROW_NAMES, ROW_NAMES = ("", "Unnamed: 0"), ("__index_level_0__",)

# Rows by which a separator of cells is recognised.
LOOKED_AT = 20

# Floats beyond this are no whole numbers of a count or a code.
WHOLE = 2**53

_WITH_COMMA = re.compile(r"[-+]?\d*,\d+(e[-+]?\d+)?", re.IGNORECASE)
_WITH_POINT = re.compile(r"[-+]?(\d+\.\d*|\.\d+)(e[-+]?\d+)?", re.IGNORECASE)
_THOUSANDS = re.compile(r"[-+]?[1-9]\d{0,2}(,\d{3})+")

# A column of text of which this share of the cells are different names the rows rather than their groups.
NEARLY_ALL = 0.9

# Text, numbers, missing values of pandas and the like.
Column: TypeAlias = Sequence[Any] | NDArray[Any]


class Remedies(NamedTuple):
    """How a message says what can be asked of a reader."""

    form: str  # of a key and its value
    identity: str  # the key that names the column of ids
    columns: str  # the choice of columns; empty if they cannot be chosen

    def ask(self, key: str, value: str) -> str:
        """The value of a key, as it is written."""
        return self.form.format(self.identity if key == "identity" else key, value)

    @property
    def drop(self) -> str:
        """How rows with a missing cell are left out."""
        return self.ask("missing", '"drop"')

    @property
    def marginal(self) -> str:
        """How rows with a missing cell count by their others."""
        return self.ask("missing", '"marginal"')


# As keys of a config, as arguments of a reader in Python, as options of a command that knows its columns already, and
# beside a table that is given as points.
IN_CONFIG = Remedies("{} = {}", "id", "columns = [...]")
IN_PYTHON = Remedies("{}={}", "identity", "columns=[...]")
IN_COMMAND = Remedies("--{} {}", "--id", "")
OF_POINTS = IN_PYTHON._replace(columns="wb.read_table(x, columns=[...])")


class Table(NamedTuple):
    """Columns of N cells each, by name."""

    where: str
    columns: tuple[str, ...]
    cells: tuple[Column, ...]  # one for each column
    ids: Column | None = None  # names of the rows, from a column without a name [N]
    decimal_commas: bool = False  # whether text such as 3,14 is a number
    remedies: Remedies = IN_PYTHON  # what can be asked for, for messages

    @property
    def num_rows(self) -> int:
        """N."""
        return len(self.cells[0]) if self.cells else 0

    def column(self, name: str) -> Column:
        """The cells of the column of that name. [N]"""
        return self.cells[self.columns.index(name)]


def table_from(where: str, columns: Sequence[str], cells: Sequence[Column], *, decimal_commas: bool = False) -> Table:
    """A table, in which a column that pandas or R wrote to name or number the rows becomes their ids."""
    named = (name in ROW_NAMES or (name in FIRST_ROW_NAMES and place == 0) for place, name in enumerate(columns))
    own = next((place for place, is_own in enumerate(named) if is_own), None)
    if own is None or len(columns) == 1:
        return Table(where, tuple(columns), tuple(cells), None, decimal_commas)
    kept = [place for place in range(len(columns)) if place != own]
    return Table(where, tuple(columns[p] for p in kept), tuple(cells[p] for p in kept), cells[own], decimal_commas)


def parse_table(text: str, where: str) -> Table:
    """Parse `text`, which holds a header row and then data rows.

    Cells are separated by commas, semicolons or tabs, whichever gives the first rows as many cells as the header. Where
    they are not separated by commas, numbers may have decimal commas (3,14), unless others in the file have decimal
    points. Blank lines before and after the table are skipped. A first column without a name, or with the name that
    pandas gives to such a column, holds the ids of the rows.

    Args:
        text: the decoded text without byte order mark.
        where: the name of the file, with which every message starts.

    Raises:
        InputError: the text is empty, has no header or no data rows; a column other than the first has no name, or two
            have the same; a row is longer or shorter than the header; a quote is not closed.
    """
    lines = text.strip("\r\n")
    if not lines.strip():
        raise InputError(f"{where}: is empty; give a header row and at least 2 data rows")
    separator = _separator(lines)
    try:
        header, *rows = csv.reader(io.StringIO(lines, newline=""), delimiter=separator, strict=True)
    except csv.Error as error:
        raise InputError(f"{where}: is not a readable CSV file ({error}); check its quotes") from error
    columns = tuple(cell.strip() for cell in header)
    ragged = _ragged(rows, len(columns))
    cells = [] if ragged else list(zip(*rows, strict=True))
    # A separator at the end of every line makes a column of nothing.
    kept = [place for place, name in enumerate(columns) if not place or name or not cells or any(cells[place])]
    if complaints := [*_wrong_names(tuple(columns[place] for place in kept)), *ragged]:
        raise InputError(told(where, complaints))
    if not rows:
        raise InputError(f"{where}: has a header but no rows; give at least 2 data rows")
    commas = separator != "," and _has_decimal_commas(cells, separator)
    return table_from(where, [columns[p] for p in kept], [cells[p] for p in kept], decimal_commas=commas)


def numbers(table: Table, columns: Sequence[str], *, drop: bool = False) -> tuple[NDArray[np.float64], list[str]]:
    """The cells of `columns` as numbers, and what is wrong with them.

    Args:
        table: the cells.
        columns: names of D columns.
        drop: whether missing cells are no mistake, because their rows will be left out or the cells marginalised.

    Returns:
        An array `[N, D]`, in the order of `columns`, with NaN in cells that are missing or no numbers; and complaints
        about such cells, each with their number, their columns, the first of them by data row (counted from 1) and
        column, and the remedy. Infinite cells are not complained of.
    """
    x = np.empty((table.num_rows, len(columns)))  # [N, D]
    for d, name in enumerate(columns):
        x[:, d] = numbers_in(table.column(name), table.decimal_commas)
    unread = np.isnan(x)
    return x, _complaints(table, columns, unread, drop) if unread.any() else []


def numbers_in(cells: Column, decimal_commas: bool = False) -> NDArray[np.float64]:
    """The numbers in cells; NaN in those that hold none. [N]"""
    if isinstance(cells, np.ndarray) and cells.dtype.kind in "iuf":
        return cells.astype(np.float64)
    return np.array([number_in(cell, decimal_commas) for cell in cells], np.float64)


def words(table: Table, column: str) -> NDArray[np.str_]:
    """The cells of `column` as text `[N]`."""
    return words_in(table.column(column))


def words_in(cells: Column) -> NDArray[np.str_]:
    """Cells as text, without spaces around it; a missing value is the empty text. [N]"""
    return np.array([text_of(cell) for cell in cells], dtype=np.str_)


def text_of(cell: object) -> str:
    """A cell as text; whole floats, as spreadsheets store all numbers, without a point."""
    if is_missing(cell):
        return ""
    if isinstance(cell, float | np.floating):
        number = float(cell)
        return f"{number:.0f}" if number.is_integer() and abs(number) < WHOLE else repr(number)
    return str(cell).strip()


def is_missing(cell: object) -> bool:
    """Whether a cell that is no text stands for a missing value, as None, NaN and those of pandas do."""
    if cell is None or type(cell).__name__ in ("NAType", "NaTType"):
        return True
    return isinstance(cell, float | np.floating) and math.isnan(cell)


def empty_words(labels: NDArray[np.str_], column: str, kept: NDArray[np.bool_] | None = None) -> list[str]:
    """A complaint if rows, or those that are kept, have no label. `labels`, `kept` [N]"""
    empty = np.flatnonzero((labels == "") & (True if kept is None else kept)) + 1
    if len(empty) < 2:
        return [f"data row {row}, label column {shown(column)} is empty; fill it in" for row in empty]
    first = ", ".join(map(str, empty[:SHOWN_CELLS])) + (", ..." if len(empty) > SHOWN_CELLS else "")
    return [f"label column {shown(column)} is empty in {len(empty):,} rows (data rows {first}); fill them in"]


def number_in(cell: object, decimal_commas: bool = False) -> float:
    """The number in `cell`; NaN if it holds none. `1_000`, which Python accepts, is not a number in a file."""
    if not isinstance(cell, str):
        # To NumPy a span of time is a whole number, of units that a float would lose.
        number = isinstance(cell, Real | Decimal) and not isinstance(cell, bool | np.bool_ | np.timedelta64)
        try:
            return float(cell) if number else math.nan  # type: ignore[arg-type]  # it is a number
        except OverflowError:
            return math.inf
    if decimal_commas and "," in cell:
        cell = cell.replace(",", ".") if _WITH_COMMA.fullmatch(cell.strip()) else ""
    try:
        return math.nan if "_" in cell else float(cell)
    except ValueError:
        return math.nan


# The longest cell in characters, and, while the separator is guessed, the longest line; the module's limit is 131,072.
csv.field_size_limit(2**27)


def _separator(lines: str) -> str:
    """The character between cells: one that cuts header and first rows into equally many, or stands in the header."""
    first = list(itertools.islice(io.StringIO(lines, newline=""), LOOKED_AT + 1))
    # A decimal comma can cut rows as evenly as the semicolon or tab that does separate them.
    for separator in ("\t", ";", ","):
        cut_up = csv.reader(first, delimiter=separator)
        widths = {len(row) for row in itertools.islice(cut_up, LOOKED_AT)}
        if len(widths) == 1 and min(widths) > 1:
            return separator
    bare = re.sub(r'"[^"]*"', "", first[0])
    return next((separator for separator in ",;\t" if separator in bare), ",")


def _has_decimal_commas(cells: Sequence[Sequence[str]], separator: str) -> bool:
    """Whether commas within numbers are decimal ones: no number of the file has a point.

    Where tabs separate cells, 1,234 may also be a thousand. Columns count if most of their cells are numbers.
    """
    commas, points, thousands = 0, 0, 0
    for column in cells:
        texts = [cell.strip() for cell in column if cell.strip().lower() not in MISSING]
        with_comma = [text for text in texts if "," in text and _WITH_COMMA.fullmatch(text)]
        others = sum(not math.isnan(number_in(text)) for text in texts)
        if 2 * (len(with_comma) + others) > len(texts):
            commas += len(with_comma)
            points += sum(_WITH_POINT.fullmatch(text) is not None for text in texts)
            thousands += sum(_THOUSANDS.fullmatch(text) is not None for text in with_comma)
    return commas > 0 and points == 0 and not (separator == "\t" and thousands == commas)


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


def _ragged(rows: Sequence[Sequence[str]], width: int) -> list[str]:
    """A complaint about rows that are longer or shorter than the header."""
    wrong = [(place, len(row)) for place, row in enumerate(rows, start=1) if len(row) != width]
    if not wrong:
        return []
    first = ", ".join(f"data row {place} has {count} cells" for place, count in wrong[:SHOWN_CELLS])
    more = f" ({len(wrong):,} such rows)" if len(wrong) > SHOWN_CELLS else ""
    return [f"{first} but the header has {width}{more}; give every row one cell for each column"]


class _Bad(NamedTuple):
    """Cells of the given columns that hold no numbers."""

    cells: Cells
    columns: Sequence[str]
    read: Callable[[int, int], str]  # the text at a row and column

    def text(self, what: str, one: str) -> str:
        """Describe the cells as `what`; a single cell is described by the template `one`, filled with its `value`."""
        if self.cells.total > 1:
            return several(self.cells, self.columns, what, lambda row, column: shown(self.read(row, column)))
        ((row, column),) = self.cells.first
        return f"{place(row, self.columns[column])} is {one.format(value=shown(self.read(row, column)))}"


def _complaints(table: Table, columns: Sequence[str], unread: NDArray[np.bool_], drop: bool) -> list[str]:
    """Describe the cells [N, D] that were not read as numbers: the missing ones, and those that are not numbers."""
    cells = [table.column(name) for name in columns]

    def read(row: int, column: int) -> str:
        return text_of(cells[column][row])

    missing = np.zeros_like(unread)
    for row, column in np.argwhere(unread):
        missing[row, column] = read(row, column).lower() in MISSING
    masks = (missing & (not drop), unread & ~missing)
    groups = [Cells.where([mask], len(columns)) for mask in masks]
    kinds = zip((_of_missing, _of_others), groups, strict=True)
    return [kind(_Bad(bad, columns, read), table) for kind, bad in kinds if bad.total]


def _of_missing(bad: _Bad, table: Table) -> str:
    it, its, rows = ("it", "its", "row") if bad.cells.total == 1 else ("them", "their", "rows")
    drop, marginal, columns = table.remedies.drop, table.remedies.marginal, table.remedies.columns
    remedy = f"fill {it} in, leave the {rows} out with {drop}, let {its} other cells count with {marginal}"
    return f"{bad.text('missing', 'missing ({value})')}; {remedy}, or choose columns with {columns}"


def _of_others(bad: _Bad, table: Table) -> str:
    row, column = bad.cells.first[0]
    comma = " write decimals with a point, or" if _WITH_COMMA.fullmatch(bad.read(row, column)) else ""
    if not table.remedies.columns:
        return f"{bad.text('not numbers', '{value}, not a number')};{comma} give numbers, or leave such cells empty"
    held = [bad.columns[d] for d in np.flatnonzero(bad.cells.by_column).tolist()]
    naming = [name for name in held if _names_rows(table.column(name), table.decimal_commas)]
    remedies = [table.remedies.columns]
    for what, key, names in (
        ("the groups", "label", [name for name in held if name not in naming]),
        ("the names of the rows", "identity", naming),
    ):
        quoted = [json.dumps(cut(name, VALUE), ensure_ascii=False) for name in names[:1]]
        remedies += [f"{what} with {table.remedies.ask(key, name)}" for name in quoted]
    remedy = " or ".join([", ".join(remedies[:-1]), remedies[-1]])
    return f"{bad.text('not numbers', '{value}, not a number')};{comma} name the columns to use with {remedy}"


def _names_rows(cells: Column, decimal_commas: bool) -> bool:
    """Whether most cells that are there are text, and nearly all of them different, as names of rows are."""
    there = [cell for cell in words_in(cells).tolist() if cell.lower() not in MISSING]
    texts = [cell for cell in there if math.isnan(number_in(cell, decimal_commas))]
    return 2 * len(texts) > len(there) and len(set(there)) >= NEARLY_ALL * len(there)
