"""A draw of the mixture from the conjugate prior, updated by points or not: what a Gibbs sampler does with it."""

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

    All independent, but for the means given their covariances (Gelman et al. 2013, sec. 3.6).

    Args:
        key: random key.
        updated: by the points of each component; by none, the draw is one from the prior.
        concentration: a of the symmetric Dirichlet. []
        family: of the covariances.
    """
    key_gamma, key_scales, key_means = jax.random.split(key, 3)
    k = len(updated.counts)
    half = _half_degrees(updated, family)  # [blocks, b]
    # All gamma numbers in one call: their sampler is most of what there is to compile. Logarithms, because a number of
    # small shape can be below the smallest that there is.
    shapes = jnp.concatenate([concentration + updated.counts, half.ravel()])
    log_gamma = jax.random.loggamma(key_gamma, shapes)
    # A weight never vanishes, so that its logarithm stays finite.
    weights = jnp.maximum(jax.nn.softmax(log_gamma[:k]), float(np.finfo(shapes.dtype).tiny))
    scales = _scales(key_scales, log_gamma[k:].reshape(half.shape), updated.scatter, family)
    noise = jax.random.normal(key_means, updated.locations.shape, scales.dtype)
    trils = family.scale_trils(scales, *updated.locations.shape)  # [K, D, D]
    spread = jnp.einsum("kij,kj->ki", trils, noise, precision="highest")
    means = updated.locations + spread / jnp.sqrt(updated.shrinkages)[:, None]
    return Mixture(weights, means, scales, family)


def _half_degrees(updated: Updated, family: Covariance) -> Array:
    """Half the degrees of the chi-squared numbers of each block's decomposition, `nu - b + i`. [blocks, b]"""
    b = family.block_dimension(updated.locations.shape[-1])
    nu = updated.degrees.ravel()
    repeats = updated.scatter.size // (b**2 * nu.size)
    return 0.5 * (jnp.repeat(nu, repeats)[:, None] - b + jnp.arange(1, b + 1))


def _scales(key: Array, log_gamma: Array, scatter: Array, family: Covariance) -> Array:
    """Scales, in the family's shape, of inverse-Wishart covariances; nothing is squared and factored again.

    Bartlett's (1933) decomposition with the order of the coordinates reversed: of a lower triangular M of standard
    normals, with roots of chi-squared numbers of `nu - b + i` degrees on the diagonal (i = 1, ..., b), `M^T M` is
    Wishart(nu, I). With `scatter = L L^T`, `L M^-1` is then lower triangular, and the root of the covariance.

    Args:
        key: random key.
        log_gamma: logarithms of half the chi-squared numbers. [blocks, b]
        scatter: in the family's shape.
        family: of the covariances.
    """
    number, b = log_gamma.shape
    diagonal = jnp.exp(0.5 * (math.log(2.0) + log_gamma))
    below = jnp.tril(jax.random.normal(key, (number, b, b), scatter.dtype), -1)
    bartlett = below + diagonal[..., None] * jnp.eye(b, dtype=scatter.dtype)
    roots = family.factor(scatter)
    return product(roots.reshape(-1, b, b), family.whitener(bartlett)).reshape(roots.shape)
