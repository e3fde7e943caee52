"""The posterior under the conjugate prior given the components of the points, for all families in one closed form.

It can be updated by one point at a time, which gives the predictive density of the next point, and a mixture can be
drawn from it, as a Gibbs sampler needs.

Given an allocation, each component is a single Gaussian with a normal-inverse-Wishart prior, whose posterior, marginal
likelihood and predictive density are known (Murphy 2007, "Conjugate Bayesian analysis of the Gaussian distribution",
sec. 9; Gelman et al. 2013, sec. 3.6). The families differ only in their blocks: D x D matrices, one for each component
or one for all, or single variances.

Given its points, a component predicts the next one by a Student t density (`log_predictive`). A point changes
the scatter of a block by a rank-one term `c d d^T`. The inverse therefore follows from the formula of Sherman and
Morrison (1950), and the determinant from the matrix determinant lemma, without a factorisation. All operations are
elementwise over a population of particles, which is the last axis of every array.
"""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.scipy.special import gammaln, multigammaln

from workbench.mixture.arithmetic import log, lower_inverse, lower_root, squares
from workbench.mixture.covariance import Covariance, Statistics
from workbench.mixture.covariance.base import product
from workbench.mixture.mixture import Mixture
from workbench.mixture.prior.base import Hyperparameters

LOG_PI = math.log(math.pi)


class Updated(NamedTuple):
    """mu_k | Sigma_k ~ N(location_k, Sigma_k / shrinkage_k), Sigma_b ~ inverse-Wishart(degrees_b, scatter_b)."""

    counts: Array  # [K]
    locations: Array  # [K, D]
    shrinkages: Array  # [K]
    degrees: Array  # broadcastable against the family's shape
    scatter: Array  # the family's shape


def update(statistics: Statistics, origins: Array, hyperparameters: Hyperparameters, family: Covariance) -> Updated:
    """The posterior of means and covariances given points with these statistics.

    Args:
        statistics: sums over the points of each component, about the origins.
        origins: [K, D].
        hyperparameters: those of the conjugate prior.
        family: covariance family.
    """
    counts, first, second = statistics
    h, d = hyperparameters, origins.shape[-1]
    shrinkages = h["mean_shrinkage"] + counts
    pull = h["mean_location"] - origins
    step = (first + h["mean_shrinkage"] * pull) / shrinkages[:, None]
    # Scatter about the new location of the points and of the prior's kappa pseudo-points at m.
    scatter = h["scatter"] + second + h["mean_shrinkage"] * family.cross_products(pull, pull)
    scatter = scatter - family.cross_products(shrinkages[:, None] * step, step)
    degrees = h["degrees"] + family.degrees(counts, d)
    return Updated(counts, origins + step, shrinkages, degrees, scatter)


def not_updated(hyperparameters: Hyperparameters, components: int, family: Covariance) -> Updated:
    """The prior of K components, as `update` returns it for no points."""
    h = hyperparameters
    k, d, dtype = components, len(h["mean_location"]), h["mean_location"].dtype
    zeros = Statistics(*(jnp.zeros(shape, dtype) for shape in ((k,), (k, d), family.shape(k, d))))
    return update(zeros, jnp.broadcast_to(h["mean_location"], (k, d)), h, family)


