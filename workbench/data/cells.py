"""Cells that no mixture can be fitted to, counted and told in one message however many there are."""

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from workbench.errors import shown

# Cells told one by one, and columns told with their counts.
SHOWN_CELLS, SHOWN_COLUMNS = 3, 6


class Cells(NamedTuple):
    """Cells of a table [N, D]: how many, and the first of them in reading order."""

    by_column: NDArray[np.int64]  # [D]
    rows: int  # that hold at least one
    first: tuple[tuple[int, int], ...]  # row and column, counted from 0

    @classmethod
    def where(cls, masks: Iterable[NDArray[np.bool_]], dimensions: int) -> "Cells":
        """The cells at which masks are true: blocks [B, D] of a table, from the top."""
        by_column, rows, begun = np.zeros(dimensions, np.int64), 0, 0
        first: list[tuple[int, int]] = []
        for mask in masks:
            by_column += mask.sum(axis=0)
            rows += int(mask.any(axis=1).sum())
            if len(first) < SHOWN_CELLS:
                first += [(begun + int(n), int(d)) for n, d in np.argwhere(mask)[: SHOWN_CELLS - len(first)]]
            begun += len(mask)
        return cls(by_column, rows, tuple(first))

    @property
    def total(self) -> int:
        """Of all columns."""
        return int(self.by_column.sum())


def place(row: int, column: str) -> str:
    """A cell as a message names it; rows are counted from 1 there."""
    return f"data row {row + 1}, column {shown(column)}"


def several(cells: Cells, columns: Sequence[str], what: str, value: Callable[[int, int], str]) -> str:
    """Where a kind of cell is met: the count, the columns, and the first places with their values.

    Args:
        cells: at least one.
        columns: names of the D columns.
        what: they are, as in "are missing".
        value: of the cell at a row and column, in words.
    """
    held = np.flatnonzero(cells.by_column)
    counts = [f"{shown(columns[d])} {cells.by_column[d]:,}" for d in held[:SHOWN_COLUMNS]]
    counts += [f"{len(held) - SHOWN_COLUMNS:,} more columns"] if len(held) > SHOWN_COLUMNS else []
    places = [f"{place(n, columns[d])} is {value(n, d)}" for n, d in cells.first]
    places += [f"{cells.total - len(cells.first):,} more"] if cells.total > len(cells.first) else []
    rows = "1 row" if cells.rows == 1 else f"{cells.rows:,} rows"
    return f"{cells.total:,} cells in {rows} are {what} ({', '.join(counts)}): {'; '.join(places)}"
