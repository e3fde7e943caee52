"""What a covariance family must answer: everything that differs between full, tied, diagonal and spherical."""

from abc import ABC, abstractmethod
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from numpyro.distributions import Distribution

# A product of so few rows that gives so few numbers spends its time on arranging the other matrix: one with a vector
# for each row measured up to twice as fast, and of more numbers slower.
FEW_ROWS, FEW_NUMBERS = 4, 40


def product(a: Array, b: Array) -> Array:
    """Matrix product at full precision on every device: a GPU's default rounds float32 inputs to 10 bits."""
    return jnp.matmul(a, b, precision=jax.lax.Precision.HIGHEST)


def weighted_sum(responsibilities: Array, features: Array) -> Array:
    """`sum_n r_nk f_n` for responsibilities [K, B] and features [F, B]. [K, F]"""
    rows, numbers = len(responsibilities), len(responsibilities) * len(features)
    if rows <= FEW_ROWS and numbers <= FEW_NUMBERS:
        return jnp.stack([product(features, r) for r in responsibilities])
    return jnp.einsum("kb,fb->kf", responsibilities, features, precision="highest")


class Natural(NamedTuple):
    """Natural parameters of `log pi_k + log N(x | mu_k, Sigma_k)` in powers of `x - c_k`, for chosen origins `c`.

    A component's log-joint is `constant_k + <linear_k, x - c_k> + <quadratic_k, square of (x - c_k)>`.
    """

    constant: Array  # [K]
    linear: Array  # [K, D]
    quadratic: Array  # the family's shape: minus half the precision


class Statistics(NamedTuple):
    """Expected sufficient statistics about the origins `c`: the responsibility-weighted powers of `x - c_k`.

    The quadratic one is kept in the shape of the covariance family, which is all that its M-step needs.
    """

    counts: Array  # [K]       sum_n r_nk
    first: Array  # [K, D]     sum_n r_nk (x_n - c_k)
    second: Array  # the family's shape: sum_n r_nk (x_n - c_k)(x_n - c_k)^T, or its part


