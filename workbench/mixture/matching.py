"""Whether two mixtures are the same: they are compared by matched components, independently of labels and units."""

from dataclasses import dataclass
from typing import NamedTuple

import jax
import numpy as np

from workbench.mixture.background import of_all_points
from workbench.mixture.mixture import Mixture

# Two end points are the same optimum if their divergence over all points is less than this many nats, about a third of
# a standard error of one parameter. End points of one optimum differ because the stopping rule stops short of it: by
# less than 1e-2 nats wherever EM takes fewer than some thousand steps. Distinct optima differ by tens of nats or more.
SAME = 0.1

# End points whose log_joint differ by more nats than this are not compared: a stopping rule leaves far less.
NEAR = 1.0


@dataclass(frozen=True)
class Components:
    """The components of one mixture as NumPy arrays; merged components count as one, which reduces K."""

    weights: np.ndarray  # [K]
    means: np.ndarray  # [K, D]
    scale_trils: np.ndarray  # [K, D, D]   lower Cholesky factors of the covariances

    @classmethod
    def of(cls, mixture: Mixture, groups: np.ndarray, least: float = 0.0) -> "Components":
        """The components of a mixture, with those of equal number in `groups` [K] merged.

        A merged component has the mean and covariance of its heaviest member and the sum of the weights. Merged
        components lighter than `least` are dropped.
        """
        arrays = of_all_points(mixture), mixture.means, mixture.scale_trils
        weights, means, trils = (np.asarray(array) for array in arrays)
        leaders = np.unique(heaviest(weights, groups))
        together = np.asarray([weights[groups == groups[k]].sum() for k in leaders])
        kept = together >= least
        return cls(together[kept], means[leaders][kept], trils[leaders][kept])

    @classmethod
    def of_all(cls, mixtures: Mixture) -> list["Components"]:
        """The components of each mixture of a batch with leaves [R, ...]."""
        arrays = of_all_points(mixtures), mixtures.means, jax.vmap(lambda mixture: mixture.scale_trils)(mixtures)
        return [cls(*parts) for parts in zip(*(np.asarray(array) for array in arrays), strict=True)]


def assignment(costs: np.ndarray) -> np.ndarray:
    """The column matched to each row of `costs` [K, K] such that the sum of the costs is smallest. [K]"""
    # Imported here because scipy.optimize takes a tenth of the package's budget of import time.
    from scipy.optimize import linear_sum_assignment

    return np.asarray(linear_sum_assignment(costs)[1])


def divergence(one: Components, other: Components, allowed: np.ndarray | None = None) -> float:
    """The divergence of two mixtures, in nats per point, under the best match of their components.

    It is the symmetric Kullback-Leibler divergence of the distributions of a point *and its component* (Jeffreys 1946):

        sum_k (pi_k - pi'_k) ln(pi_k / pi'_k) + pi_k KL(N_k | N'_k) + pi'_k KL(N'_k | N_k)

    The divergence is a sum over matched pairs, so the assignment problem gives the exact minimum. It does not depend on
    units or coordinates, and a narrow component is measured in its own width. Near zero it is the squared distance in
    the metric of the complete-data information. It is infinite if the numbers of components differ. Only pairs that are
    `allowed` [K, K] match; all of them unless given.
    """
    if one.weights.shape != other.weights.shape:
        return float("inf")
    costs = _pairs(one, other, allowed)
    return float(np.sum(costs[np.arange(len(costs)), assignment(costs)]))


class Match(NamedTuple):
    """The best order of one mixture's components relative to another's, with the divergence of the second best."""

    order: np.ndarray  # [K]   the component of the other mixture that matches component k
    divergence: float  # nats per point
    second: float  # divergence of the second best order; infinite if K = 1

    @property
    def clear(self) -> bool:
        """Whether the best order is unambiguous: see `CLEAR`."""
        return self.divergence < CLEAR * self.second


# A match is clear if the distance under the best order is less than half of that under any other; a divergence is a
# squared distance. A mixture about halfway between two orders could be labelled by either.
CLEAR = 0.25


