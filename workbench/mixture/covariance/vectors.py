"""What families that store standard deviations (diagonal, spherical) have in common."""

import jax.numpy as jnp
import numpyro.distributions as dist
from jax import Array

from workbench.mixture.covariance.base import Covariance, Natural, Statistics


class DeviationCovariance(Covariance):
    """Covariances stored as standard deviations."""

    has_correlations = False

    def factor(self, covariance: Array) -> Array:
        """Square roots of variances; NaN where one is not positive."""
        return jnp.where(covariance > 0, jnp.sqrt(jnp.where(covariance > 0, covariance, 1.0)), jnp.nan)

    def square(self, scales: Array) -> Array:
        """Variances."""
        return scales**2

    def whitener(self, scales: Array) -> Array:
        """Reciprocal standard deviations."""
        return 1.0 / scales

    def num_features(self, dimensions: int) -> int:
        """1 + 2 D."""
        return 1 + 2 * dimensions

    def features(self, z: Array) -> tuple[Array, ...]:
        """z_i and z_i^2."""
        return z, z**2

    def pack(self, natural: Natural) -> tuple[Array, ...]:
        """Coefficients of `features`."""
        dense = self.dense(natural.quadratic, *natural.linear.shape)
        return natural.linear, jnp.diagonal(dense, axis1=-2, axis2=-1)

    def unpack(self, counts: Array, sums: tuple[Array, ...], total: Array) -> Statistics:
        """The family's part of diagonal matrices of the sums of squares."""
        first, squares = sums
        return Statistics(counts, first, self.moments(squares[..., None] * jnp.eye(len(total), dtype=squares.dtype)))

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
        shape = jnp.shape(scatter) if self.is_shared else (components, *jnp.shape(scatter))
        prior = dist.InverseGamma(0.5 * degrees, 0.5 * scatter)
        return prior.expand(shape).to_event(len(shape))
