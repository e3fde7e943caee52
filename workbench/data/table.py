"""Parses CSV text into named columns of cells, strictly: nothing is guessed that could change a number."""

import csv
import io
import json
import math
import re
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from workbench.data.points import Cells, place, several
from workbench.errors import VALUE, InputError, cut, shown

MISSING = frozenset({"", "na", "n/a", "#n/a", "nan", "null", "none", "?", ".", "-"})


class Table(NamedTuple):
    """The cells of a CSV file as text. Every row has one cell for each column."""

    where: str
    columns: tuple[str, ...]
    rows: list[list[str]]  # [N][columns]


def parse_table(text: str, where: str) -> Table:
    """Parse `text`, which holds a header row and then data rows.

    Cells are separated by commas, or by semicolons or tabs if the header has those and no comma. Blank lines before
    and after the table are skipped. A first column without a name is dropped, because pandas and R write row numbers or
    row names there.

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
        # Row numbers or names, as written by pandas and R.
        return Table(where, columns[1:], [row[1:] for row in rows])
    return Table(where, columns, rows)


def numbers(table: Table, columns: Sequence[str], *, drop: bool = False) -> NDArray[np.float64]:
    """The cells of `columns` as numbers.

    Args:
        table: the cells as text.
        columns: names of D columns.
        drop: whether rows with missing cells will be left out, so that these cells are no mistake.

    Returns:
        An array `[N, D]`, in the order of `columns`, with NaN in missing cells. Infinite cells are reported by
        `check_points`, not here.

    Raises:
        InputError: cells are missing or not numbers; the message gives their number, their columns, and the first of
            them by data row (counted from 1) and column.
    """
    x = np.empty((len(table.rows), len(columns)))  # [N, D]
    for d, name in enumerate(columns):
        position = table.columns.index(name)
        x[:, d] = [number_in(row[position]) for row in table.rows]
    if np.isnan(x).any() and (complaints := _complaints(table, columns, np.isnan(x), drop)):
        raise InputError(f"{table.where}: {complaints}")
    return x


def words(table: Table, column: str) -> NDArray[np.str_]:
    """The cells of `column` as text `[N]`."""
    position = table.columns.index(column)
    return np.array([row[position].strip() for row in table.rows], dtype=np.str_)


def check_words(labels: NDArray[np.str_], where: str, column: str) -> None:
    """Check that every row has a label. `labels` [N]

    Raises:
        InputError: a label is empty; the message names its row and column.
    """
    empty = np.flatnonzero(labels == "")
    if len(empty):
        raise InputError(f"{where}: data row {empty[0] + 1}, label column {column!r} is empty; fill it in")


def _separator(header: str) -> str:
    bare = re.sub(r'"[^"]*"', "", header)
    return next((separator for separator in ",;\t" if separator in bare), ",")


def _check_header(columns: tuple[str, ...], where: str) -> None:
    if not any(math.isnan(number_in(cell)) for cell in columns):
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


def number_in(cell: str) -> float:
    """The number in `cell`; NaN if it holds none. `1_000`, which Python accepts, is not a number in a file."""
    try:
        return math.nan if "_" in cell else float(cell)
    except ValueError:
        return math.nan


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


def _complaints(table: Table, columns: Sequence[str], unread: NDArray[np.bool_], drop: bool) -> str:
    """Describe the cells [N, D] that were not read as numbers: the missing ones, and those that are not numbers."""
    positions = [table.columns.index(name) for name in columns]

    def read(row: int, column: int) -> str:
        return table.rows[row][positions[column]].strip()

    missing = np.zeros_like(unread)
    for row, column in np.argwhere(unread):
        missing[row, column] = read(row, column).lower() in MISSING
    masks = (missing & (not drop), unread & ~missing)
    groups = [Cells.where([mask], len(columns)) for mask in masks]
    kinds = zip((_of_missing, _of_others), groups, strict=True)
    return "; ".join(kind(_Bad(cells, columns, read)) for kind, cells in kinds if cells.total)


def _of_missing(bad: _Bad) -> str:
    it, rows = ("it", "row") if bad.cells.total == 1 else ("them", "rows")
    remedy = f'fill {it} in, leave the {rows} out with missing = "drop", or columns with columns = [...]'
    return f"{bad.text('missing', 'missing ({value})')}; {remedy}"


def _of_others(bad: _Bad) -> str:
    row, column = bad.cells.first[0]
    comma = " write decimals with a point, or" if re.fullmatch(r"[-+]?\d+,\d+", bad.read(row, column)) else ""
    label = json.dumps(cut(bad.columns[column], VALUE), ensure_ascii=False)
    remedy = f"columns = [...] or the groups with label = {label}"
    return f"{bad.text('not numbers', '{value}, not a number')};{comma} name the columns to use with {remedy}"
