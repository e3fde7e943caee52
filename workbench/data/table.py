"""A CSV text as named columns of cells, read strictly: nothing is guessed that could change a number."""

import csv
import io
import math
import re
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from workbench.errors import InputError

MISSING = frozenset({"", "na", "n/a", "nan", "null"})


class Table(NamedTuple):
    """Cells as text. Every row has one cell for each column."""

    where: str
    columns: tuple[str, ...]
    rows: list[list[str]]  # [N][columns]


def parse_table(text: str, where: str) -> Table:
    """Read `text`: a header row, then data rows.

    Cells are separated by commas; by semicolons or tabs if the header has those and no comma. Blank lines
    before and after the table are skipped.

    Args:
        text: decoded, without byte order mark.
        where: the file, named at the start of every message.

    Raises:
        InputError: empty; no header; a header only; a column without a name or named twice; rows of another
            length than the header; quotes that do not close.
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
    return Table(where, columns, rows)


def numbers(table: Table, columns: Sequence[str]) -> NDArray[np.float64]:
    """The cells of `columns` as numbers.

    Returns:
        `[N, D]`, in the order of `columns`. Infinite cells are left to `check_points`.

    Raises:
        InputError: a cell that is missing or not a number, named by data row (counted from 1) and column.
    """
    x = np.empty((len(table.rows), len(columns)))  # [N, D]
    for d, name in enumerate(columns):
        position = table.columns.index(name)
        x[:, d] = [_number(row[position]) for row in table.rows]
        bad = np.flatnonzero(np.isnan(x[:, d]))
        if len(bad):
            raise InputError(_complaint(table, int(bad[0]), name))
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
            f"{where}: the first row ({', '.join(columns)}) holds only numbers, so the header is missing;"
            " add a first row with the column names"
        )
    if "" in columns:
        position = columns.index("") + 1
        remedy = "name it, or write the file without row names"
        raise InputError(f"{where}: column {position} of the header has no name; {remedy}")
    for position, name in enumerate(columns):
        if name in columns[:position]:
            raise InputError(f"{where}: the header names column {name!r} twice; give each its own name")


def _number(cell: str) -> float:
    """The number in `cell`; NaN if there is none. Python's own `1_000` is not a number in a file."""
    try:
        return math.nan if "_" in cell else float(cell)
    except ValueError:
        return math.nan


def _complaint(table: Table, row: int, name: str) -> str:
    cell = table.rows[row][table.columns.index(name)].strip()
    place = f"{table.where}: data row {row + 1}, column {name!r}"
    if cell.lower() in MISSING:
        remedy = "fill it in, remove the row, or leave the column out with columns = [...]"
        return f"{place} is missing ({cell!r}); {remedy}"
    comma = " write decimals with a point, or" if re.fullmatch(r"[-+]?\d+,\d+", cell) else ""
    return (
        f"{place} is {cell!r}, not a number;{comma} name the columns to use with columns = [...]"
        f' or the groups with label = "{name}"'
    )
