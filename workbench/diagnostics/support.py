"""The support of each component: what it adds to the log-likelihood, against the price of its parameters.

A component on a few points that happen to lie in a narrow strip raises the likelihood, and can be a local maximum
(McLachlan & Peel 2000, sec. 3.10). There are so many strips that such a component always exists. To count as supported,
it must gain more than its Occam factor costs (MacKay 2003, ch. 28). The Occam factor is the share of the prior range of
its parameters, here the spread of the data, that is left after the points have been seen. In working units the spread
of the data is one, and minus the logarithm of the factor is

    price = d / 2 ln n_k + sum_i ln(1 / s_i) + sum_(i < j) ln(s_j / s_i)

where n_k is the number of points' worth, s_1 < ... < s_D are the deviations along its axes (at most one, the width of
the data), and d is the number of its own parameters. Each parameter is known to 1 / sqrt(n_k) of the width in its
direction, and an angle to 1 / sqrt(n_k) of the ratio of the two widths that it rotates into each other. The last sum
applies to full covariances only. There is no constant to choose.
"""

from dataclasses import replace
from typing import NamedTuple

import jax
import numpy as np

from workbench.loop.run import score
from workbench.mixture import Mixture
from workbench.problem import Problem
from workbench.soundness import VANISHED


class Sliver(NamedTuple):
    """A component that is narrower than all others in some direction, and whose gain is below its price."""

    component: int
    points: float  # points' worth of responsibility
    gain: float  # nats
    price: float  # nats


def slivers(problem: Problem, mixture: Mixture) -> tuple[Sliver, ...]:
    """Components that may be there by chance. It computes one likelihood for each narrow component.

    The tuple is empty if covariances are shared, because no component is then narrower than the others.
    """
    own = _own_parameters(problem)
    if problem.components == 1 or own is None:
        return ()
    trils = np.asarray(problem.rows.to_working(mixture).scale_trils)
    sizes = problem.num_points * np.asarray(mixture.weights)
    narrow = [k for k in _narrowest(trils @ trils.swapaxes(-1, -2)) if sizes[k] > VANISHED]
    if problem.held is not None:
        narrow = [k for k in narrow if problem.held.free_scales[k]]
    if not narrow:
        return ()
    unsupported = []
    for k, gain in zip(narrow, _gains(problem, mixture, narrow), strict=True):
        price = 0.5 * own * np.log(max(sizes[k], 1.0)) + _volume(problem, trils[k])
        if gain < price:
            unsupported.append(Sliver(k, float(sizes[k]), float(gain), float(price)))
    return tuple(unsupported)


def _own_parameters(problem: Problem) -> int | None:
    """Number of free parameters of one component: its weight, mean and covariance; None if covariances are shared."""
    d, family = problem.num_dimensions, problem.covariance
    if family.is_shared:
        return None
    return 1 + d + family.num_parameters(2, d) - family.num_parameters(1, d)


def _narrowest(covariances: np.ndarray) -> list[int]:
    """Components with less variance along their own narrowest axis than any other has there. [K, D, D] -> indices"""
    axes = np.linalg.eigh(covariances)[1][..., 0]  # [K, D]
    along = np.einsum("ki,jil,kl->kj", axes, covariances, axes)  # [K, K]   variance of j along the narrow axis of k
    others = along + np.diag(np.full(len(along), np.inf))
    # The factor keeps widths that differ by rounding from counting as narrower.
    return [int(k) for k in np.flatnonzero(np.diag(along) < (1 - 1e-9) * others.min(1))]


def _volume(problem: Problem, tril: np.ndarray) -> float:
    """The part of a component's price that comes from its widths and directions, in working units [D, D]."""
    widths = np.minimum(np.linalg.svd(tril, compute_uv=False)[::-1], 1.0)
    logs = np.log(widths)
    turned = np.sum(logs * (2 * np.arange(len(logs)) - len(logs) + 1)) if problem.covariance.has_correlations else 0.0
    return float(turned - np.sum(logs))


def _gains(problem: Problem, mixture: Mixture, components: list[int]) -> np.ndarray:
    """Nats that the log-likelihood loses when each component is removed and the other weights are rescaled."""
    weights = np.asarray(mixture.weights)
    tiny = np.finfo(weights.dtype).tiny  # not zero, whose logarithm is not finite
    without = [np.where(np.arange(len(weights)) == k, tiny, weights) for k in components]
    each = [replace(mixture, weights=each / each.sum()) for each in without]
    together = jax.tree.map(lambda *leaves: np.stack([np.asarray(leaf) for leaf in leaves])[:, None], mixture, *each)
    _, log_likelihood = score(problem, together)
    return np.asarray(log_likelihood[0, 0] - log_likelihood[1:, 0])
