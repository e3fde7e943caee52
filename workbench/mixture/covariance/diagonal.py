"""The diagonal family: each component has its own variance along each coordinate."""

import jax.numpy as jnp
import numpy as np
from jax import Array

from workbench.mixture.covariance.base import LOG_2PI, Matrices, Natural, Statistics
from workbench.mixture.covariance.stored import DeviationCovariance


class Diagonal(DeviationCovariance):
    """diag(sigma_k1^2, ..., sigma_kD^2) for each component."""

    name = "diagonal"

    def shape(self, components: int, dimensions: int) -> tuple[int, ...]:
        """[K, D]."""
        return (components, dimensions)

    def num_parameters(self, components: int, dimensions: int) -> int:
        """K D."""
        return components * dimensions

    def fewest_points(self, dimensions: int) -> int:
        """2, whatever D: each coordinate has its own variance, and two different values make it positive."""
        return 2

    def nearest(self, covariances: Matrices) -> Matrices:
        """The diagonals of the covariances. [K, D]"""
        return covariances.diagonal(axis1=1, axis2=2)

    def broadcast(self, covariance: Array, components: int) -> Array:
        """The marginal standard deviations for every component. [K, D]"""
        return jnp.broadcast_to(jnp.sqrt(jnp.diagonal(covariance)), (components, len(covariance)))

    def dense(self, entries: Array, components: int, dimensions: int) -> Array:
        """Diagonal matrices. [K, D, D]"""
        return entries[:, :, None] * jnp.eye(dimensions, dtype=entries.dtype)

    def admits(self, matrix: np.ndarray) -> bool:
        """Diagonal matrices without a zero on the diagonal."""
        return bool(np.all(matrix == np.diag(np.diag(matrix))) and np.all(np.diag(matrix) != 0))

    def transform(self, scales: Array, matrix: Array) -> Array:
        """`|a_d| sigma_kd`."""
        return scales * jnp.abs(jnp.diagonal(matrix))

    def transform_second(self, second: Array, matrix: Array) -> Array:
        """`a_d^2 S_kd`."""
        return second * jnp.diagonal(matrix) ** 2

    def natural(self, log_weights: Array, shifts: Array, scales: Array) -> Natural:
        """Precisions `1 / sigma_kd^2`."""
        precision = 1.0 / scales**2
        constant = log_weights - 0.5 * (shifts.shape[-1] * LOG_2PI + jnp.sum(precision * shifts**2, -1))
        constant -= jnp.sum(jnp.log(scales), -1)
        return Natural(constant, precision * shifts, -0.5 * precision)

    def cross_products(self, a: Array, b: Array) -> Array:
        """`a_kd b_kd`. [K, D]"""
        return a * b

    def pack(self, natural: Natural) -> tuple[Array, ...]:
        """Coefficients of `features`."""
        return natural.linear, natural.quadratic

    def unpack(self, counts: Array, sums: tuple[Array, ...], total: Array) -> Statistics:
        """The sums of the features are the moments."""
        return Statistics(counts, *sums)

    def whiten(self, whitener: Array, difference: Array) -> Array:
        """`d_nkd / sigma_kd`. [K, D, B]"""
        return whitener[..., None] * difference

    def weighted_square(self, responsibilities: Array, difference: Array) -> Array:
        """`sum_n r_nk d_nkd^2`. [K, D]"""
        return jnp.einsum("kb,kdb->kd", responsibilities, difference**2, precision="highest")

    def half_log_determinants(self, scales: Array, components: int, dimensions: int) -> Array:
        """`sum_d log sigma_kd`. [K]"""
        return jnp.sum(jnp.log(scales), -1)
