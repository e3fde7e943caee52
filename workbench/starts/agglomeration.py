"""Model-based agglomeration: rows merged into groups, always the two whose union fits Gaussian groups best."""

import numpy as np
from numpy.typing import NDArray

Points = NDArray[np.float64]


def agglomerate(z: Points, groups: int) -> NDArray[np.intp]:
    """Groups of rows by merging the two, over and over, that raise the criterion least, until so many are left.

    The criterion is that of Gaussian groups with covariances of their own: the sum over groups of
    `n ln( |W / n| + (tr W + tr W_all / (N D)) / n )` with the scatter W of a group about its mean. The second term
    keeps it finite for groups of few rows, whose scatter is singular (Fraley 1998, "Algorithms for model-based Gaussian
    hierarchical clustering", SIAM J. Sci. Comput. 20, eq. 10).

    Args:
        z: rows [N, D] in units in which their columns have about unit variance; the criterion depends on them.
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
        """Sizes and scatters of the unions of group i with others. [M], [M, D, D]"""
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
    """What each group adds to the criterion. [M]"""
    d = scatters.shape[-1]
    determinants = np.zeros(len(counts))
    # The scatter of n rows about their mean has rank n - 1 at most.
    regular = counts > d
    determinants[regular] = np.linalg.det(scatters[regular] / counts[regular, None, None])
    traces = np.trace(scatters, axis1=1, axis2=2)
    # Rounding can leave the determinant of a singular matrix below zero.
    return np.asarray(counts * np.log(np.maximum(determinants, 0.0) + (traces + everything) / counts))
