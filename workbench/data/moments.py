"""Mean and covariance of points, and two ways in which points are degenerate: collinear columns, and ties.

The covariance of collinear columns is singular: all points lie on a hyperplane. Ties are equal rows, and equal values
in a column; a component can shrink onto them indefinitely.
"""

import mmap
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from workbench.errors import InputError, shown

# Standard deviations must lie within this power of the range of their float type. Their squares then lie within the
# 0.9th power of the range, which leaves a margin.
ROOM = 0.45

# Bytes of a block.
BLOCK_BYTES = 2**24


# Of rows. [N]
Weights = NDArray[np.float64]


def number_of(weights: Weights) -> int | float:
    """The number of observations that weights count: their sum, an `int` if it is whole."""
    total = float(np.sum(weights))
    return int(total) if total.is_integer() else total


class Moments(NamedTuple):
    """The moments of the data, from which priors and working units are derived."""

    num_points: int | float  # N: the number of rows, or the sum of their weights
    mean: NDArray[np.float64]  # [D]
    covariance: NDArray[np.float64]  # [D, D]   over N, not N - 1


def blocks_of(x: NDArray[np.float64]) -> Iterator[NDArray[np.float64]]:
    """Iterate over points x [N, D] in blocks of at most `BLOCK_BYTES`; x may be anything that can be sliced by rows."""
    step = max(1, BLOCK_BYTES // (8 * max(1, x.shape[1])))
    for first in range(0, len(x), step):
        yield np.asarray(x[first : first + step])
        forget(x)


def forget(x: object) -> None:
    """Release the pages of a memory map that have been read, which would otherwise count as this process's memory."""
    while x is not None and not isinstance(x, mmap.mmap):
        x = getattr(x, "base", None)
    if x is not None and hasattr(mmap, "MADV_DONTNEED"):
        x.madvise(mmap.MADV_DONTNEED)


def moments_of(x: NDArray[np.float64], weights: Weights | None = None) -> Moments:
    """Moments of points x [N, D], in two sweeps: first the mean, then the covariance about it.

    A row of weight w, of weights [N] if given, counts as w equal points.
    """
    rows, d = x.shape
    n = rows if weights is None else number_of(weights)
    second = np.zeros((d, d))
    # Overflow gives infinity, which `check_scales` reports.
    with np.errstate(over="ignore", invalid="ignore", under="ignore"):
        sums = (np.sum(block if w is None else w * block, axis=0) for block, w in weighted_blocks(x, weights))
        mean = np.asarray(sum(sums, np.zeros(d)) / n)
        for block, w in weighted_blocks(x, weights):
            centred = block - mean
            second += (centred if w is None else w * centred).T @ centred
    return Moments(n, mean, second / n)


def weighted_blocks(
    x: NDArray[np.float64], weights: Weights | None
) -> Iterator[tuple[NDArray[np.float64], NDArray[np.float64] | None]]:
    """The blocks of x with the weights of their rows, [B, D] and [B, 1]."""
    first = 0
    for block in blocks_of(x):
        yield block, None if weights is None else weights[first : first + len(block), None]
        first += len(block)


def check_scales(moments: Moments, where: str, *, dtype: np.dtype[Any], columns: Sequence[str]) -> None:
    """Check that no column is so narrow or wide that its variance or precision leaves the range of a float type.

    Args:
        moments: the moments of the points.
        where: the name of the points in the message.
        dtype: the float type of the computation.
        columns: names of the D columns.

    Raises:
        InputError: names the first such column and the remedy.
    """
    info = np.finfo(dtype)
    least, most = float(info.tiny) ** ROOM, float(info.max) ** ROOM
    deviations = np.sqrt(np.diag(moments.covariance))
    bad = ~(np.isfinite(moments.mean) & (deviations >= least) & (deviations <= most))
    if np.any(bad):
        name, sd = columns[int(np.argmax(bad))], deviations[np.argmax(bad)]
        raise InputError(
            f"{where}: column {shown(name)} has standard deviation {sd:.3g}, whose square or its inverse is beyond "
            f"{info.dtype}; give it in another unit, between {least:.0e} and {most:.0e} (data.divide_by, "
            "data.standardize)"
        )


# Data count as collinear if the smallest eigenvalue of their correlation matrix is below this. The entries of that
# matrix are sums of squares with rounding errors of 1e-16, so an eigenvalue of this size has six correct digits. To
# standardise such rows by a Cholesky factor would add relative errors of 1e-6 and so lose more precision than it saves.
COLLINEAR = 1e-10

# The most columns that a relation names on its right-hand side, and the tolerance within which a coefficient counts as
# one, or (relative to the largest) as zero. Coefficients are accurate to the square root of `COLLINEAR`.
NAMED = 4
SLACK = 1e-4


def is_collinear(covariance: NDArray[np.float64]) -> bool:
    """Whether a covariance [D, D] is singular up to rounding, independently of the units of its columns."""
    return bool(np.linalg.eigvalsh(_correlation(covariance))[0] < COLLINEAR)


def row_that_hides(x: NDArray[np.float64], moments: Moments, weights: Weights | None = None) -> int | None:
    """The row beside which collinear columns only seem so: without it they are not. None if there is no such row.

    A row 1e8 standard deviations of the others away leaves none of their digits in the covariance.

    Args:
        x: points [N, D], or anything that can be sliced by rows.
        moments: of the points, whose columns are collinear.
        weights: of the rows.
    """
    farthest, row, first = -1.0, 0, 0
    for block in blocks_of(x):
        away = np.max(np.abs(block - moments.mean) / np.sqrt(np.diag(moments.covariance)), axis=1)
        if np.max(away) > farthest:
            farthest, row = float(np.max(away)), first + int(np.argmax(away))
        first += len(block)
    others = np.ones(len(x)) if weights is None else np.array(weights, float)
    others[row] = 0.0
    covariance = moments_of(x, others).covariance
    return row if np.all(np.diag(covariance) > 0) and not is_collinear(covariance) else None


def relation(moments: Moments, columns: Sequence[str]) -> str:
    """Describe in words how the columns of collinear data depend on each other: `x3 is the sum of x1 and x2`."""
    n, _, covariance = moments
    d = len(covariance)
    if n <= d:
        return f"{n} rows span at most {n - 1} of {d} dimensions"
    correlation, deviations = _correlation(covariance), np.sqrt(np.diag(covariance))
    kept: list[int] = []
    for column in range(d):
        # The variance of a standardised column that the columns before it leave unexplained, at most D times the
        # smallest eigenvalue for the first dependent column.
        inside = correlation[np.ix_(kept, kept)]
        slopes = np.linalg.lstsq(inside, correlation[kept, column], rcond=None)[0]
        if kept and 1.0 - slopes @ correlation[kept, column] < d * COLLINEAR:
            used = [(kept[i], slopes[i]) for i in np.argsort(-np.abs(slopes)) if abs(slopes[i]) > SLACK]
            return _words(column, sorted((k, s * deviations[column] / deviations[k]) for k, s in used), columns)
        kept.append(column)
    (first, *_) = np.argsort(-np.abs(np.linalg.eigh(correlation)[1][:, 0]))
    return f"{columns[first]} is a linear combination of other columns"


def _words(column: int, terms: list[tuple[int, float]], columns: Sequence[str]) -> str:
    """Express a column by the others, given their coefficients."""
    names, ones = [columns[k] for k, _ in terms], all(abs(slope - 1.0) < SLACK for _, slope in terms)
    name, last = columns[column], names[-1]
    if len(names) == 1:
        rest = "equals" if ones else f"is {terms[0][1]:.6g} times"
        return f"{name} {rest} {last}, up to a constant"
    listed = f"{', '.join(names[:-1])} and {last}" if len(names) <= NAMED else f"{', '.join(names[:NAMED])} and others"
    return f"{name} is {'the sum' if ones else 'a linear combination'} of {listed}, up to a constant"


def _correlation(covariance: NDArray[np.float64]) -> NDArray[np.float64]:
    deviations = np.sqrt(np.diag(covariance))
    return np.asarray(covariance / np.outer(deviations, deviations))


# The most frequent values are determined from at most this many evenly spaced rows, and then counted in all rows.
SOUGHT_ROWS = 2**16

# Number of columns whose values a message lists.
SPELT = 4


class Tie(NamedTuple):
    """Points that share a value in one column, or in all columns."""

    column: int | None  # None: whole rows are equal
    value: tuple[float, ...]  # in the column, or in each of the D columns
    points: int | float  # number of points that share it: of rows, or the sum of their weights
    num_points: int | float  # number of all points

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


def ties_of(x: NDArray[np.float64], weights: Weights | None = None) -> tuple[Tie, ...]:
    """The most frequent row and the most frequent value of each column, without those that occur only once.

    For D = 1 the row is omitted, because it equals the value of the column. The points are read in blocks. A row of
    weight w, of weights [N] if given, occurs w times. A missing cell, which is NaN, equals no other.

    Args:
        x: points [N, D], or anything that has a shape and can be sliced by rows.
        weights: of the rows.
    """
    (rows, d), n = x.shape, len(x) if weights is None else number_of(weights)
    every = max(1, -(-rows // SOUGHT_ROWS))
    parts = [(np.asarray(b)[::every], None if w is None else w[::every, 0]) for b, w in weighted_blocks(x, weights)]
    some = np.concatenate([block for block, _ in parts])
    counted = None if weights is None else np.concatenate([w for _, w in parts if w is not None])
    columns = ([None] if d > 1 else []) + list(range(d))
    found = ((column, _most_frequent(some if column is None else some[:, [column]], counted)) for column in columns)
    sought = [Tie(column, value, 0, n) for column, value in found if value is not None]
    return tuple(tie for tie in recounted(sought, x, weights) if tie.points > 1)


def recounted(ties: Sequence[Tie], x: NDArray[np.float64], weights: Weights | None = None) -> list[Tie]:
    """The ties with the numbers of the points x [N, D] that share their values, in one sweep."""
    counts = np.zeros(len(ties))
    for block, w in weighted_blocks(x, weights):
        ones = np.ones(len(block)) if w is None else w[:, 0]
        counts += [float(np.sum(ones[tie.match(block)])) for tie in ties]
    return [
        tie._replace(points=int(count) if count.is_integer() else count)
        for tie, count in zip(ties, counts.tolist(), strict=True)
    ]


def _most_frequent(rows: NDArray[np.float64], weights: Weights | None) -> tuple[float, ...] | None:
    """The most frequent of the rows without a missing cell; None if there is none."""
    there = ~np.any(np.isnan(rows), axis=1)
    if not np.all(there):
        rows, weights = rows[there], None if weights is None else weights[there]
    if not len(rows):
        return None
    distinct, which, counts = np.unique(rows, axis=0, return_inverse=True, return_counts=True)
    occurring = counts if weights is None else np.bincount(which.reshape(-1), weights)
    return tuple(distinct[np.argmax(occurring)].tolist())
