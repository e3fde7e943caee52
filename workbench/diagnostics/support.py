"""What each component adds to the log-likelihood, and what it takes to state it: whether the data pay for it.

A component on a few points that happen to lie in a narrow strip raises the likelihood, and is a maximum like others
(McLachlan & Peel 2000, sec. 3.10). With so many strips to choose from there is always such a one. What it must earn is
its Occam factor (MacKay 2003, ch. 28): the share of what its parameters could have been, were they anywhere in the
data, that is left once the points have told. In working units the data are of unit spread, and

    price = d / 2 ln n_k + sum_i ln(1 / s_i) + sum_(i < j) ln(s_j / s_i)

with n_k points' worth, the deviations s_1 < ... < s_D along its axes (not counted as wider than the data), and d
parameters of its own: each is known to one part in the square root of n_k, of the width that its direction has; an
angle, of the ratio of the widths that it turns into each other. The last sum is of full covariances only. There is no
constant to choose.
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
    """A component that is narrower than all others across some direction, and adds less than it takes to state it."""

    component: int
    points: float  # points' worth
    gain: float  # nats
    price: float  # nats


def slivers(problem: Problem, mixture: Mixture) -> tuple[Sliver, ...]:
    """Components that may be there by chance; a likelihood for each one that is narrow is worked out.

    None where covariances are shared: no component is narrower than others there.
    """
    own = _own_parameters(problem)
    if problem.components == 1 or own is None:
        return ()
    trils = np.asarray(problem.rows.to_working(mixture).scale_trils)
    sizes = problem.num_points * np.asarray(mixture.weights)
    narrow = [k for k in _narrowest(trils @ trils.swapaxes(-1, -2)) if sizes[k] > VANISHED]
    if not narrow:
        return ()
    found = []
    for k, gain in zip(narrow, _gains(problem, mixture, narrow), strict=True):
        price = 0.5 * own * np.log(max(sizes[k], 1.0)) + _volume(problem, trils[k])
        if gain < price:
            found.append(Sliver(k, float(sizes[k]), float(gain), float(price)))
    return tuple(found)


def _own_parameters(problem: Problem) -> int | None:
    """Free parameters of one component: a weight, a mean, a covariance; None where covariances are shared."""
    d, family = problem.num_dimensions, problem.covariance
    if family.is_shared:
        return None
    return 1 + d + family.num_parameters(2, d) - family.num_parameters(1, d)


def _narrowest(covariances: np.ndarray) -> list[int]:
    """Components that have less variance along their narrowest axis than any other has there, of [K, D, D]."""
    axes = np.linalg.eigh(covariances)[1][..., 0]  # [K, D]
    along = np.einsum("ki,jil,kl->kj", axes, covariances, axes)  # [K, K]   of each, along the axis of each
    others = along + np.diag(np.full(len(along), np.inf))
    # Equal widths differ by rounding.
    return [int(k) for k in np.flatnonzero(np.diag(along) < (1 - 1e-9) * others.min(1))]


def _volume(problem: Problem, tril: np.ndarray) -> float:
    """What the widths and the directions of a component in working units [D, D] add to its price."""
    widths = np.minimum(np.linalg.svd(tril, compute_uv=False)[::-1], 1.0)
    logs = np.log(widths)
    turned = np.sum(logs * (2 * np.arange(len(logs)) - len(logs) + 1)) if problem.covariance.has_correlations else 0.0
    return float(turned - np.sum(logs))


def _gains(problem: Problem, mixture: Mixture, components: list[int]) -> np.ndarray:
    """Nats that the log-likelihood loses without each of some components, the weights of the others in proportion."""
    weights = np.asarray(mixture.weights)
    tiny = np.finfo(weights.dtype).tiny  # not zero, whose logarithm is no number
    without = [np.where(np.arange(len(weights)) == k, tiny, weights) for k in components]
    each = [replace(mixture, weights=each / each.sum()) for each in without]
    together = jax.tree.map(lambda *leaves: np.stack([np.asarray(leaf) for leaf in leaves])[:, None], mixture, *each)
    _, log_likelihood = score(problem, together)
    return np.asarray(log_likelihood[0, 0] - log_likelihood[1:, 0])
