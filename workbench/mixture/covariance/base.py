"""The interface of a covariance family: everything in which families differ.

A family derives from `MatrixCovariance` or `DeviationCovariance` and states its shape, its number of parameters, the
fewest points that a component needs, the dense matrices of its entries (`dense`) and the member nearest to dense
matrices (`nearest`). Everything else has a default, which computes with dense matrices [K, D, D]. The shipped families
override the defaults where their shape allows faster code.
"""

import math
from abc import ABC, abstractmethod
from typing import Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from numpyro.distributions import Distribution

from workbench.mixture.arithmetic import pack_symmetric, pairs, unpack_symmetric

LOG_2PI = math.log(2.0 * math.pi)

Matrices = TypeVar("Matrices", np.ndarray, Array)

# Up to this many rows, and this many numbers in the result, a matrix product spends most of its time on repacking the
# other matrix. A matrix-vector product for each row is then up to twice as fast; for larger results it is slower.
FEW_ROWS, FEW_NUMBERS = 4, 40


def product(a: Array, b: Array) -> Array:
    """Matrix product at full precision on every device; by default a GPU rounds float32 inputs to 10 bits."""
    return jnp.matmul(a, b, precision=jax.lax.Precision.HIGHEST)


def weighted_sum(responsibilities: Array, features: Array) -> Array:
    """`sum_n r_nk f_n` for responsibilities [K, B] and features [F, B]. [K, F]"""
    rows, numbers = len(responsibilities), len(responsibilities) * len(features)
    if rows <= FEW_ROWS and numbers <= FEW_NUMBERS:
        return jnp.stack([product(features, r) for r in responsibilities])
    return jnp.einsum("kb,fb->kf", responsibilities, features, precision="highest")


class Natural(NamedTuple):
    """Natural parameters of `log pi_k + log N(x | mu_k, Sigma_k)` in powers of `x - c_k`, for given origins `c`.

    A component's log-joint is `constant_k + <linear_k, x - c_k> + <quadratic_k, square of (x - c_k)>`.
    """

    constant: Array  # [K]
    linear: Array  # [K, D]
    quadratic: Array  # the family's shape: minus half the precision


class Statistics(NamedTuple):
    """Expected sufficient statistics about the origins `c`: the responsibility-weighted powers of `x - c_k`.

    Second moments are stored in the shape of the covariance family, which is all that its M-step needs.
    """

    counts: Array  # [K]       sum_n r_nk
    first: Array  # [K, D]     sum_n r_nk (x_n - c_k)
    second: Array  # the family's shape: sum_n r_nk (x_n - c_k)(x_n - c_k)^T, or the part of it that the family needs


