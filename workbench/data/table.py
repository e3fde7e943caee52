"""Named columns of cells, which it turns into numbers and words."""

import json
import math
import re
from collections.abc import Callable, Sequence
from decimal import Decimal
from numbers import Real
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from workbench.data.cells import SHOWN_CELLS, Cells, place, several
from workbench.errors import VALUE, cut, shown

MISSING = frozenset({"", "na", "n/a", "#n/a", "nan", "<na>", "nat", "null", "none", "?", ".", "-"})

# Names of the column in which pandas and R keep numbers or names of the rows: a first one, and one wherever it stands.
FIRST_ROW_NAMES, ROW_NAMES = ("", "Unnamed: 0"), ("__index_level_0__",)

# Floats beyond this are no whole numbers of a count or a code.
WHOLE = 2**53

WITH_COMMA = re.compile(r"[-+]?\d*,\d+(e[-+]?\d+)?", re.IGNORECASE)
WITH_POINT = re.compile(r"[-+]?([1-9]\d{0,2}(,\d{3})+\.\d*|\d+\.\d*|\.\d+)(e[-+]?\d+)?", re.IGNORECASE)
THOUSANDS = re.compile(r"[-+]?[1-9]\d{0,2}(,\d{3})+")

# A number whose commas mark thousands, as its point marks the decimals; and one with marks of any kind.
GROUPED = re.compile(r"[-+]?[1-9]\d{0,2}(,\d{3})+\.\d*")
MARKED = re.compile(r"[-+]?\d{1,3}([,.'\u2019 \u00a0\u202f])\d{3}(\1\d{3})*([.,]\d+)?")

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


def is_masked(x: object) -> bool:
    """Whether x is an array with masked cells, or a list of such; the columns of a structured one are asked by name."""
    parts = x if isinstance(x, list | tuple) else [x]
    return any(np.ma.is_masked(part) for part in parts if getattr(getattr(part, "dtype", None), "names", None) is None)


def unmasked(x: Any) -> Any:
    """Missing values in place of masked cells; anything else as it is."""
    if not is_masked(x):
        return x
    array: Any = np.ma.asarray(x)
    kind = {"i": np.float64, "u": np.float64, "f": array.dtype}.get(array.dtype.kind)
    return array.astype(object).filled(None) if kind is None else array.astype(kind).filled(np.nan)


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
    if "," in cell and not decimal_commas and GROUPED.fullmatch(cell.strip()):
        cell = cell.replace(",", "")
    elif decimal_commas and "," in cell:
        cell = cell.replace(",", ".") if WITH_COMMA.fullmatch(cell.strip()) else ""
    try:
        return math.nan if "_" in cell else float(cell)
    except ValueError:
        return math.nan


def are_marked(texts: Sequence[str]) -> bool:
    """Whether most of the texts, which were not read as numbers, are numbers with separators or decimal commas."""
    return 2 * sum(bool(WITH_COMMA.fullmatch(text) or MARKED.fullmatch(text)) for text in texts) > len(texts)


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
    comma = _of_marks(table) if are_marked([bad.read(row, column)]) else ""
    if not table.remedies.columns:
        return f"{bad.text('not numbers', '{value}, not a number')};{comma} give numbers, or leave such cells empty"
    texts = {bad.columns[d]: _texts(table, bad.columns[d]) for d in np.flatnonzero(bad.cells.by_column).tolist()}
    filled = {name: (there, unread) for name, (there, unread) in texts.items() if 2 * len(there) > table.num_rows}
    held = [name for name, (_, unread) in filled.items() if not are_marked(unread)]
    naming = [name for name in held if _names_rows(*filled[name])]
    remedies = [table.remedies.columns]
    for what, key, names in (
        ("the groups", "label", [name for name in held if name not in naming]),
        ("the names of the rows", "identity", naming),
    ):
        quoted = [json.dumps(cut(name, VALUE), ensure_ascii=False) for name in names[:1]]
        remedies += [f"{what} with {table.remedies.ask(key, name)}" for name in quoted]
    remedy = " or ".join(filter(None, [", ".join(remedies[:-1]), remedies[-1]]))
    return f"{bad.text('not numbers', '{value}, not a number')};{comma} name the columns to use with {remedy}"


def _of_marks(table: Table) -> str:
    """What to do about separators in numbers, and why commas were not read as decimal ones."""
    texts = [text for cells in table.cells for text in words_in(cells).tolist()]
    commas = [text for text in texts if WITH_COMMA.fullmatch(text)]
    seen = ""
    if any(WITH_POINT.fullmatch(text) for text in texts):
        seen = " other numbers have decimal points;"
    elif commas and all(map(THOUSANDS.fullmatch, commas)):
        seen = " a comma may mark decimals or thousands;"
    return f"{seen} write decimals with a point and thousands without a mark, or"


def _texts(table: Table, name: str) -> tuple[list[str], list[str]]:
    """The cells of a column that are there, as text, and those of them that are no numbers."""
    there = [text for text in words(table, name).tolist() if text.lower() not in MISSING]
    return there, [text for text in there if math.isnan(number_in(text, table.decimal_commas))]


def _names_rows(there: Sequence[str], unread: Sequence[str]) -> bool:
    """Whether most cells that are there are text, and nearly all of them different, as names of rows are."""
    return 2 * len(unread) > len(there) and len(set(there)) >= NEARLY_ALL * len(there)
