"""Starts by hierarchical clustering, the default of mclust: rows are merged into groups by a Gaussian likelihood."""

from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from workbench.starts.groups import GroupedStart, Groups, Points, groups_of, principal_axes


class Hierarchical(GroupedStart):
    """Groups by model-based agglomeration, which merges the rows that fit Gaussian groups best.

    Restarts alternate between whitened and scaled units; which are better depends on the data (Scrucca & Raftery 2015,
    "Improved initialisation of model-based clustering using Gaussian hierarchical clustering", ADAC 9). The first
    restart in each kind of unit uses all rows, and each later one a random half, since agglomeration is deterministic.
    Components start with the pooled covariance, because merged rows lie in narrow ellipsoids, which EM would leave less
    easily.
    """

    rule: Literal["hierarchical"] = "hierarchical"
    summary: ClassVar[str] = "groups by model-based agglomeration; of half of the rows from the third restart on"

    # The time grows with the square of the rows and the cube of the axes; with these numbers it is about a second.
    most_rows: ClassVar[int] = 500
    most_axes: ClassVar[int] = 20

    def searches(self, restarts: int) -> np.ndarray:
        """One: agglomeration is deterministic, and differs between restarts in units and in the rows left out. [R]"""
        return np.zeros(restarts, int)

    def group(self, x: Points, components: int, rng: np.random.Generator, restart: int) -> Groups:
        """The groups of all rows, or of half of them."""
        # For one column, scaling and whitening are the same.
        turns = 1 if x.shape[1] == 1 else 2
        if restart >= turns and len(x) < self.most_rows:  # more rows are already a random sample
            size = max(len(x) // 2, min(len(x), 4 * components))
            x = x[np.sort(rng.choice(len(x), size, replace=False))]
        unwhitened, whitened = principal_axes(x, self.most_axes)
        labels = agglomerate(unwhitened if restart % turns else whitened, components)
        groups = groups_of(x, labels, components)
        return groups._replace(covariances=np.tile(groups.pooled, (components, 1, 1)))


def agglomerate(z: Points, groups: int) -> NDArray[np.intp]:
    """Groups of rows, by repeatedly merging the two groups whose union raises the criterion least, until K are left.

    The criterion is that of Gaussian groups, each with its own covariance: the sum over groups of
    `n ln( |W / n| + (tr W + tr W_all / (N D)) / n )`, where W is the scatter matrix of a group about its mean. The
    second term keeps it finite for groups of few rows, whose scatter is singular (Fraley 1998, "Algorithms for
    model-based Gaussian hierarchical clustering", SIAM J. Sci. Comput. 20, eq. 10).

    Args:
        z: rows [N, D] in units in which the columns have about unit variance; the criterion depends on the units.
        groups: K, at most N.

    Returns:
        The group of each row, 0 to K - 1 in the order of their first rows. [N]
    """
    n, d = z.shape
    everything = float(np.sum((z - z.mean(0)) ** 2)) / (n * d)
    counts, means, scatters = np.ones(n), z.copy(), np.zeros((n, d, d))
    terms = _terms(counts, scatters, everything)  # [N]
    labels, alive = np.arange(n), np.ones(n, bool)

    def unions(i: int, others: NDArray[np.intp]) -> tuple[Points, Points]:
        """Sizes and scatter matrices of the unions of group i with each of the others. [M], [M, D, D]"""
        together, apart = counts[others] + counts[i], means[others] - means[i]
        share = (counts[others] * counts[i] / together)[:, None, None]
        return together, scatters[others] + scatters[i] + share * apart[:, :, None] * apart[:, None, :]

    costs = np.full((n, n), np.inf)
    for i in range(n - 1):
        others = np.arange(i + 1, n)
        costs[i, others] = costs[others, i] = _terms(*unions(i, others), everything) - terms[others] - terms[i]
    for _ in range(n - groups):
        i, j = sorted(divmod(int(np.argmin(costs)), n))
        together, scatter = (array[0] for array in unions(i, np.asarray([j])))
        means[i] = (counts[i] * means[i] + counts[j] * means[j]) / together
        counts[i], scatters[i], alive[j], labels[labels == j] = together, scatter, False, i
        costs[j], costs[:, j] = np.inf, np.inf
        terms[i] = _terms(counts[i : i + 1], scatters[i : i + 1], everything)[0]
        others = np.flatnonzero(alive & (np.arange(n) != i))
        costs[i, others] = costs[others, i] = _terms(*unions(i, others), everything) - terms[others] - terms[i]
    return np.unique(labels, return_inverse=True)[1]


def _terms(counts: Points, scatters: Points, everything: float) -> Points:
    """The term of each group in the criterion. [M]"""
    d = scatters.shape[-1]
    determinants = np.zeros(len(counts))
    # The scatter matrix of n rows about their mean has rank at most n - 1.
    regular = counts > d
    determinants[regular] = np.linalg.det(scatters[regular] / counts[regular, None, None])
    traces = np.trace(scatters, axis1=1, axis2=2)
    # By rounding the determinant of a singular matrix can be negative.
    return np.asarray(counts * np.log(np.maximum(determinants, 0.0) + (traces + everything) / counts))
