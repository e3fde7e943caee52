"""Points with missing cells: their patterns, the Gaussian that fits them, and the points it completes.

Cells are missing at random: whether one is missing may depend on the cells that are there, and not on its own value
(Little & Rubin 2019, "Statistical Analysis with Missing Data", chapter 6). Then the likelihood of a row is that of the
cells that are there, and what decides over the missing ones may be left out.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from workbench.data.moments import Moments, Weights, blocks_of, number_of
from workbench.data.points import WITHOUT_EMPTY, as_points, check_columns, check_size, default_columns
from workbench.errors import InputError, shown

# The Gaussian is fitted until no standardised parameter moves by more than this, or for so many steps.
SETTLED, MOST_STEPS = 1e-9, 2000


class Patterns(NamedTuple):
    """Which cells are there: the rows that have the same ones share a pattern."""

    observed: NDArray[np.bool_]  # [P, D]
    members: tuple[NDArray[np.intp], ...]  # the rows of each pattern, in their order

    @classmethod
    def of(cls, x: NDArray[np.float64]) -> "Patterns":
        """The patterns of points x [N, D], in which a missing cell is NaN; the one with most rows comes first."""
        found, place = np.unique(~np.isnan(x), axis=0, return_inverse=True)
        place = place.reshape(-1)
        sizes = np.bincount(place, minlength=len(found))
        order = np.argsort(-sizes, kind="stable")
        by_pattern = np.split(np.argsort(place, kind="stable"), np.cumsum(sizes)[:-1])
        return cls(found[order], tuple(by_pattern[p] for p in order))


def has_missing(x: NDArray[np.float64]) -> bool:
    """Whether a cell of points x [N, D] is missing."""
    return any(bool(np.any(np.isnan(block))) for block in blocks_of(x))


def check_incomplete(
    x: NDArray[np.float64],
    where: str,
    components: int = 1,
    *,
    columns: Sequence[str] | None = None,
    different: int = 2,
) -> None:
    """Check points in which a missing cell is NaN, as `check_points` checks those without.

    Args:
        x: `[N, D]`, in memory.
        where: the name of the source, with which the message starts.
        components: K; at least as many rows are required.
        columns: names of the D columns; `x1` to `xD` unless given.
        different: how many different values a column must have: two, or one where constant columns are no error.

    Raises:
        InputError: there are too few rows; a cell is infinite; a row has no value at all; a column has fewer different
            values than it must.
    """
    check_size(x, where, components)
    names = default_columns(x.shape[1]) if columns is None else tuple(columns)
    check_columns(names, x.shape[1], where)
    _check_cells(x, names, where)
    for name, column in zip(names, x.T, strict=True):
        values = column[~np.isnan(column)]
        if not len(values):
            raise InputError(f"{where}: column {shown(name)} has no value; drop it")
        if different > 1 and np.all(values == values[0]):
            raise InputError(f"{where}: column {shown(name)} has fewer than two different values; drop it")


def points_or_missing(x: ArrayLike, dimensions: int, where: str = "x") -> NDArray[np.float64]:
    """Convert `x` to float64 points of D columns, in which NaN is a missing cell.

    Raises:
        InputError: as for `as_points`; the number of columns is not D; a cell is infinite; a row has no value at all.
    """
    points = as_points(x, where)
    if points.shape[1] != dimensions:
        shape = list(getattr(x, "shape", points.shape))
        raise InputError(f"{where}: expected points [N, {dimensions}], got shape {shape}")
    _check_cells(points, default_columns(dimensions), where)
    return points


def _check_cells(x: NDArray[np.float64], names: Sequence[str], where: str) -> None:
    if np.any(np.isinf(x)):
        row, column = np.argwhere(np.isinf(x))[0]
        raise InputError(
            f"{where}: data row {row + 1}, column {shown(names[column])} is {x[row, column]}; "
            "give a finite number, or NaN where it is missing"
        )
    empty = np.flatnonzero(np.all(np.isnan(x), axis=1))
    if len(empty):
        more = f" and {len(empty) - 1:,} more" if len(empty) > 1 else ""
        raise InputError(
            f"{where}: data row {empty[0] + 1}{more}: no cell has a value; leave such rows out, as {WITHOUT_EMPTY}"
        )


def check_pairs(x: NDArray[np.float64], where: str, columns: Sequence[str]) -> None:
    """Check that each two columns are there together in some rows, without which data say nothing on their correlation.

    Raises:
        InputError: names two columns that never are, and the remedy.
    """
    there = ~np.isnan(x)
    together = there.T.astype(float) @ there
    apart = np.argwhere(np.triu(together < 2))
    if len(apart):
        one, other = (shown(columns[d]) for d in apart[0])
        raise InputError(
            f"{where}: columns {one} and {other} have values together in {together[tuple(apart[0])]:.0f} rows, so that "
            'their correlation cannot be estimated; leave one out, or use covariance = "diagonal" or "spherical"'
        )


def completed_by_gaussian(
    x: NDArray[np.float64], weights: Weights | None = None
) -> tuple[Moments, NDArray[np.float64]]:
    """The Gaussian of largest likelihood for points with missing cells, and the points completed by it.

    EM (Little & Rubin 2019, section 11.2) finds it from the moments of the cells that are there. A missing cell is
    completed by its mean given the row's other cells. A column that is constant has variance 0, and is completed by its
    value.

    Args:
        x: `[N, D]`, NaN where a cell is missing; `check_incomplete` passed.
        weights: how often each row counts, [N]; once unless given.

    Returns:
        The moments, and the completed points [N, D].
    """
    lowest = np.nanmin(x, axis=0)
    constant = lowest == np.nanmax(x, axis=0)
    centre = np.where(constant, lowest, np.nanmean(x, axis=0))
    scale = np.where(constant, 1.0, np.nanstd(x, axis=0))
    z = (x - centre) / scale
    patterns, counts = Patterns.of(z), np.ones(len(x)) if weights is None else weights
    total = len(x) if weights is None else number_of(weights)
    mean, covariance = np.zeros(x.shape[1]), np.diag(np.where(constant, 0.0, 1.0))
    for _ in range(MOST_STEPS):
        filled, spread = _expected(z, patterns, counts, mean, covariance)
        new_mean = counts @ filled / total
        new_covariance = ((filled - new_mean).T * counts @ (filled - new_mean) + spread) / total
        moved = max(np.max(np.abs(new_mean - mean)), np.max(np.abs(new_covariance - covariance)))
        mean, covariance = new_mean, new_covariance
        if moved < SETTLED:
            break
    filled, _ = _expected(z, patterns, counts, mean, covariance)
    moments = Moments(total, centre + scale * mean, covariance * scale * scale[:, None])
    # Cells that are there keep their values to the last bit.
    return moments, np.where(np.isnan(x), centre + scale * filled, x)


def _expected(
    z: NDArray[np.float64],
    patterns: Patterns,
    counts: NDArray[np.float64],
    mean: NDArray[np.float64],
    covariance: NDArray[np.float64],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The rows completed by conditional means [N, D], and the sum of the conditional covariances [D, D]."""
    filled, spread = z.copy(), np.zeros_like(covariance)
    for observed, members in zip(patterns.observed, patterns.members, strict=True):
        if np.all(observed):
            continue
        there, lost = np.flatnonzero(observed), np.flatnonzero(~observed)
        across = covariance[np.ix_(there, lost)]
        # By least squares, because the covariance of collinear columns is singular.
        regression = np.linalg.lstsq(covariance[np.ix_(there, there)], across, rcond=1e-12)[0]
        filled[np.ix_(members, lost)] = mean[lost] + (z[np.ix_(members, there)] - mean[there]) @ regression
        spread[np.ix_(lost, lost)] += np.sum(counts[members]) * (covariance[np.ix_(lost, lost)] - regression.T @ across)
    return filled, spread
