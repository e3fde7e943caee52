"""Agreement of an estimate with known answers: the labels of real data, the parameters of simulated data."""

import numpy as np

from workbench.data import Truth
from workbench.data.known import UNKNOWN
from workbench.mixture import Mixture
from workbench.mixture.matching import assignment
from workbench.problem import Problem


def adjusted_rand_index(labels: np.ndarray, predicted: np.ndarray, weights: np.ndarray | None = None) -> float:
    """Agreement of two partitions [N], corrected for chance: 1 for equal partitions, about 0 for independent ones.

    A row of weight w, of weights [N] if given, counts as w rows.

    Hubert & Arabie (1985), "Comparing partitions", J. Classification 2, eq. 5.
    """
    _, rows = np.unique(labels, return_inverse=True)
    _, columns = np.unique(predicted, return_inverse=True)
    table = np.zeros((rows.max() + 1, columns.max() + 1))
    np.add.at(table, (rows, columns), 1.0 if weights is None else weights)

    def pairs(counts: np.ndarray) -> float:
        return float(np.sum(counts * (counts - 1) / 2))

    together, left, right = pairs(table), pairs(table.sum(1)), pairs(table.sum(0))
    expected = left * right / pairs(np.asarray([table.sum()]))
    most = (left + right) / 2
    return 1.0 if most == expected else (together - expected) / (most - expected)


def agreement_with(labels: np.ndarray, mixture: Mixture, problem: Problem) -> float | None:
    """The adjusted Rand index of known classes [N] and the components of a problem's rows.

    Rows whose component is known say nothing about a mixture, and are left out; None if no other is there.
    """
    judged = np.ones(problem.num_rows, bool) if problem.known is None else problem.known.components == UNKNOWN
    if not np.any(judged):
        return None
    predicted = np.asarray(mixture.predict(problem.x, missing=problem.missing))
    weights = None if problem.weights is None else problem.weights[judged]
    return float(adjusted_rand_index(np.asarray(labels)[judged], predicted[judged], weights))


def matched_error(mixture: Mixture, truth: Truth) -> float:
    """Root mean square distance between estimated and true component means, in true standard deviations.

    Components are matched one to one so that the sum of squared distances is smallest. The standard deviation of a
    true component is the root mean variance, sqrt(tr Sigma_k / D). Infinite where the numbers of components differ.
    """
    means = np.asarray(mixture.means)
    if len(means) != len(truth.means):
        return float("inf")
    deviations = np.sqrt(np.trace(truth.covariances, axis1=1, axis2=2) / means.shape[1])  # [K]
    squared = np.sum((means[:, None] - truth.means) ** 2, -1) / deviations**2  # [K estimated, K true]
    return float(np.sqrt(np.mean(squared[np.arange(len(squared)), assignment(squared)])))
