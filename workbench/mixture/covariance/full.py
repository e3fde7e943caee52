"""The full family: each component has its own covariance matrix."""

import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
from jax import Array

from workbench.mixture.arithmetic import pack_symmetric, pairs, unpack_symmetric
from workbench.mixture.covariance.base import LOG_2PI, Matrices, Natural, Statistics, product
from workbench.mixture.covariance.stored import MatrixCovariance, triangular_blocks


class Full(MatrixCovariance):
    """Sigma_k, one matrix for each component."""

    name = "full"
    is_unrestricted = True

    def shape(self, components: int, dimensions: int) -> tuple[int, ...]:
        """[K, D, D]."""
        return (components, dimensions, dimensions)

    def num_parameters(self, components: int, dimensions: int) -> int:
        """K D (D + 1) / 2."""
        return components * dimensions * (dimensions + 1) // 2

    def fewest_points(self, dimensions: int) -> int:
        """D + 1: the scatter matrix of n points about their mean has rank at most n - 1."""
        return dimensions + 1

    def nearest(self, covariances: Matrices) -> Matrices:
        """The covariances themselves. [K, D, D]"""
        return covariances

    def broadcast(self, covariance: Array, components: int) -> Array:
        """The same Cholesky factor for every component. [K, D, D]"""
        return jnp.broadcast_to(jnp.linalg.cholesky(covariance), (components, *jnp.shape(covariance)))

    def dense(self, entries: Array, components: int, dimensions: int) -> Array:
        """As they are. [K, D, D]"""
        return entries

    def natural(self, log_weights: Array, shifts: Array, scales: Array) -> Natural:
        """Precisions `P_k = L_k^-T L_k^-1`; linear terms `P_k shift_k`."""
        inverse = self.whitener(scales)
        white = jnp.einsum("kij,kj->ki", inverse, shifts)
        constant = log_weights - 0.5 * (shifts.shape[-1] * LOG_2PI + jnp.sum(white**2, -1))
        constant -= self.half_log_determinants(scales, *shifts.shape)
        linear = jnp.einsum("kij,ki->kj", inverse, white)
        return Natural(constant, linear, -0.5 * product(jnp.swapaxes(inverse, -1, -2), inverse))

    def cross_products(self, a: Array, b: Array) -> Array:
        """`a_k b_k^T`. [K, D, D]"""
        return a[:, :, None] * b[:, None, :]

    def num_features(self, dimensions: int) -> int:
        """1 + D + D (D + 1) / 2."""
        return 1 + dimensions + dimensions * (dimensions + 1) // 2

    def features(self, z: Array) -> tuple[Array, ...]:
        """z_i, and z_i z_j for i <= j."""
        i, j = pairs(len(z))
        return z, z[i] * z[j]

    def pack(self, natural: Natural) -> tuple[Array, ...]:
        """Coefficients of `features`."""
        return natural.linear, pack_symmetric(natural.quadratic)

    def unpack(self, counts: Array, sums: tuple[Array, ...], total: Array) -> Statistics:
        """The sums of the features are the moments; `total` is not needed."""
        first, products = sums
        return Statistics(counts, first, unpack_symmetric(products, total.shape[-1]))

    def whiten(self, whitener: Array, difference: Array) -> Array:
        """`L_k^-1 d_nk`. [K, D, B]"""
        return product(whitener, difference)

    def weighted_square(self, responsibilities: Array, difference: Array) -> Array:
        """`sum_n r_nk d_nk d_nk^T`. [K, D, D]"""
        return product(responsibilities[:, None] * difference, jnp.swapaxes(difference, -1, -2))

    def squared_distances(self, whitener: Array, means: Array, z: Array) -> Array:
        """`|L_k^-1 z_n - L_k^-1 mu_k|^2` by one product for all components, in blocks of the lower triangle. [K, B]"""
        offsets = jnp.einsum("kij,kj->ki", whitener, means, precision="highest")
        total = jnp.zeros((len(means), z.shape[-1]), z.dtype)
        for block in triangular_blocks(len(z)):
            stacked = whitener[:, block, : block.stop]  # [K, I, J]
            white = product(stacked.reshape(-1, block.stop), z[: block.stop])  # [K I, B]
            white = white.reshape(*stacked.shape[:2], -1) - offsets[:, block, None]
            total += jnp.sum(white**2, 1)
        return total

    def weighted_sums(self, responsibilities: Array, means: Array, z: Array) -> tuple[Array, list[Array]]:
        """Counts [K], and `sum_n r_nk (z_n, 1)_j (z_n - mu_k)_i` for blocks of i and all j from the block on."""
        ones = jnp.ones_like(z[:1])
        extended = jnp.concatenate([z, ones])  # [D + 1, B]
        products = []
        for block in triangular_blocks(len(z)):
            weighted = responsibilities[:, None] * (z[block] - means[:, block, None])  # [K, I, B]
            products.append(product(extended[block.start :], weighted.reshape(-1, z.shape[-1]).T))  # [J, K I]
        return product(responsibilities, ones[0]), products

    def statistics_of(self, sums: tuple[Array, list[Array]], means: Array) -> Statistics:
        """`sum r d d^T` from `sum r z d^T`, with `z = d + mu`; the lower triangle mirrors the upper."""
        counts, products = sums
        k, d = means.shape
        upper = jnp.zeros((k, d, d), means.dtype)
        first = jnp.zeros_like(means)
        for block, sums_of_block in zip(triangular_blocks(d), products, strict=True):
            moments = jnp.moveaxis(sums_of_block.reshape(len(sums_of_block), k, -1), 0, -1)  # [K, I, J]
            first = first.at[:, block].set(moments[..., -1])
            about = moments[..., :-1] - moments[..., -1:] * means[:, None, block.start :]
            upper = upper.at[:, block, block.start :].set(about)
        return Statistics(counts, first, jnp.triu(upper) + jnp.swapaxes(jnp.triu(upper, 1), -1, -2))

    def prefers_expanded(self, components: int, dimensions: int) -> bool:
        """True for many components, because all of them share the cost of the features.

        As measured on one core, the two forms are equally fast at 4 or 5 components for D = 2 and 4, at 4 for D = 8 and
        16, at 9 for D = 32 and at 16 for D = 64.
        """
        return 4 * components > max(16, dimensions)

    def half_log_determinants(self, scales: Array, components: int, dimensions: int) -> Array:
        """`sum_i log L_k,ii`. [K]"""
        return jnp.sum(jnp.log(jnp.diagonal(scales, axis1=-2, axis2=-1)), -1)

    def block_log_determinants(self, scales: Array) -> Array:
        """`log |Sigma_k|`. [K]"""
        return 2.0 * jnp.sum(jnp.log(jnp.diagonal(scales, axis1=-2, axis2=-1)), -1)

    def conjugate(self, degrees: Array, scatter: Array, components: int) -> dist.Distribution:
        """K independent inverse-Wishart covariances."""
        scale_tril = jnp.linalg.cholesky(scatter)
        return dist.InverseWishart(degrees, scale_tril=scale_tril).expand([components]).to_event(1)


def lower_triangular(matrices: np.ndarray | Array) -> Array:
    """The lower Cholesky factor L with `L L^T = M M^T`, by a QR factorisation of `M^T`. [..., D, D]"""
    upper = jnp.linalg.qr(jnp.swapaxes(jnp.asarray(matrices), -1, -2), mode="r")
    signs = jnp.sign(jnp.diagonal(upper, axis1=-2, axis2=-1))
    return jnp.swapaxes(upper * signs[..., :, None], -1, -2)
