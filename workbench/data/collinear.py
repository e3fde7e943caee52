"""Collinear data: detects linearly dependent columns, for which all points lie on a hyperplane, and names them."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from workbench.data.moments import Moments

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
