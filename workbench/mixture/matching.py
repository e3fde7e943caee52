"""When two mixtures are one: matched component by component, whatever their labels and whatever their units."""

from dataclasses import dataclass
from typing import NamedTuple

import jax
import numpy as np

from workbench.mixture import Mixture

# Two ends are one where the complete data could hardly tell them apart: by less than this many nats over all points,
# about a third of a standard error of one parameter. Ends of one climb from two starts differ by what the stopping rule
# left over, less than 1e-2 wherever EM takes fewer than some thousand steps; distinct optima by tens or more.
SAME = 0.1

# Ends whose log_joint differ by more nats are not compared: what a stopping rule leaves over is far less.
NEAR = 1.0


@dataclass(frozen=True)
class Components:
    """The components of one mixture as NumPy arrays; merged ones count as one, so that K may differ."""

    weights: np.ndarray  # [K]
    means: np.ndarray  # [K, D]
    scale_trils: np.ndarray  # [K, D, D]   lower Cholesky factors of the covariances

    @classmethod
    def of(cls, mixture: Mixture, groups: np.ndarray, least: float = 0.0) -> "Components":
        """Of a mixture whose components stand in groups [K] that are one each, without those lighter than `least`.

        A group takes the shape of its heaviest member.
        """
        arrays = mixture.weights, mixture.means, mixture.scale_trils
        weights, means, trils = (np.asarray(array) for array in arrays)
        leaders = np.unique(heaviest(weights, groups))
        together = np.asarray([weights[groups == groups[k]].sum() for k in leaders])
        kept = together >= least
        return cls(together[kept], means[leaders][kept], trils[leaders][kept])

    @classmethod
    def of_all(cls, mixtures: Mixture) -> list["Components"]:
        """Of a batch with leaves [R, ...]."""
        arrays = mixtures.weights, mixtures.means, jax.vmap(lambda mixture: mixture.scale_trils)(mixtures)
        return [cls(*parts) for parts in zip(*(np.asarray(array) for array in arrays), strict=True)]


def assignment(costs: np.ndarray) -> np.ndarray:
    """The column matched to each row of [K, K] so that the sum of the costs is smallest. [K]"""
    # Imported here because scipy.optimize is a tenth of the time that importing the package may take.
    from scipy.optimize import linear_sum_assignment

    return np.asarray(linear_sum_assignment(costs)[1])


def divergence(one: Components, other: Components) -> float:
    """How far apart two mixtures are, in nats per point, under the best match of their components.

    The symmetric Kullback-Leibler divergence of the distributions of a point *and its component* (Jeffreys 1946):

        sum_k (pi_k - pi'_k) ln(pi_k / pi'_k) + pi_k KL(N_k | N'_k) + pi'_k KL(N'_k | N_k)

    It is a sum over matched pairs, so that the assignment is exact; it does not depend on units or coordinates, and a
    narrow component counts in its own width. Near zero it is the squared distance in the complete-data information.
    Infinite where the numbers of components differ.
    """
    if one.weights.shape != other.weights.shape:
        return float("inf")
    costs = _pairs(one, other)
    return float(np.sum(costs[np.arange(len(costs)), assignment(costs)]))


class Match(NamedTuple):
    """The best order of one mixture's components beside another's, and how far the next best is behind."""

    order: np.ndarray  # [K]   the component of the other that is called k
    divergence: float  # nats per point
    second: float  # of the next best order; infinite where there is none

    @property
    def clear(self) -> bool:
        """Whether the labels are beyond doubt: see `CLEAR`."""
        return self.divergence < CLEAR * self.second


# A divergence is a squared length. A match is clear where the other mixture is less than half as far away under the
# best order as under any other: a point about half way between two orders could be named either way.
CLEAR = 0.25


def match(one: Components, other: Components) -> Match:
    """The order of the other's components that is nearest to one, in the sense of `divergence`; both of K.

    The next best order differs in some pair at least: it is the best of those that do without one of the pairs.
    """
    costs = _pairs(one, other)
    places, order = np.arange(len(costs)), assignment(costs)
    second = float("inf")
    for k in places if len(places) > 1 else ():
        without = costs.copy()
        without[k, order[k]] = _FAR
        second = min(second, float(np.sum(costs[places, assignment(without)])))
    return Match(order, float(np.sum(costs[places, order])), second)


def distinct(ends: list[Components], log_joint: np.ndarray, points: int, same: float = SAME) -> np.ndarray:
    """The number of the optimum that each end is, best first: equal up to a permutation of the components. [R]

    Ends are taken from the highest `log_joint` down, and each is compared with one representative of every optimum of a
    near value only, the nearest value first: thousands of ends cost little more than sorting them.

    Args:
        ends: their components.
        log_joint: their values. [R]
        points: N, which turns nats per point into nats.
        same: nats below which two ends are one.
    """
    labels = np.full(len(ends), -1)
    firsts: list[int] = []
    for end in np.argsort(-log_joint, kind="stable"):
        near = [i for i in reversed(range(len(firsts))) if log_joint[firsts[i]] - log_joint[end] <= NEAR]
        found = (i for i in near if points * divergence(ends[firsts[i]], ends[end]) <= same)
        labels[end] = next(found, len(firsts))
        if labels[end] == len(firsts):
            firsts.append(int(end))
    return labels


def heaviest(weights: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """The component of largest weight in each component's own group. [K]"""
    order = np.argsort(-weights, kind="stable")
    return np.asarray([next(k for k in order if groups[k] == group) for group in groups])


def _pairs(one: Components, other: Components) -> np.ndarray:
    """Every pair's part of the divergence; large and finite where a weight is zero. [K, K]"""
    forward, backward = _twice_kl(one, other), _twice_kl(other, one).T
    w, v = one.weights[:, None], other.weights
    with np.errstate(divide="ignore", invalid="ignore"):
        costs = (w - v) * (np.log(w) - np.log(v)) + 0.5 * (w * forward + v * backward)
    # In float64 also where the mixtures are not: `_FAR` leaves float32.
    return np.nan_to_num(np.asarray(costs, float), nan=_FAR, posinf=_FAR, neginf=_FAR)


# Larger than any divergence, and small enough to be added up.
_FAR = 1e150


def _twice_kl(one: Components, other: Components) -> np.ndarray:
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
