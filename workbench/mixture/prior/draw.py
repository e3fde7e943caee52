"""Draws of the mixture from the conjugate prior or posterior, as a Gibbs sampler needs them."""

import math

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from workbench.mixture.covariance import Covariance
from workbench.mixture.covariance.base import product
from workbench.mixture.mixture import Mixture
from workbench.mixture.prior.update import Updated


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
