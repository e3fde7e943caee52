"""The posterior under the conjugate prior given the components of the points: in one closed form for all families.

Draws of a mixture from it, as a Gibbs sampler needs them, stand here too.

Given an allocation, each component is a single Gaussian with a normal-inverse-Wishart prior, whose posterior, marginal
likelihood and predictive density are known (Murphy 2007, "Conjugate Bayesian analysis of the Gaussian distribution",
sec. 9; Gelman et al. 2013, sec. 3.6). The families differ only in their blocks: D x D matrices, one for each component
or one for all, or single variances.
"""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.scipy.special import gammaln, multigammaln

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