class Covariance(ABC):
    """A covariance family. Stateless: two instances of one family are equal.

    Every family stores the *square root* of its covariances, called `scales`, and works on arrays in its own shape:

    | family | scales | covariance and second moments |
    |---|---|---|
    | full | lower Cholesky factors [K, D, D] | [K, D, D] |
    | tied | lower Cholesky factor [D, D] | [D, D] |
    | diagonal | standard deviations [K, D] | [K, D] |
    | spherical | standard deviations [K] | [K] |

    A *block* is a covariance that varies on its own: D x D for full and tied, a variance for diagonal and spherical.
    """

    name: str
    has_correlations: bool
    is_shared: bool = False  # one covariance serves all components, and scales have no axis of components

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
        """The fewest points, in general position, of which a component's maximum likelihood covariance is not singular.

        0 where the covariance is not the component's own. Fewer points than this are a singularity of the likelihood:
        their component can shrink on them without end. Points are in general position if no D + 1 of them lie on a
        hyperplane and no two share a coordinate; where values are tied it takes more, which a count does not tell.
        """

    @abstractmethod
    def factor(self, covariance: Array) -> Array:
        """Scales of a covariance in the family's shape; NaN where it is not positive definite."""

    @abstractmethod
    def nearest(self, covariances: np.ndarray) -> np.ndarray:
        """The member of the family, in its shape, that is closest to dense covariances [K, D, D]."""

    @abstractmethod
    def square(self, scales: Array) -> Array:
        """Covariance in the family's shape, `scales scales^T`."""

    @abstractmethod
    def broadcast(self, covariance: Array, components: int) -> Array:
        """Scales with which every component has the D x D `covariance`, or its nearest in the family."""

    @abstractmethod
    def scale_trils(self, scales: Array, components: int, dimensions: int) -> Array:
        """Dense lower Cholesky factor of every component. [K, D, D]"""

    @abstractmethod
    def permute(self, scales: Array, order: Array) -> Array:
        """Scales with the components reordered by `order` [K]."""

    # Change of units

    @abstractmethod
    def admits(self, matrix: np.ndarray) -> bool:
        """Whether `x -> matrix x` keeps every member inside the family."""

    @abstractmethod
    def transform(self, scales: Array, matrix: Array) -> Array:
        """Scales after `x -> matrix x`, for a lower triangular (full, tied), diagonal or scalar matrix [D, D]."""

    @abstractmethod
    def transform_second(self, second: Array, matrix: Array) -> Array:
        """Second moments after `x -> matrix x`, for the matrices of `transform`."""

    @abstractmethod
    def units(self, covariance: np.ndarray) -> np.ndarray:
        """The admitted matrix [D, D] that takes standardised data to data with this `covariance` [D, D]."""

    # Algebra of the exponential family

    @abstractmethod
    def natural(self, log_weights: Array, shifts: Array, scales: Array) -> Natural:
        """Natural parameters, given `shifts = means - origins` [K, D]."""

    @abstractmethod
    def cross_products(self, a: Array, b: Array) -> Array:
        """The family's part of the products `a_k b_k^T`, for `a` and `b` of shape [K, D]; tied sums them over k."""

    @abstractmethod
    def degrees(self, counts: Array, dimensions: int) -> Array:
        """How many observations each block rests on, broadcast against the family's shape."""

    # The one pass

    @abstractmethod
    def num_features(self, dimensions: int) -> int:
        """F, the constant feature 1 included."""

    @abstractmethod
    def features(self, z: Array) -> tuple[Array, ...]:
        """Features of each row that differ between components, but for the 1, in blocks; rows lie in columns.

        [D, B] -> [F_1, B], [F_2, B]
        """

    @abstractmethod
    def pack(self, natural: Natural) -> tuple[Array, ...]:
        """Coefficients of `features` in each component's log-joint, for origins at zero. [K, F_1], [K, F_2]"""

    @abstractmethod
    def unpack(self, counts: Array, sums: tuple[Array, ...], total: Array) -> Statistics:
        """Statistics about zero, from responsibility-weighted sums of the features and `total = sum_n z z^T`."""

    def shared_log_joint(self, natural: Natural, total: Array) -> Array:
        """The part of the log-likelihood that is common to all components and linear in `total`. []"""
        return jnp.zeros((), natural.constant.dtype)

    @abstractmethod
    def whitener(self, scales: Array) -> Array:
        """What `whiten` multiplies by: the inverse of `scales`."""

    @abstractmethod
    def whiten(self, whitener: Array, difference: Array) -> Array:
        """`L_k^-1 (x_n - mu_k)` from differences [K, D, B]. [K, D, B]"""

    @abstractmethod
    def weighted_square(self, responsibilities: Array, difference: Array) -> Array:
        """`sum_n r_nk d_nk d_nk^T` in the family's shape, from [K, B] and [K, D, B]."""

    def squared_distances(self, whitener: Array, means: Array, z: Array) -> Array:
        """`|L_k^-1 (z_n - mu_k)|^2` for rows z [D, B]. [K, B]"""
        return jnp.sum(self.whiten(whitener, z - means[..., None]) ** 2, -2)

    def weighted_sums(self, responsibilities: Array, means: Array, z: Array) -> Any:
        """Sums over rows z [D, B] from which `statistics_of` makes the statistics; a pytree of arrays.

        A sum along rows is a product with ones: a reduction along contiguous memory adds one number at a time.
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
        """Bytes of a chunk's intermediates for each of its rows, in the form of the pass that is the faster."""
        if self.prefers_expanded(components, dimensions):
            numbers = self.num_features(dimensions) + 2 * components
        else:
            numbers = (3 * dimensions + 2) * components
        return 8 * numbers

    # Determinants and priors

    @abstractmethod
    def half_log_determinants(self, scales: Array, components: int, dimensions: int) -> Array:
        """Half the log-determinant of every component's covariance. [K]"""

    @abstractmethod
    def block_dimension(self, dimensions: int) -> int:
        """Side of one block: D, or 1 where variances stand alone."""

    @abstractmethod
    def block_log_determinants(self, scales: Array) -> Array:
        """Log-determinant of every block's covariance. [number of blocks]"""

    @abstractmethod
    def block_traces(self, scales: Array, scatter: Array) -> Array:
        """`tr(scatter Sigma_b^-1)` summed over the blocks, for a `scatter` as `scatter_of` returns it. []"""

    @abstractmethod
    def scatter_of(self, covariance: np.ndarray) -> np.ndarray:
        """The part of a D x D matrix that one component's block prior needs: [D, D], [D] or []."""

    @abstractmethod
    def conjugate(self, degrees: Array, scatter: Array, components: int) -> Distribution:
        """Inverse-Wishart (full, tied) or inverse-gamma prior of the covariance in the family's shape."""

    # Deviations and correlations

    @abstractmethod
    def deviations(self, scales: Array) -> Array:
        """Marginal standard deviations: [K, D], [D], [K, D] or [K]."""

    def correlation_trils(self, scales: Array) -> Array:
        """Cholesky factors of the correlations; only where `has_correlations`."""
        return scales / self.deviations(scales)[..., None]
