"""The posterior under the conjugate prior given the components of the points, in one closed form for all families.

Given an allocation, each component is a single Gaussian with a normal-inverse-Wishart prior, whose posterior, marginal
likelihood and predictive density are known (Murphy 2007, "Conjugate Bayesian analysis of the Gaussian distribution",
sec. 9; Gelman et al. 2013, sec. 3.6). The families differ only in their blocks: D x D matrices, one for each component
or one for all, or single variances.
"""

import math
from typing import NamedTuple

import jax.numpy as jnp
from jax import Array
from jax.scipy.special import gammaln, multigammaln

from workbench.mixture.covariance import Covariance, Statistics
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
