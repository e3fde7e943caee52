"""Sequential updates of the conjugate prior by one point at a time, and the predictive density of the next point.

Given its points, a component predicts the next one by a Student t density (`update.log_predictive`). A point changes
the scatter of a block by a rank-one term `c d d^T`. The inverse therefore follows from the formula of Sherman and
Morrison (1950), and the determinant from the matrix determinant lemma, without a factorisation. All operations are
elementwise over a population of particles, which is the last axis of every array.
"""

from typing import NamedTuple

import jax.numpy as jnp
from jax import Array
from jax.scipy.special import gammaln

from workbench.mixture.arithmetic import log, lower_inverse, lower_root, squares
from workbench.mixture.covariance import Covariance
from workbench.mixture.prior.base import Hyperparameters
from workbench.mixture.prior.update import LOG_PI, Updated


class Known(NamedTuple):
    """The posterior of each component given its points: `Updated` in a form that is cheap to update by one point."""

    counts: Array  # [K]
    locations: Array  # [K, D]
    inverse: Array  # the family's shape: inverse of the scatter
    log_determinants: Array  # of the blocks of the scatter: [K] full, [] tied, [K, D] diagonal, [K] spherical

    @classmethod
    def of(cls, updated: Updated, family: Covariance) -> "Known":
        """Conversion from the prior updated by all points at once; leaves [..., S]."""
        if family.has_correlations:
            roots = lower_root(updated.scatter)
            d = roots.shape[-2]
            logs = 2.0 * sum((log(roots[..., i, i, :]) for i in range(d)), jnp.zeros(()))
            return cls(updated.counts, updated.locations, squares(lower_inverse(roots)), logs)
        return cls(updated.counts, updated.locations, 1.0 / updated.scatter, log(updated.scatter))


class Change(NamedTuple):
    """The change of each component's posterior if it took one more point.

    Here d is the point less the location, S the scatter, `q = d^T S^-1 d` and `c = kappa_n / (kappa_n + 1)`.
    """

    step: Array  # [K, D]   change of the location
    pull: Array  # [K, D]   S^-1 d; empty if blocks are variances
    share: Array  # of each block: c / (1 + c q), the factor of `pull pull^T` in the change of the inverse; for
    # variances 1 / (1 + c q), the factor of the inverse
    growth: Array  # of each block: ln (1 + c q), the change of the log-determinant


class Tables(NamedTuple):
    """Terms that depend only on the number of points n, tabulated for n = 0 to N."""

    of_component: Array  # [N + 1]   ln(n + a) + D / 2 ln(kappa_n / (kappa_n + 1)), plus `of_block` unless shared
    of_block: Array  # [N + 1]   normaliser of Student's t without the determinant

    @classmethod
    def of(cls, points: int, hyperparameters: Hyperparameters, family: Covariance) -> "Tables":
        """Tables for up to `points` points."""
        h, d = hyperparameters, len(hyperparameters["mean_location"])
        n = jnp.arange(points + 1.0)
        b, added, blocks = shape_of(family, d)
        half = 0.5 * (h["degrees"] + added * n)
        normaliser = gammaln(half + 0.5 * added) - gammaln(half + 0.5 * (added - b * added))
        of_block = blocks * normaliser - 0.5 * d * LOG_PI
        shrinkage = h["mean_shrinkage"] + n
        own = jnp.log(n + h["concentration"]) + 0.5 * d * jnp.log(shrinkage / (shrinkage + 1.0))
        return cls(own if family.is_shared else own + of_block, of_block)


def shape_of(family: Covariance, dimensions: int) -> tuple[int, int, int]:
    """The side b of a block, the degrees of freedom that a point adds to it, and the blocks of one component."""
    b, blocks = family.block_dimension(dimensions), family.blocks(dimensions)
    return b, dimensions // (b * blocks), blocks


def foresee(known: Known, x: Array, tables: Tables, h: Hyperparameters, family: Covariance) -> tuple[Array, Change]:
    """`ln(n_k + a)` plus the log predictive density of a point x [D] under each component [K], and the change by it.

    The first is the log joint density of the component and the point, without the constant `-ln(n + K a)`.
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
        inverse = _by_component(known.inverse, family)
        squares = difference**2 if inverse.ndim > 1 else jnp.sum(difference**2, -1)
        grown = 1.0 + share.reshape(-1, *(1,) * (squares.ndim - 1)) * inverse * squares
        change = Change(step, difference[:0], 1.0 / grown, log(grown))
    log_joint = tables.of_component[known.counts.astype(int)]
    points = known.counts
    if family.is_shared:
        points = jnp.sum(known.counts)
        log_joint += tables.of_block[points.astype(int)]
    tails = 0.5 * (h["degrees"] + added * (points + 1.0)) * _of_component(change.growth)
    determinants = _by_component(known.log_determinants, family)
    return log_joint - 0.5 * added * _of_component(determinants) - tails, change


def with_point(known: Known, chosen: Array, change: Change, family: Covariance) -> Known:
    """The posterior after one more point of the chosen component; `chosen` [K] is 1 there and 0 elsewhere."""
    counts = known.counts + chosen
    locations = known.locations + chosen[:, None] * change.step
    if not family.has_correlations:
        here = chosen.reshape(-1, *(1,) * (change.growth.ndim - 1))
        grown = here * change.growth
        if family.is_shared:
            inverse = known.inverse * jnp.prod(jnp.where(here > 0, change.share, 1.0), 0)
            return Known(counts, locations, inverse, known.log_determinants + jnp.sum(grown, 0))
        inverse = jnp.where(here > 0, known.inverse * change.share, known.inverse)
        return Known(counts, locations, inverse, known.log_determinants + grown)
    scaled = (chosen * change.share)[:, None] * change.pull  # [K, D]
    lost = scaled[:, :, None] * change.pull[:, None, :]  # [K, D, D]
    grown = chosen * change.growth
    if family.is_shared:
        lost, grown = jnp.sum(lost, 0), jnp.sum(grown)
    return Known(counts, locations, known.inverse - lost, known.log_determinants + grown)


def _by_component(blocks: Array, family: Covariance) -> Array:
    """The blocks with a component axis, which has length 1 if all components share the blocks."""
    return blocks[None] if family.is_shared else blocks


def _of_component(blocks: Array) -> Array:
    """Sum over the blocks of a component, [K, D] -> [K]; unchanged if a component has one block."""
    return jnp.sum(blocks, -1) if blocks.ndim > 1 else blocks