def log_marginal_likelihood(updated: Updated, hyperparameters: Hyperparameters, family: Covariance) -> Array:
    """Log density of the points given their allocation, with means and covariances integrated out. []

    It is the log ratio of the normalisers of posterior and prior (Murphy 2007, sec. 9), for blocks of side b.
    """
    h, d = hyperparameters, updated.locations.shape[-1]
    b = family.block_dimension(d)
    after = family.block_log_determinants(family.factor(updated.scatter))
    before = family.block_log_determinants(family.factor(jnp.broadcast_to(h["scatter"], updated.scatter.shape)))
    half = 0.5 * jnp.repeat(updated.degrees.ravel(), after.size // updated.degrees.size)
    prior_half = 0.5 * h["degrees"]
    blocks = multigammaln(half, b) - multigammaln(prior_half, b) + prior_half * before - half * after
    shrinking = 0.5 * d * jnp.sum(jnp.log(h["mean_shrinkage"]) - jnp.log(updated.shrinkages))
    return jnp.sum(blocks) + shrinking - 0.5 * d * LOG_PI * jnp.sum(updated.counts)


def log_predictive(updated: Updated, x: Array, family: Covariance) -> Array:
    """Log predictive density at points x [G, D] of each component: Student's t (Murphy 2007, sec. 9). [G, K]

    A point adds delta degrees of freedom to each block of its component: one to a matrix, one to each of D variances,
    D to a spherical variance.
    """
    k, d = updated.locations.shape
    b, blocks = family.block_dimension(d), family.blocks(d)  # of one component
    delta = d // (b * blocks)
    scales = family.factor(updated.scatter)
    white = family.whiten(family.whitener(scales), x.T - updated.locations[..., None])  # [K, D, G]
    distances = jnp.sum(white.reshape(k, blocks, d // blocks, -1) ** 2, 2)  # [K, blocks, G]
    shrunk = (updated.shrinkages / (updated.shrinkages + 1.0))[:, None]  # [K, 1]
    half = 0.5 * jnp.broadcast_to(updated.degrees.reshape(-1, 1), (k, blocks))
    constants = jnp.sum(multigammaln(half + 0.5 * delta, b) - multigammaln(half, b), -1)
    constants += 0.5 * d * (jnp.log(shrunk[:, 0]) - LOG_PI) - family.half_log_determinants(scales, k, d)
    tails = (half + 0.5 * delta)[..., None] * jnp.log1p(shrunk[..., None] * distances)
    return (constants[:, None] - jnp.sum(tails, 1)).T


def log_allocation_prior(counts: Array, concentration: Array) -> Array:
    """Log probability of one allocation with these counts [K], with the weights integrated out. []

    `Gamma(K a) / Gamma(N + K a) prod_k Gamma(n_k + a) / Gamma(a)`.
    """
    total = len(counts) * concentration
    terms = gammaln(counts + concentration) - gammaln(concentration)
    return gammaln(total) - gammaln(total + jnp.sum(counts)) + jnp.sum(terms)


def draw_mixture(key: Array, updated: Updated, concentration: Array, family: Covariance) -> Mixture:
    """pi ~ Dirichlet(a + n), Sigma_b ~ inverse-Wishart(degrees_b, scatter_b), mu_k ~ N(location_k, Sigma_k / kappa_k).

    All are independent, except that each mean depends on its covariance (Gelman et al. 2013, sec. 3.6).

    Args:
        key: random key.
        updated: the prior updated by the points of each component; without points the draw is from the prior.
        concentration: a of the symmetric Dirichlet. []
        family: covariance family.
    """
    key_gamma, key_scales, key_means = jax.random.split(key, 3)
    k = len(updated.counts)
    half = _half_degrees(updated, family)  # [blocks, b]
    # All gamma variates in one call, because compiling their sampler takes most of the compilation. Their logarithms,
    # because a variate of small shape can underflow.
    shapes = jnp.concatenate([concentration + updated.counts, half.ravel()])
    log_gamma = jax.random.loggamma(key_gamma, shapes)
    # Weights are kept above zero so that their logarithms stay finite.
    weights = jnp.maximum(jax.nn.softmax(log_gamma[:k]), float(np.finfo(shapes.dtype).tiny))
    scales = _scales(key_scales, log_gamma[k:].reshape(half.shape), updated.scatter, family)
    noise = jax.random.normal(key_means, updated.locations.shape, scales.dtype)
    trils = family.scale_trils(scales, *updated.locations.shape)  # [K, D, D]
    spread = jnp.einsum("kij,kj->ki", trils, noise, precision="highest")
    means = updated.locations + spread / jnp.sqrt(updated.shrinkages)[:, None]
    return Mixture(weights, means, scales, family)


def _half_degrees(updated: Updated, family: Covariance) -> Array:
    """Half the degrees of freedom, `nu - b + i`, of the chi-squared variates of each block. [blocks, b]"""
    b = family.block_dimension(updated.locations.shape[-1])
    nu = updated.degrees.ravel()
    repeats = updated.scatter.size // (b**2 * nu.size)
    return 0.5 * (jnp.repeat(nu, repeats)[:, None] - b + jnp.arange(1, b + 1))


def _scales(key: Array, log_gamma: Array, scatter: Array, family: Covariance) -> Array:
    """Draw the scales, in the family's shape, of inverse-Wishart covariances, without forming the covariances.

    This is Bartlett's (1933) decomposition with the order of the coordinates reversed. Let M be lower triangular, with
    standard normals below the diagonal and roots of chi-squared variates of `nu - b + i` degrees of freedom on it
    (i = 1, ..., b). Then `M^T M` is Wishart(nu, I). With `scatter = L L^T`, `L M^-1` is lower triangular and the
    Cholesky factor of an inverse-Wishart(nu, scatter) covariance.

    Args:
        key: random key.
        log_gamma: logarithms of half the chi-squared variates. [blocks, b]
        scatter: in the family's shape.
        family: covariance family.
    """
    number, b = log_gamma.shape
    diagonal = jnp.exp(0.5 * (math.log(2.0) + log_gamma))
    below = jnp.tril(jax.random.normal(key, (number, b, b), scatter.dtype), -1)
    bartlett = below + diagonal[..., None] * jnp.eye(b, dtype=scatter.dtype)
    roots = family.factor(scatter)
    return product(roots.reshape(-1, b, b), family.whitener(bartlett)).reshape(roots.shape)


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
