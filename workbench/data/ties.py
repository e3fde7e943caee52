"""Ties: equal rows, and equal values in a column, on which a component can shrink indefinitely."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from workbench.data.moments import blocks_of

# The most frequent values are determined from at most this many evenly spaced rows, and then counted in all rows.
SOUGHT_ROWS = 2**16

# Number of columns whose values a message lists.
SPELT = 4


class Tie(NamedTuple):
    """Points that share a value in one column, or in all columns."""

    column: int | None  # None: whole rows are equal
    value: tuple[float, ...]  # in the column, or in each of the D columns
    points: int  # number of points that share it
    num_points: int  # number of all points

    def match(self, x: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Whether each of the points x [N, D] has the value. [N]"""
        values = x if self.column is None else x[:, self.column, None]
        return np.asarray(np.all(values == np.asarray(self.value), axis=1))

    def text(self, columns: Sequence[str]) -> str:
        """A description for messages, such as `426 of 800 values of flow are equal (0)`."""
        if self.column is not None:
            return (
                f"{self.points:,} of {self.num_points:,} values of {columns[self.column]} are equal ({self.value[0]:g})"
            )
        spelt = [f"{name} = {value:g}" for name, value in zip(columns, self.value, strict=True)][:SPELT]
        rest = ", ..." if len(self.value) > SPELT else ""
        return f"{self.points:,} of {self.num_points:,} rows are equal ({', '.join(spelt)}{rest})"


def ties_of(x: NDArray[np.float64]) -> tuple[Tie, ...]:
    """The most frequent row and the most frequent value of each column, without those that occur only once.

    For D = 1 the row is omitted, because it equals the value of the column. The points are read in blocks.

    Args:
        x: points [N, D], or anything that has a shape and can be sliced by rows.
    """
    n, d = x.shape
    every = max(1, -(-n // SOUGHT_ROWS))
    some = np.concatenate([np.asarray(block)[::every] for block in blocks_of(x)])
    sought: list[Tie] = []
    if d > 1:
        sought.append(Tie(None, _most_frequent(some), 0, n))
    sought += [Tie(column, _most_frequent(some[:, [column]]), 0, n) for column in range(d)]
    counts = np.zeros(len(sought), int)
    for block in blocks_of(x):
        counts += [int(np.sum(tie.match(block))) for tie in sought]
    ties = (tie._replace(points=int(count)) for tie, count in zip(sought, counts, strict=True))
    return tuple(tie for tie in ties if tie.points > 1)


def _most_frequent(rows: NDArray[np.float64]) -> tuple[float, ...]:
    distinct, counts = np.unique(rows, axis=0, return_counts=True)
    return tuple(distinct[np.argmax(counts)].tolist())
