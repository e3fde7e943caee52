"""A draw of the mixture from the conjugate prior, updated by points or not: what a Gibbs sampler does with it."""

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
    key_weights, key_scales, key_means = jax.random.split(key, 3)
    weights = jax.random.dirichlet(key_weights, concentration + updated.counts)
    # With a small concentration a weight can fall below the smallest number there is; its logarithm stays finite.
    weights = jnp.maximum(weights, float(np.finfo(weights.dtype).tiny))
    scales = draw_scales(key_scales, updated.degrees, updated.scatter, family)
    noise = jax.random.normal(key_means, updated.locations.shape, scales.dtype)
    trils = family.scale_trils(scales, *updated.locations.shape)  # [K, D, D]
    spread = jnp.einsum("kij,kj->ki", trils, noise, precision="highest")
    means = updated.locations + spread / jnp.sqrt(updated.shrinkages)[:, None]
    return Mixture(weights, means, scales, family)


def draw_scales(key: Array, degrees: Array, scatter: Array, family: Covariance) -> Array:
    """Scales, in the family's shape, of inverse-Wishart covariances; nothing is squared and factored again.

    Bartlett's (1933) decomposition with the order of the coordinates reversed: of a lower triangular M of standard
    normals, with chi-squared numbers of `nu - b + i` degrees on its diagonal squared (i = 1, ..., b), `M^T M` is
    Wishart(nu, I). With `scatter = L L^T`, `L M^-1` is then lower triangular and the root of the covariance.

    Args:
        key: random key.
        degrees: nu of each block, broadcast against the family's shape.
        scatter: in the family's shape.
        family: of the covariances.
    """
    roots = family.factor(scatter)
    key_diagonal, key_below = jax.random.split(key)
    b = family.block_dimension(scatter.shape[-1])
    number = roots.size // b**2
    nu = jnp.repeat(degrees.ravel(), number // degrees.size)[:, None]  # [blocks, 1]
    half = 0.5 * (nu - b + jnp.arange(1, b + 1))  # [blocks, b]
    # Logarithms: of few degrees, a chi-squared number can be below the smallest there is.
    diagonal = jnp.exp(0.5 * (jnp.log(2.0) + jax.random.loggamma(key_diagonal, half)))
    below = jnp.tril(jax.random.normal(key_below, (number, b, b), roots.dtype), -1)
    bartlett = below + diagonal[..., None] * jnp.eye(b, dtype=roots.dtype)
    return product(roots.reshape(-1, b, b), family.whitener(bartlett)).reshape(roots.shape)
