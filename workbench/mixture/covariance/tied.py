"""The tied family: one covariance matrix shared by all components.

The quadratic term of the log-joint is then the same for all components and can be taken out of the sum over components.
Only its total over the data matters, which never changes. A pass needs no features but 1 and z.
"""

import jax.numpy as jnp
import numpyro.distributions as dist
from jax import Array

from workbench.mixture.covariance.base import LOG_2PI, Matrices, Natural, Statistics, product
from workbench.mixture.covariance.stored import MatrixCovariance


class Tied(MatrixCovariance):
    """Sigma, one matrix for all components."""

    name = "tied"
    is_shared = True

    def shape(self, components: int, dimensions: int) -> tuple[int, ...]:
        """[D, D]."""
        return (dimensions, dimensions)

    def num_parameters(self, components: int, dimensions: int) -> int:
        """D (D + 1) / 2."""
        return dimensions * (dimensions + 1) // 2

    def fewest_points(self, dimensions: int) -> int:
        """0: the points of all components determine the covariance, so one component may hold a single point.

        The scatter matrix of N points about K means has rank N - K, so N >= K + D points are needed in total.
        """
        return 0

    def nearest(self, covariances: Matrices) -> Matrices:
        """The mean of the covariances. [D, D]"""
        return covariances.mean(axis=0)

    def broadcast(self, covariance: Array, components: int) -> Array:
        """The Cholesky factor of the covariance. [D, D]"""
        return jnp.linalg.cholesky(covariance)

    def dense(self, entries: Array, components: int, dimensions: int) -> Array:
        """The shared matrix, repeated. [K, D, D]"""
        return jnp.broadcast_to(entries, (components, dimensions, dimensions))

    def natural(self, log_weights: Array, shifts: Array, scales: Array) -> Natural:
        """One precision `P`; linear terms `P shift_k`."""
        inverse = self.whitener(scales)
        white = product(shifts, inverse.T)
        constant = log_weights - 0.5 * (shifts.shape[-1] * LOG_2PI + jnp.sum(white**2, -1))
        constant -= self.half_log_determinants(scales, *shifts.shape)
        return Natural(constant, product(white, inverse), -0.5 * product(inverse.T, inverse))

    def cross_products(self, a: Array, b: Array) -> Array:
        """`sum_k a_k b_k^T`. [D, D]"""
        return product(a.T, b)

    def num_features(self, dimensions: int) -> int:
        """1 + D."""
        return 1 + dimensions

    def features(self, z: Array) -> tuple[Array, ...]:
        """z_i, whose coefficients are the only ones that differ between components."""
        return (z,)

    def pack(self, natural: Natural) -> tuple[Array, ...]:
        """Coefficients of `features`."""
        return (natural.linear,)

    def unpack(self, counts: Array, sums: tuple[Array, ...], total: Array) -> Statistics:
        """The second moment is that of the data, because the responsibilities of each row sum to one."""
        return Statistics(counts, sums[0], total)

    def shared_log_joint(self, natural: Natural, total: Array) -> Array:
        """`-1/2 tr(P sum_n z z^T)`. []"""
        return jnp.sum(natural.quadratic * total)

    def whiten(self, whitener: Array, difference: Array) -> Array:
        """`L^-1 d_nk`. [K, D, B]"""
        return jnp.einsum("ij,kjb->kib", whitener, difference, precision="highest")

    def weighted_square(self, responsibilities: Array, difference: Array) -> Array:
        """`sum_nk r_nk d_nk d_nk^T`. [D, D]"""
        weighted = responsibilities[:, None] * difference
        return jnp.einsum("kib,kjb->ij", weighted, difference, precision="highest")

    def half_log_determinants(self, scales: Array, components: int, dimensions: int) -> Array:
        """`sum_i log L_ii`, the same for all components. [K]"""
        return jnp.broadcast_to(jnp.sum(jnp.log(jnp.diagonal(scales))), (components,))

    def block_log_determinants(self, scales: Array) -> Array:
        """`log |Sigma|`. [1]"""
        return 2.0 * jnp.sum(jnp.log(jnp.diagonal(scales)))[None]

    def conjugate(self, degrees: Array, scatter: Array, components: int) -> dist.Distribution:
        """The inverse-Wishart distribution of the shared covariance."""
        return dist.InverseWishart(degrees, scale_tril=jnp.linalg.cholesky(scatter))
