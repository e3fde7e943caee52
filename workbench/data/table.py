"""A CSV text as named columns of cells, read strictly: nothing is guessed that could change a number."""

import csv
import io
import json
import math
import re
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from workbench.data.cells import Cells, place, several
from workbench.errors import VALUE, InputError, cut, shown

MISSING = frozenset({"", "na", "n/a", "nan", "null"})


class Table(NamedTuple):
    """Cells as text. Every row has one cell for each column."""

    where: str
    columns: tuple[str, ...]
    rows: list[list[str]]  # [N][columns]


def parse_table(text: str, where: str) -> Table:
    """Read `text`: a header row, then data rows.

    Cells are separated by commas; by semicolons or tabs if the header has those and no comma. Blank lines
    before and after the table are skipped. A first column without a name is left out: pandas and R write the numbers
    or names of the rows there.

    Args:
        text: decoded, without byte order mark.
        where: the file, named at the start of every message.

    Raises:
        InputError: empty; no header; a header only; a column but the first without a name, or one named twice; rows of
            another length than the header; quotes that do not close.
    """
    lines = text.strip("\r\n")
    if not lines.strip():
        raise InputError(f"{where}: is empty; give a header row and at least 2 data rows")
    separator = _separator(lines.splitlines()[0])
    try:
        header, *rows = csv.reader(io.StringIO(lines, newline=""), delimiter=separator, strict=True)
    except csv.Error as error:
        raise InputError(f"{where}: is not a readable CSV file ({error}); check its quotes") from error
    columns = tuple(cell.strip() for cell in header)
    _check_header(columns, where)
    if not rows:
        raise InputError(f"{where}: has a header but no rows; give at least 2 data rows")
    for position, row in enumerate(rows, start=1):
        if len(row) != len(columns):
            raise InputError(
                f"{where}: data row {position} has {len(row)} cells but the header has {len(columns)};"
                " give every row one cell for each column"
            )
    if columns[0] == "":
        # The numbers of the rows, as pandas and R write them.
        return Table(where, columns[1:], [row[1:] for row in rows])
    return Table(where, columns, rows)


def numbers(table: Table, columns: Sequence[str]) -> NDArray[np.float64]:
    """The cells of `columns` as numbers.

    Returns:
        `[N, D]`, in the order of `columns`. Infinite cells are left to `check_points`.

    Raises:
        InputError: cells that are missing or not numbers: how many, in which columns, and the first of them by data
            row (counted from 1) and column.
    """
    x = np.empty((len(table.rows), len(columns)))  # [N, D]
    for d, name in enumerate(columns):
        position = table.columns.index(name)
        x[:, d] = [_number(row[position]) for row in table.rows]
    if np.isnan(x).any():
        raise InputError(f"{table.where}: {_complaints(table, columns, np.isnan(x))}")
    return x


def words(table: Table, column: str) -> NDArray[np.str_]:
    """The cells of `column` as text `[N]`.

    Raises:
        InputError: an empty cell, named by data row and column.
    """
    position = table.columns.index(column)
    cells = [row[position].strip() for row in table.rows]
    if "" in cells:
        row = cells.index("") + 1
        raise InputError(f"{table.where}: data row {row}, label column {column!r} is empty; fill it in")
    return np.array(cells, dtype=np.str_)


def _separator(header: str) -> str:
    bare = re.sub(r'"[^"]*"', "", header)
    return next((separator for separator in ",;\t" if separator in bare), ",")


def _check_header(columns: tuple[str, ...], where: str) -> None:
    if not any(math.isnan(_number(cell)) for cell in columns):
        raise InputError(
            f"{where}: the first row ({cut(', '.join(columns), VALUE)}) holds only numbers, so the header is missing;"
            " add a first row with the column names"
        )
    if "" in columns[1:]:
        position = columns.index("", 1) + 1
        raise InputError(f"{where}: column {position} of the header has no name; name it")
    for position, name in enumerate(columns):
        if name in columns[:position]:
            raise InputError(f"{where}: the header names column {shown(name)} twice; give each its own name")


def _number(cell: str) -> float:
    """The number in `cell`; NaN if there is none. Python's own `1_000` is not a number in a file."""
    try:
        return math.nan if "_" in cell else float(cell)
    except ValueError:
        return math.nan


class _Bad(NamedTuple):
    """Cells of some columns that hold no numbers."""

    cells: Cells
    columns: Sequence[str]
    read: Callable[[int, int], str]  # the text at a row and column

    def told(self, what: str, one: str) -> str:
        """Where they are and what they hold; of a single one by a form of words that names its `value`."""
        if self.cells.total > 1:
            return several(self.cells, self.columns, what, lambda row, column: shown(self.read(row, column)))
        ((row, column),) = self.cells.first
        return f"{place(row, self.columns[column])} is {one.format(value=shown(self.read(row, column)))}"


def _complaints(table: Table, columns: Sequence[str], unread: NDArray[np.bool_]) -> str:
    """All that is wrong with the cells [N, D] that were not read as numbers: what is missing, and what is no number."""
    positions = [table.columns.index(name) for name in columns]

    def read(row: int, column: int) -> str:
        return table.rows[row][positions[column]].strip()

    missing = np.zeros_like(unread)
    for row, column in np.argwhere(unread):
        missing[row, column] = read(row, column).lower() in MISSING
    found = [Cells.where([mask], len(columns)) for mask in (missing, unread & ~missing)]
    kinds = zip((_of_missing, _of_others), found, strict=True)
    return "; ".join(kind(_Bad(cells, columns, read)) for kind, cells in kinds if cells.total)


def _of_missing(bad: _Bad) -> str:
    it, rows = ("it", "row") if bad.cells.total == 1 else ("them", "rows")
    remedy = f"fill {it} in, remove the {rows}, or leave columns out with columns = [...]"
    return f"{bad.told('missing', 'missing ({value})')}; {remedy}"


def _of_others(bad: _Bad) -> str:
    row, column = bad.cells.first[0]
    comma = " write decimals with a point, or" if re.fullmatch(r"[-+]?\d+,\d+", bad.read(row, column)) else ""
    label = json.dumps(cut(bad.columns[column], VALUE), ensure_ascii=False)
    remedy = f"columns = [...] or the groups with label = {label}"
    return f"{bad.told('not numbers', '{value}, not a number')};{comma} name the columns to use with {remedy}"
