"""Cells of a table that cannot be used: their number, their columns and the first of them, in one short message."""

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from workbench.errors import shown

# Number of cells that a message lists one by one, and of columns that it lists with their counts.
SHOWN_CELLS, SHOWN_COLUMNS = 3, 6


class Cells(NamedTuple):
    """A set of cells of a table [N, D]: the counts, and the first cells in reading order."""

    by_column: NDArray[np.int64]  # [D]   number of cells in each column
    rows: int  # number of rows that hold at least one
    first: tuple[tuple[int, int], ...]  # row and column of the first cells, counted from 0

    @classmethod
    def where(cls, masks: Iterable[NDArray[np.bool_]], dimensions: int) -> "Cells":
        """The cells at which masks are true; the masks are consecutive blocks [B, D] of the table."""
        by_column, rows, above = np.zeros(dimensions, np.int64), 0, 0
        first: list[tuple[int, int]] = []
        for mask in masks:
            by_column += mask.sum(axis=0)
            rows += int(mask.any(axis=1).sum())
            if len(first) < SHOWN_CELLS:
                first += [(above + int(n), int(d)) for n, d in np.argwhere(mask)[: SHOWN_CELLS - len(first)]]
            above += len(mask)
        return cls(by_column, rows, tuple(first))

    @property
    def total(self) -> int:
        """Number of cells in all columns."""
        return int(self.by_column.sum())


def place(row: int, column: str) -> str:
    """The name of a cell in messages, where rows are counted from 1."""
    return f"data row {row + 1}, column {shown(column)}"


def several(cells: Cells, columns: Sequence[str], what: str, value: Callable[[int, int], str]) -> str:
    """Describe cells of one kind: their number, their columns, and the first ones with their values.

    Args:
        cells: at least one cell.
        columns: names of the D columns.
        what: what the cells are, such as "missing".
        value: a function that returns the text of the cell at a row and column.
    """
    held = np.flatnonzero(cells.by_column)
    counts = [f"{shown(columns[d])} {cells.by_column[d]:,}" for d in held[:SHOWN_COLUMNS]]
    counts += [f"{len(held) - SHOWN_COLUMNS:,} more columns"] if len(held) > SHOWN_COLUMNS else []
    places = [f"{place(n, columns[d])} is {value(n, d)}" for n, d in cells.first]
    places += [f"{cells.total - len(cells.first):,} more"] if cells.total > len(cells.first) else []
    rows = "1 row" if cells.rows == 1 else f"{cells.rows:,} rows"
    return f"{cells.total:,} cells in {rows} are {what} ({', '.join(counts)}): {'; '.join(places)}"


def constants(columns: Sequence[str], values: Sequence[float]) -> str:
    """Describe constant columns by their names and values; at least one."""
    if len(columns) == 1:
        return f"column {shown(columns[0])} is constant ({values[0]:g}), so its variance is 0; drop it"
    listed = [f"{shown(name)} ({value:g})" for name, value in zip(columns, values, strict=True)]
    listed[SHOWN_COLUMNS:] = [f"{len(listed) - SHOWN_COLUMNS:,} more"] if len(listed) > SHOWN_COLUMNS else []
    return f"columns {', '.join(listed)} are constant, so their variances are 0; drop them"


def told(where: str, complaints: Sequence[str]) -> str:
    """All complaints about a source as one message, each on a line of its own."""
    return f"{where}: " + ";\n  ".join(complaints)
