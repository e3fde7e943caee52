"""Collinear data: columns that depend on each other, so that all points lie on a hyperplane, and which they are."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from workbench.data.moments import Moments

# Below this smallest eigenvalue of the correlation matrix the data count as collinear. The matrix is formed from
# squares, and each entry has rounding of 1e-16: in a direction of this eigenvalue six digits are left, and a Cholesky
# factor carries 1e-6 of the rows' precision into the standardised rows, more than it removes.
COLLINEAR = 1e-10

# Columns named on the other side of a relation; and how far a coefficient may lie from one, or from zero beside the
# largest, to be taken for it: the root of `COLLINEAR`, to which coefficients are known.
NAMED = 4
SLACK = 1e-4


def is_collinear(covariance: NDArray[np.float64]) -> bool:
    """Whether a covariance [D, D] is singular but for rounding, whatever the units of its columns."""
    return bool(np.linalg.eigvalsh(_correlation(covariance))[0] < COLLINEAR)


def relation(moments: Moments, columns: Sequence[str]) -> str:
    """How the columns of collinear data depend on each other, in words: `x3 is the sum of x1 and x2`."""
    n, _, covariance = moments
    d = len(covariance)
    if n <= d:
        return f"{n} rows span at most {n - 1} of {d} dimensions"
    correlation, deviations = _correlation(covariance), np.sqrt(np.diag(covariance))
    kept: list[int] = []
    for column in range(d):
        # What the columns before it leave unexplained of a column of variance one; D times the eigenvalue at most.
        inside = correlation[np.ix_(kept, kept)]
        slopes = np.linalg.lstsq(inside, correlation[kept, column], rcond=None)[0]
        if kept and 1.0 - slopes @ correlation[kept, column] < d * COLLINEAR:
            used = [(kept[i], slopes[i]) for i in np.argsort(-np.abs(slopes)) if abs(slopes[i]) > SLACK]
            return _words(column, sorted((k, s * deviations[column] / deviations[k]) for k, s in used), columns)
        kept.append(column)
    (first, *_) = np.argsort(-np.abs(np.linalg.eigh(correlation)[1][:, 0]))
    return f"{columns[first]} is a linear combination of other columns"


def _words(column: int, terms: list[tuple[int, float]], columns: Sequence[str]) -> str:
    """A column as what it is of others, by their coefficients."""
    names, ones = [columns[k] for k, _ in terms], all(abs(slope - 1.0) < SLACK for _, slope in terms)
    name, last = columns[column], names[-1]
    if len(names) == 1:
        rest = "equals" if ones else f"is {terms[0][1]:.6g} times"
        return f"{name} {rest} {last}, but for a constant"
    listed = f"{', '.join(names[:-1])} and {last}" if len(names) <= NAMED else f"{', '.join(names[:NAMED])} and others"
    return f"{name} is {'the sum' if ones else 'a linear combination'} of {listed}, but for a constant"


def _correlation(covariance: NDArray[np.float64]) -> NDArray[np.float64]:
    deviations = np.sqrt(np.diag(covariance))
    return np.asarray(covariance / np.outer(deviations, deviations))
