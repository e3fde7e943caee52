"""What diagonal and spherical covariances, both stored as standard deviations, have in common."""

import math

import jax.numpy as jnp
import numpyro.distributions as dist
from jax import Array

from workbench.mixture.covariance.base import Covariance

LOG_2PI = math.log(2.0 * math.pi)


class DeviationCovariance(Covariance):
    """Covariances stored as standard deviations."""

    has_correlations = False

    def factor(self, covariance: Array) -> Array:
        """Square roots of variances; NaN where one is not positive."""
        return jnp.where(covariance > 0, jnp.sqrt(jnp.where(covariance > 0, covariance, 1.0)), jnp.nan)

    def square(self, scales: Array) -> Array:
        """Variances."""
        return scales**2

    def permute(self, scales: Array, order: Array) -> Array:
        """The scales reordered along the first axis."""
        return scales[order]

    def whitener(self, scales: Array) -> Array:
        """Reciprocal standard deviations."""
        return 1.0 / scales

    def block_dimension(self, dimensions: int) -> int:
        """1: each variance is a free parameter."""
        return 1

    def block_log_determinants(self, scales: Array) -> Array:
        """Log variances. [number of variances]"""
        return 2.0 * jnp.log(scales).ravel()

    def block_traces(self, scales: Array, scatter: Array) -> Array:
        """`sum_b scatter_b / variance_b`."""
        return jnp.sum(scatter / scales**2)

    def deviations(self, scales: Array) -> Array:
        """The scales themselves."""
        return scales

    def conjugate(self, degrees: Array, scatter: Array, components: int) -> dist.Distribution:
        """Independent inverse-gamma variances: the one-dimensional inverse-Wishart(degrees, scatter)."""
        shape = (components, *jnp.shape(scatter))
        prior = dist.InverseGamma(0.5 * degrees, 0.5 * scatter)
        return prior.expand(shape).to_event(len(shape))
