"""The conjugate prior updated by one point after the other, and the chance of the next point, without a factorisation.

A component whose points are known predicts the next by Student's t (`update.log_predictive`). A point changes a block's
scatter by one product `c d d^T`, so that its inverse and its determinant follow by Sherman & Morrison (1950) and by the
matrix determinant lemma. All is sums of products of numbers, elementwise over a population that lies along the last
axis of every array.
"""

import math
from typing import NamedTuple

import jax.numpy as jnp
from jax import Array
from jax.scipy.special import gammaln

from workbench.mixture.covariance import Covariance
from workbench.mixture.covariance.many import lower_inverse, lower_root, squares
from workbench.mixture.logarithm import log
from workbench.mixture.prior.base import Hyperparameters
from workbench.mixture.prior.update import LOG_PI, Updated


class Known(NamedTuple):
    """What the points of each component tell of it; `Updated` in a form that a point changes by few products."""

    counts: Array  # [K]
    locations: Array  # [K, D]
    inverse: Array  # the family's shape: of the scatter
    log_determinants: Array  # [K], [], [K, D] or [K]: full, tied, diagonal, spherical; of the blocks of the scatter

    @classmethod
    def of(cls, updated: Updated, family: Covariance) -> "Known":
        """From the prior updated by all points at once; leaves [..., S]."""
        if family.has_correlations:
            roots = lower_root(updated.scatter)
            d = roots.shape[-2]
            logs = 2.0 * sum((log(roots[..., i, i, :]) for i in range(d)), jnp.zeros(()))
            return cls(updated.counts, updated.locations, squares(lower_inverse(roots)), logs)
        return cls(updated.counts, updated.locations, 1.0 / updated.scatter, log(updated.scatter))


class Change(NamedTuple):
    """What one more point would do to each component that took it."""

    step: Array  # [K, D]   of the location
    pull: Array  # [K, D], or none where blocks are variances: the inverse scatter times the point's distance
    share: Array  # of each block: c / (1 + c q), the part of the product of `pull` that goes; 1 / (1 + c q)
    growth: Array  # of each block: ln (1 + c q), of the determinant


class Tables(NamedTuple):
    """What depends on whole numbers of points alone, each for 0 to N of them."""

    of_component: Array  # [N + 1]   ln (n + a) of the weights, and D / 2 ln (kappa_n / (kappa_n + 1)); and the other's
    of_block: Array  # [N + 1]   normaliser of Student's t but for the determinant, where components share their block

    @classmethod
    def of(cls, points: int, hyperparameters: Hyperparameters, family: Covariance) -> "Tables":
        """For up to so many points."""
        h, d = hyperparameters, len(hyperparameters["mean_location"])
        n = jnp.arange(points + 1.0)
        b, added, blocks = shape_of(family, d)
        half = 0.5 * (h["degrees"] + added * n)
        normaliser = gammaln(half + 0.5 * added) - gammaln(half + 0.5 * (added - b * added))
        of_block = blocks * normaliser - 0.5 * d * LOG_PI
        shrinkage = h["mean_shrinkage"] + n
        own = jnp.log(n + h["concentration"]) + 0.5 * d * jnp.log(shrinkage / (shrinkage + 1.0))
        return cls(own if is_shared(family, d) else own + of_block, of_block)


def shape_of(family: Covariance, dimensions: int) -> tuple[int, int, int]:
    """The side b of a block, the degrees that a point adds to it, and how many blocks a component has."""
    b = family.block_dimension(dimensions)
    blocks = math.prod(family.shape(1, dimensions)) // b**2
    return b, dimensions // (b * blocks), blocks


def foresee(known: Known, x: Array, tables: Tables, h: Hyperparameters, family: Covariance) -> tuple[Array, Change]:
    """ln(n_k + a) plus the log density of a point at x [D] under each component, and what the point would change. [K]

    The first is the log chance of the component and the point together, but for `ln(n + K a)`.
    """
    d = len(x)
    _, added, _ = shape_of(family, d)
    shrinkages = h["mean_shrinkage"] + known.counts
    share = shrinkages / (shrinkages + 1.0)  # [K]
    difference = x - known.locations  # [K, D]
    step = difference / (shrinkages + 1.0)[:, None]
    if family.has_correlations:
        pull = jnp.sum(known.inverse * difference[:, None, :], -1)
        grown = 1.0 + share * jnp.sum(difference * pull, -1)  # [K]
        change = Change(step, pull, share / grown, log(grown))
    else:
        squares = difference**2 if known.inverse.ndim > 1 else jnp.sum(difference**2, -1)
        grown = 1.0 + share.reshape(-1, *(1,) * (squares.ndim - 1)) * known.inverse * squares
        change = Change(step, difference[:0], 1.0 / grown, log(grown))
    found = tables.of_component[known.counts.astype(int)]
    seen = known.counts
    if is_shared(family, d):
        seen = jnp.sum(known.counts)
        found += tables.of_block[seen.astype(int)]
    tails = 0.5 * (h["degrees"] + added * (seen + 1.0)) * _of_component(change.growth)
    return found - 0.5 * added * _of_component(known.log_determinants) - tails, change


def with_point(known: Known, chosen: Array, change: Change, family: Covariance) -> Known:
    """After one more point of the chosen component: 1 there and 0 elsewhere [K]."""
    counts = known.counts + chosen
    locations = known.locations + chosen[:, None] * change.step
    if not family.has_correlations:
        here = chosen.reshape(-1, *(1,) * (known.inverse.ndim - 1))
        inverse = jnp.where(here > 0, known.inverse * change.share, known.inverse)
        return Known(counts, locations, inverse, known.log_determinants + here * change.growth)
    scaled = (chosen * change.share)[:, None] * change.pull  # [K, D]
    lost = scaled[:, :, None] * change.pull[:, None, :]  # [K, D, D]
    grown = chosen * change.growth
    if known.inverse.ndim == 2:
        lost, grown = jnp.sum(lost, 0), jnp.sum(grown)
    return Known(counts, locations, known.inverse - lost, known.log_determinants + grown)


def is_shared(family: Covariance, dimensions: int) -> bool:
    """Whether all components share one block."""
    return family.shape(1, dimensions) == family.shape(2, dimensions)


def _of_component(blocks: Array) -> Array:
    """Summed over the blocks of a component: [K, D] to [K]; as they are where there is one."""
    return jnp.sum(blocks, -1) if blocks.ndim > 1 else blocks
