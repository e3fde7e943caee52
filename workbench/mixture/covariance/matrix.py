"""What full and tied covariances, both stored as Cholesky factors, have in common."""

import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.scipy.linalg import solve_triangular

from workbench.data.moments import is_collinear
from workbench.mixture.covariance.base import Covariance, product


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
