"""The two ways in which families store covariances: standard deviations (diagonal, spherical), and Cholesky factors."""

import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from jax import Array
from jax.scipy.linalg import solve_triangular

from workbench.data.moments import is_collinear
from workbench.mixture.covariance.base import Covariance, Natural, Statistics, product


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


class MatrixCovariance(Covariance):
    """Covariances stored as lower Cholesky factors [..., D, D]."""

    has_correlations = True

    def factor(self, covariance: Array) -> Array:
        """Lower Cholesky factors; NaN where a covariance is not positive definite. [..., D, D]"""
        return jnp.linalg.cholesky(covariance)

    def square(self, scales: Array) -> Array:
        """Covariance `L L^T`. [..., D, D]"""
        return product(scales, jnp.swapaxes(scales, -1, -2))

    def admits(self, matrix: np.ndarray) -> bool:
        """Any invertible matrix."""
        return bool(np.linalg.matrix_rank(matrix) == len(matrix))

    def transform(self, scales: Array, matrix: Array) -> Array:
        """`A L`, lower triangular if A is. Entries of L above the diagonal have no effect on values or derivatives."""
        return product(matrix, jnp.tril(scales))

    def transform_second(self, second: Array, matrix: Array) -> Array:
        """`A S A^T`."""
        return product(product(matrix, second), matrix.T)

    def units(self, covariance: np.ndarray) -> np.ndarray:
        """Cholesky factor of the data's covariance; for collinear data, the standard deviations on the diagonal."""
        deviations = np.sqrt(np.diag(covariance))
        if is_collinear(covariance):
            return np.diag(deviations)
        return deviations[:, None] * np.linalg.cholesky(covariance / np.outer(deviations, deviations))

    def whitener(self, scales: Array) -> Array:
        """Inverse Cholesky factors: one small triangular solve per component, none per row. [..., D, D]"""
        identity = jnp.broadcast_to(jnp.eye(scales.shape[-1], dtype=scales.dtype), scales.shape)
        return solve_triangular(scales, identity, lower=True)

    def block_dimension(self, dimensions: int) -> int:
        """D."""
        return dimensions

    def block_traces(self, scales: Array, scatter: Array) -> Array:
        """`sum_b tr(scatter Sigma_b^-1)`."""
        inverse = self.whitener(scales)
        return jnp.sum(product(inverse, scatter) * inverse)

    def deviations(self, scales: Array) -> Array:
        """Row norms of the Cholesky factor. [..., D]"""
        return jnp.sqrt(jnp.sum(scales**2, axis=-1))


def triangular_blocks(dimensions: int) -> list[slice]:
    """Blocks of columns of a triangular matrix, with which products skip most of the zeros.

    Blocks have at least 16 columns, the fewest whose product uses a core's vector units fully. There are at most four
    of them, because a finer division would save less than an eighth of the work.
    """
    size = max(16, -(-dimensions // 4))
    return [slice(first, min(first + size, dimensions)) for first in range(0, dimensions, size)]
