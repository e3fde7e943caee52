"""The spherical family: each component has one variance, the same in all directions."""

import jax.numpy as jnp
import numpy as np
from jax import Array

from workbench.mixture.covariance.base import LOG_2PI, Matrices, Natural, Statistics
from workbench.mixture.covariance.stored import DeviationCovariance


class Spherical(DeviationCovariance):
    """sigma_k^2 I for each component."""

    name = "spherical"

    def shape(self, components: int, dimensions: int) -> tuple[int, ...]:
        """[K]."""
        return (components,)

    def num_parameters(self, components: int, dimensions: int) -> int:
        """K."""
        return components

    def fewest_points(self, dimensions: int) -> int:
        """2: the variance is the mean squared distance from the mean, which two different points make positive."""
        return 2

    def nearest(self, covariances: Matrices) -> Matrices:
        """The mean variances of the covariances. [K]"""
        return covariances.diagonal(axis1=1, axis2=2).mean(axis=1)

    def broadcast(self, covariance: Array, components: int) -> Array:
        """The root of the mean variance for every component. [K]"""
        return jnp.full(components, jnp.sqrt(jnp.mean(jnp.diagonal(covariance))))

    def dense(self, entries: Array, components: int, dimensions: int) -> Array:
        """Scaled identities. [K, D, D]"""
        return entries[:, None, None] * jnp.eye(dimensions, dtype=entries.dtype)

    def admits(self, matrix: np.ndarray) -> bool:
        """Multiples of orthogonal matrices, up to rounding."""
        gram = matrix.T @ matrix
        size = gram[0, 0]
        return bool(size > 0 and np.allclose(gram, size * np.eye(len(matrix)), rtol=0, atol=1e-12 * size))

    def transform(self, scales: Array, matrix: Array) -> Array:
        """`|a| sigma_k`, where every column of the matrix has length |a|."""
        return scales * jnp.sqrt(jnp.sum(matrix[:, 0] ** 2))

    def transform_second(self, second: Array, matrix: Array) -> Array:
        """`a^2 S_k`."""
        return second * jnp.sum(matrix[:, 0] ** 2)

    def natural(self, log_weights: Array, shifts: Array, scales: Array) -> Natural:
        """Precisions `1 / sigma_k^2`."""
        dimensions = shifts.shape[-1]
        precision = 1.0 / scales**2
        constant = log_weights - 0.5 * (dimensions * LOG_2PI + precision * jnp.sum(shifts**2, -1))
        constant -= dimensions * jnp.log(scales)
        return Natural(constant, precision[:, None] * shifts, -0.5 * precision)

    def cross_products(self, a: Array, b: Array) -> Array:
        """`<a_k, b_k>`. [K]"""
        return jnp.sum(a * b, -1)

    def num_features(self, dimensions: int) -> int:
        """2 + D."""
        return 2 + dimensions

    def features(self, z: Array) -> tuple[Array, ...]:
        """z_i and |z|^2."""
        return z, jnp.sum(z**2, 0, keepdims=True)

    def pack(self, natural: Natural) -> tuple[Array, ...]:
        """Coefficients of `features`."""
        return natural.linear, natural.quadratic[:, None]

    def unpack(self, counts: Array, sums: tuple[Array, ...], total: Array) -> Statistics:
        """The sums of the features are the moments."""
        return Statistics(counts, sums[0], sums[1][:, 0])

    def whiten(self, whitener: Array, difference: Array) -> Array:
        """`d_nk / sigma_k`. [K, D, B]"""
        return whitener[..., None, None] * difference

    def weighted_square(self, responsibilities: Array, difference: Array) -> Array:
        """`sum_n r_nk |d_nk|^2`. [K]"""
        return jnp.einsum("kb,kdb->k", responsibilities, difference**2, precision="highest")

    def half_log_determinants(self, scales: Array, components: int, dimensions: int) -> Array:
        """`D log sigma_k`. [K]"""
        return dimensions * jnp.log(scales)

    def scatter_of(self, covariance: np.ndarray) -> np.ndarray:
        """The mean variance. []"""
        return np.asarray(np.mean(np.diag(covariance)))