class Covariance(ABC):
    """A covariance family. Instances have no state, and two instances of one family are equal.

    Every family stores the *square root* of its covariances, called `scales`, and works on arrays in its own shape:

    | family | scales | covariance and second moments |
    |---|---|---|
    | full | lower Cholesky factors [K, D, D] | [K, D, D] |
    | tied | lower Cholesky factor [D, D] | [D, D] |
    | diagonal | standard deviations [K, D] | [K, D] |
    | spherical | standard deviations [K] | [K] |

    A *block* is a covariance with free parameters of its own: a D x D matrix for full and tied, a single variance for
    diagonal and spherical.

    The defaults hold for families that are linear in the covariance and in its inverse (Jensen 1988, "Covariance
    hypotheses which are linear in both the covariance and the inverse covariance", Annals of Statistics 16): sums and
    inverses of members are members, and the maximum likelihood covariance is the member nearest to the scatter matrix.
    """

    name: str
    has_correlations: bool  # scales are lower Cholesky factors [..., D, D], and not standard deviations
    is_shared: bool = False  # all components have one covariance, and scales have no component axis
    is_unrestricted: bool = False  # every component has its own covariance, which can be any positive definite matrix

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other)

    def __hash__(self) -> int:
        return hash(type(self))

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"

    # Shapes and conversions

    @abstractmethod
    def shape(self, components: int, dimensions: int) -> tuple[int, ...]:
        """Shape of `scales`."""

    @abstractmethod
    def num_parameters(self, components: int, dimensions: int) -> int:
        """Number of free covariance parameters."""

    @abstractmethod
    def fewest_points(self, dimensions: int) -> int:
        """The fewest points in general position whose maximum likelihood covariance is not singular.

        It is 0 if the covariance is shared. A component that holds fewer points is a singularity of the likelihood: it
        can shrink on them indefinitely. Points are in general position if no D + 1 of them lie on a hyperplane and no
        two share a coordinate. With tied values more points are needed, and this count does not say how many.
        """

    @abstractmethod
    def factor(self, covariance: Array) -> Array:
        """Scales of covariances in the family's shape; NaN where one is not positive definite."""

    @abstractmethod
    def nearest(self, covariances: Matrices) -> Matrices:
        """The member of the family, in its shape, that is nearest to dense covariances [K, D, D].

        It is a linear map, written with methods that NumPy's and JAX's arrays share, because it is called with both.
        """

    @abstractmethod
    def dense(self, entries: Array, components: int, dimensions: int) -> Array:
        """The K dense matrices of entries in the family's shape: Cholesky factors for scales, otherwise covariances.

        It is a linear map that commutes with the square and with the inverse. [K, D, D]
        """

    @abstractmethod
    def square(self, scales: Array) -> Array:
        """Covariance in the family's shape, `scales scales^T`."""

    def moments(self, matrices: Array) -> Array:
        """Second moments in the family's shape from those of each component [K, D, D], summed where shared."""
        components, dimensions = matrices.shape[:2]
        counted = self.degrees(jnp.ones(components, matrices.dtype), dimensions)
        return counted * self.nearest(matrices)

    def broadcast(self, covariance: Array, components: int) -> Array:
        """Scales that give every component the D x D `covariance`, or the member of the family nearest to it."""
        return self.factor(self.nearest(jnp.repeat(covariance[None], components, axis=0)))

    def scale_trils(self, scales: Array, components: int, dimensions: int) -> Array:
        """Dense lower Cholesky factor of every component. [K, D, D]"""
        return self.dense(scales, components, dimensions)

    def permute(self, scales: Array, order: Array) -> Array:
        """Scales with the components reordered by `order` [K]."""
        return scales if self.is_shared else scales[order]

    # Change of units

    def admits(self, matrix: np.ndarray) -> bool:
        """Whether `x -> matrix x` maps every member of the family to a member.

        One random member decides: the members that stay in the family form a linear subspace.
        """
        d = len(matrix)
        root = np.random.default_rng(0).normal(size=(d, d))
        member = np.asarray(self.dense(jnp.asarray(self.nearest((root @ root.T)[None])), 1, d))
        moved = matrix @ member @ matrix.T
        near = np.asarray(self.dense(jnp.asarray(self.nearest(moved)), 1, d))
        invertible = np.linalg.matrix_rank(matrix) == d
        return bool(invertible and np.allclose(near, moved, rtol=0, atol=1e-12 * np.max(np.abs(moved))))

    def transform(self, scales: Array, matrix: Array) -> Array:
        """Scales after `x -> matrix x`, for a lower triangular (full, tied), diagonal or scalar matrix [D, D]."""
        return self.factor(self.transform_second(self.square(scales), matrix))

    def transform_second(self, second: Array, matrix: Array) -> Array:
        """Second moments or covariances after `x -> matrix x`, for the matrices of `transform`.

        They have the family's shape, or that of `scatter_of`.
        """
        d = len(matrix)
        alone = second.ndim < len(self.shape(1, d))
        entries = second[None] if alone else second
        dense = self.dense(entries, 1 if self.is_shared else len(entries), d)
        moved = self.nearest(product(product(matrix, dense), matrix.T))
        return moved[0] if alone else moved

    def units(self, covariance: np.ndarray) -> np.ndarray:
        """The admitted matrix [D, D] that maps standardised data to data with this `covariance` [D, D].

        The default matches the marginal variances, or their mean where the family admits multiples of the identity
        alone.
        """
        variances = np.diag(covariance)
        if self.admits(np.diag(np.arange(1.0, len(variances) + 1))):
            return np.diag(np.sqrt(variances))
        return np.sqrt(np.mean(variances)) * np.eye(len(variances))

    # Algebra of the exponential family

    def natural(self, log_weights: Array, shifts: Array, scales: Array) -> Natural:
        """Natural parameters, given `shifts = means - origins` [K, D]."""
        inverse = self.dense(self.whitener(scales), *shifts.shape)
        white = jnp.einsum("kij,kj->ki", inverse, shifts, precision="highest")
        constant = log_weights - 0.5 * (shifts.shape[-1] * LOG_2PI + jnp.sum(white**2, -1))
        constant -= self.half_log_determinants(scales, *shifts.shape)
        linear = jnp.einsum("kij,ki->kj", inverse, white, precision="highest")
        return Natural(constant, linear, -0.5 * self.nearest(product(jnp.swapaxes(inverse, -1, -2), inverse)))

    def cross_products(self, a: Array, b: Array) -> Array:
        """The part of `a_k b_k^T` that the family needs, for `a` and `b` [K, D]; summed over k for tied."""
        return self.moments(a[:, :, None] * b[:, None, :])

    def blocks(self, dimensions: int) -> int:
        """Number of blocks of one component's covariance."""
        return math.prod(self.shape(1, dimensions)) // self.block_dimension(dimensions) ** 2

    def degrees(self, counts: Array, dimensions: int) -> Array:
        """Number of observations that determine each block, broadcastable against the family's shape."""
        numbers = dimensions // (self.block_dimension(dimensions) * self.blocks(dimensions))  # of a point, in a block
        each = counts if numbers == 1 else counts * numbers
        return jnp.sum(each) if self.is_shared else each.reshape(-1, *(1,) * (len(self.shape(1, dimensions)) - 1))

    # The one pass

    def num_features(self, dimensions: int) -> int:
        """F, including the constant feature 1."""
        return 1 + dimensions + dimensions * (dimensions + 1) // 2

    def features(self, z: Array) -> tuple[Array, ...]:
        """Features of each row whose coefficients differ between components, without the 1, in blocks.

        By default z_i, and z_i z_j for i <= j. Each row is a column: [D, B] -> [F_1, B], [F_2, B].
        """
        i, j = pairs(len(z))
        return z, z[i] * z[j]

    def pack(self, natural: Natural) -> tuple[Array, ...]:
        """Coefficients of `features` in each component's log-joint, for origins at zero. [K, F_1], [K, F_2]"""
        return natural.linear, pack_symmetric(self.dense(natural.quadratic, *natural.linear.shape))

    def unpack(self, counts: Array, sums: tuple[Array, ...], total: Array) -> Statistics:
        """Statistics about zero, from responsibility-weighted sums of the features and `total = sum_n z_n z_n^T`."""
        first, products = sums
        return Statistics(counts, first, self.moments(unpack_symmetric(products, total.shape[-1])))

    def shared_log_joint(self, natural: Natural, total: Array) -> Array:
        """The part of the log-likelihood that is common to all components and linear in `total`. []"""
        return jnp.zeros((), natural.constant.dtype)

    @abstractmethod
    def whitener(self, scales: Array) -> Array:
        """The inverse of `scales`, with which `whiten` multiplies."""

    def whiten(self, whitener: Array, difference: Array) -> Array:
        """`L_k^-1 (x_n - mu_k)` from differences [K, D, B]. [K, D, B]"""
        return product(self.dense(whitener, *difference.shape[:2]), difference)

    def weighted_square(self, responsibilities: Array, difference: Array) -> Array:
        """`sum_n r_nk d_nk d_nk^T` in the family's shape, from [K, B] and [K, D, B]."""
        return self.moments(product(responsibilities[:, None] * difference, jnp.swapaxes(difference, -1, -2)))

    def squared_distances(self, whitener: Array, means: Array, z: Array) -> Array:
        """`|L_k^-1 (z_n - mu_k)|^2` for rows z [D, B]. [K, B]"""
        return jnp.sum(self.whiten(whitener, z - means[..., None]) ** 2, -2)

    def weighted_sums(self, responsibilities: Array, means: Array, z: Array) -> Any:
        """Sums over rows z [D, B], from which `statistics_of` computes the statistics; a pytree of arrays.

        Sums over rows are products with a vector of ones, because XLA's reduction along contiguous memory adds one
        number at a time.
        """
        difference = z - means[..., None]
        ones = jnp.ones_like(z[0])
        first = product(responsibilities[:, None] * difference, ones)
        second = self.weighted_square(responsibilities, difference)
        return Statistics(product(responsibilities, ones), first, second)

    def statistics_of(self, sums: Any, means: Array) -> Statistics:
        """Statistics about the means from the `weighted_sums` of all rows."""
        statistics: Statistics = sums
        return statistics

    def prefers_expanded(self, components: int, dimensions: int) -> bool:
        """Whether the expanded form of the pass is faster than the whitened one."""
        return True

    def row_bytes(self, components: int, dimensions: int) -> int:
        """Bytes of a chunk's intermediates per row, in the faster form of the pass."""
        if self.prefers_expanded(components, dimensions):
            numbers = self.num_features(dimensions) + 2 * components
        else:
            numbers = (3 * dimensions + 2) * components
        return 8 * numbers

    # Determinants and priors

    def half_log_determinants(self, scales: Array, components: int, dimensions: int) -> Array:
        """Half the log-determinant of every component's covariance. [K]"""
        trils = self.dense(scales, components, dimensions)
        return jnp.sum(jnp.log(jnp.diagonal(trils, axis1=-2, axis2=-1)), -1)

    @abstractmethod
    def block_dimension(self, dimensions: int) -> int:
        """Side of one block: D for matrices, 1 for single variances."""

    @abstractmethod
    def block_log_determinants(self, scales: Array) -> Array:
        """Log-determinant of every block's covariance. [number of blocks]"""

    @abstractmethod
    def block_traces(self, scales: Array, scatter: Array) -> Array:
        """`tr(scatter Sigma_b^-1)` summed over the blocks b, for a `scatter` in the shape of `scatter_of`. []"""

    def scatter_of(self, covariance: np.ndarray) -> np.ndarray:
        """The part of a D x D matrix that the prior of one component's blocks needs: [D, D], [D] or []."""
        near = self.nearest(covariance[None])
        return near if self.is_shared else near[0]

    @abstractmethod
    def conjugate(self, degrees: Array, scatter: Array, components: int) -> Distribution:
        """Inverse-Wishart or inverse-gamma prior of the covariances in the family's shape."""

    # Deviations and correlations

    @abstractmethod
    def deviations(self, scales: Array) -> Array:
        """Marginal standard deviations: [K, D], [D], [K, D] or [K] for the families above."""

    def correlation_trils(self, scales: Array) -> Array:
        """Cholesky factors of the correlations; only for families with `has_correlations`."""
        return scales / self.deviations(scales)[..., None]