def match(one: Components, other: Components, allowed: np.ndarray | None = None) -> Match:
    """The order of the components of `other` with the smallest `divergence` from `one`; both have K components.

    Only pairs that are `allowed` [K, K] match, because other components are not interchangeable. The second best order
    differs from the best in at least one pair. It is therefore the best of the K orders that are found by
    excluding one pair of the best order at a time.
    """
    costs = _pairs(one, other, allowed)
    places, order = np.arange(len(costs)), assignment(costs)
    second = float("inf")
    for k in places if len(places) > 1 else ():
        without = costs.copy()
        without[k, order[k]] = _FAR
        second = min(second, float(np.sum(without[places, assignment(without)])))
    return Match(order, float(np.sum(costs[places, order])), second)


def distinct(
    ends: list[Components],
    log_joint: np.ndarray,
    points: int,
    same: float = SAME,
    *,
    allowed: np.ndarray | None = None,
) -> np.ndarray:
    """Number the distinct optima, best first, and return the number of each end point's optimum. [R]

    Optima are the same if they are equal up to a permutation of the components. End points are processed from the
    highest `log_joint` down. Each is compared with one representative of every optimum whose value is near, nearest
    first, so thousands of end points cost little more than sorting them.

    Args:
        ends: the components of the end points.
        log_joint: the values of the end points. [R]
        points: N, which converts nats per point to nats.
        same: divergence in nats up to which two end points are the same optimum.
        allowed: which pairs of components may match; all unless given. [K, K]
    """
    labels = np.full(len(ends), -1)
    firsts: list[int] = []
    for end in np.argsort(-log_joint, kind="stable"):
        near = [i for i in reversed(range(len(firsts))) if log_joint[firsts[i]] - log_joint[end] <= NEAR]
        matches = (i for i in near if points * divergence(ends[firsts[i]], ends[end], allowed) <= same)
        labels[end] = next(matches, len(firsts))
        if labels[end] == len(firsts):
            firsts.append(int(end))
    return labels


def heaviest(weights: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """The component of largest weight in each component's own group. [K]"""
    order = np.argsort(-weights, kind="stable")
    return np.asarray([next(k for k in order if groups[k] == group) for group in groups])


def _pairs(one: Components, other: Components, allowed: np.ndarray | None = None) -> np.ndarray:
    """The term of every pair in the divergence; large but finite if a weight is zero, or the pair may not match.

    Returns:
        [K, K]
    """
    forward, backward = twice_kl(one, other), twice_kl(other, one).T
    w, v = one.weights[:, None], other.weights
    with np.errstate(divide="ignore", invalid="ignore"):
        costs = (w - v) * (np.log(w) - np.log(v)) + 0.5 * (w * forward + v * backward)
    # Always float64, because `_FAR` overflows float32.
    costs = np.nan_to_num(np.asarray(costs, float), nan=_FAR, posinf=_FAR, neginf=_FAR)
    # Merged components (`Components.of`) have lost their numbers.
    if allowed is None or len(allowed) != len(costs):
        return costs
    return np.where(allowed, costs, _FAR)


# Larger than any divergence, and small enough that sums do not overflow.
_FAR = 1e150


def twice_kl(one: Components, other: Components) -> np.ndarray:
    """`2 KL(N_i | N_j) = |L_j^-1 L_i|^2 - D - 2 ln|L_j^-1 L_i| + |L_j^-1 (mu_i - mu_j)|^2`. [K, K]"""
    step = one.means[:, None] - other.means  # [K, K, D]
    apart = np.concatenate(
        [np.broadcast_to(one.scale_trils[:, None], (*step.shape, step.shape[-1])), step[..., None]], -1
    )
    white = np.linalg.solve(
        np.broadcast_to(other.scale_trils, (*step.shape, step.shape[-1])), apart
    )  # [K, K, D, D + 1]
    with np.errstate(divide="ignore", over="ignore"):
        logs = np.log(np.diagonal(white, axis1=-2, axis2=-1)).sum(-1)
        return np.asarray(np.sum(white**2, (-2, -1)) - step.shape[-1] - 2 * logs)
