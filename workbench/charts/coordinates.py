"""Coordinates of the weights and of the covariances, found by name in `WEIGHTS` and `SCALES`.

A chart consists of one of each. Those of the covariances serve all families.
"""

from abc import ABC, abstractmethod
from typing import ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.scipy.linalg import expm

from workbench.mixture import Covariance
from workbench.mixture.arithmetic import pairs, unpack_symmetric
from workbench.mixture.covariance.base import product


class Coordinates(NamedTuple):
    """A point of a chart, in the working units of the data."""

    weights: Array  # [K] or [K - 1]
    means: Array  # [K, D]
    scales: Array  # [K, D (D + 1) / 2] full, [D (D + 1) / 2] tied, [K, D] diagonal, [K] spherical
    background: Array | None = None  # []   log-odds of the background's weight, if there is one


class WeightCoordinates(ABC):
    """Real coordinates of the weights. Instances have no state."""

    name: ClassVar[str]
    summary: ClassVar[str]
    covers: ClassVar[bool] = True  # whether every array of finite numbers gives weights

    @abstractmethod
    def unconstrain(self, weights: Array) -> Array:
        """Coordinates of positive weights [K] that sum to one. [K] or [K - 1]"""

    @abstractmethod
    def constrain(self, free: Array) -> Array:
        """The weights at these coordinates, which sum to one; inverse of `unconstrain`. [K]"""


class ScaleCoordinates(ABC):
    """Real coordinates of the covariances of any family. Instances have no state."""

    name: ClassVar[str]
    summary: ClassVar[str]
    covers: ClassVar[bool] = True  # whether every array of finite numbers gives covariances

    @abstractmethod
    def unconstrain(self, scales: Array, covariance: Covariance) -> Array:
        """Coordinates of the scales, as many as the family has free parameters; components are the first axis."""

    @abstractmethod
    def constrain(self, free: Array, covariance: Covariance) -> Array:
        """Scales in the family's shape; inverse of `unconstrain`, NaN where the coordinates give no covariance."""


class Softmax(WeightCoordinates):
    """`log w`, up to a constant: K coordinates with one redundant direction, along which the weights do not change.

    Permuting components permutes the coordinates.
    """

    name = "softmax"
    summary = "logits of all K weights, with one redundant direction"

    def unconstrain(self, weights: Array) -> Array:
        """Log weights. [K]"""
        return jnp.log(weights)

    def constrain(self, free: Array) -> Array:
        """Softmax. [K]"""
        return jax.nn.softmax(free)


class LogRatio(WeightCoordinates):
    """`log(w_k / w_K)` for all components but the last: no redundant direction, but the last component is special.

    Aitchison (1986), "The statistical analysis of compositional data", the additive log-ratio.
    """

    name = "log_ratio"
    summary = "logits of K - 1 weights relative to the last"

    def unconstrain(self, weights: Array) -> Array:
        """Logits relative to the last. [K - 1]"""
        return jnp.log(weights[:-1]) - jnp.log(weights[-1])

    def constrain(self, free: Array) -> Array:
        """Softmax with a last logit of zero. [K]"""
        return jax.nn.softmax(jnp.append(free, 0.0))


class StickBreaking(WeightCoordinates):
    """Logits of the fraction that each component but the last takes of the weight that its predecessors leave.

    They are shifted so that zeros give equal weights (Stan reference manual, "Unit simplex inverse transform"). The
    order of the components matters: permuting them does not permute the coordinates.
    """

    name = "stick_breaking"
    summary = "K - 1 logits of the fraction that each component takes of the remaining weight"

    def unconstrain(self, weights: Array) -> Array:
        """`log(w_k / sum_{j > k} w_j) + log(K - k)`. [K - 1]"""
        left = jnp.cumsum(weights[::-1])[::-1][1:]
        return jnp.log(weights[:-1]) - jnp.log(left) + self._shifts(left)

    def constrain(self, free: Array) -> Array:
        """Weights by breaking off one fraction after the other. [K]"""
        logits = free - self._shifts(free)
        left = jnp.append(0.0, jnp.cumsum(jax.nn.log_sigmoid(-logits)))  # log of the weight that is left before each
        return jnp.exp(jnp.append(jax.nn.log_sigmoid(logits), 0.0) + left)

    def _shifts(self, like: Array) -> Array:
        return jnp.log(jnp.arange(len(like), 0, -1, dtype=like.dtype))


class RawWeights(WeightCoordinates):
    """The weights themselves, shifted by a common amount so that they sum to one.

    A gradient step is therefore a step along the gradient projected on the plane where weights sum to one. It can leave
    the simplex, where weights become negative. Permuting components permutes the coordinates.
    """

    name = "raw"
    summary = "the K weights as they are, their sum kept by projection; they can become negative"
    covers = False

    def unconstrain(self, weights: Array) -> Array:
        """The weights. [K]"""
        return weights

    def constrain(self, free: Array) -> Array:
        """The nearest point of the plane where weights sum to one. [K]"""
        return free + (1.0 - jnp.sum(free)) / len(free)


WEIGHTS: dict[str, WeightCoordinates] = {
    part.name: part for part in (Softmax(), LogRatio(), StickBreaking(), RawWeights())
}


class CholeskyCoordinates(ScaleCoordinates):
    """The entries of the Cholesky factor, row by row, with a diagonal that is mapped to all real numbers.

    Standard deviations, in families that have no correlations, are mapped by the same function.
    """

    @abstractmethod
    def free_diagonal(self, positive: Array) -> Array:
        """Map positive numbers to all real numbers, elementwise."""

    @abstractmethod
    def positive_diagonal(self, free: Array) -> Array:
        """Inverse of `free_diagonal`."""

    def unconstrain(self, scales: Array, covariance: Covariance) -> Array:
        """Free diagonal and strict lower triangle [..., D (D + 1) / 2], or free standard deviations in their shape."""
        if not covariance.has_correlations:
            return self.free_diagonal(scales)
        rows, columns = np.tril_indices(scales.shape[-1])
        entries = scales[..., rows, columns]
        return jnp.where(rows == columns, self.free_diagonal(jnp.where(rows == columns, entries, 1.0)), entries)

    def constrain(self, free: Array, covariance: Covariance) -> Array:
        """Lower Cholesky factors, or standard deviations."""
        if not covariance.has_correlations:
            return self.positive_diagonal(free)
        dimensions = side(free)
        rows, columns = np.tril_indices(dimensions)
        entries = jnp.where(rows == columns, self.positive_diagonal(jnp.where(rows == columns, free, 0.0)), free)
        empty = jnp.zeros((*free.shape[:-1], dimensions, dimensions), free.dtype)
        return empty.at[..., rows, columns].set(entries)


class LogCholesky(CholeskyCoordinates):
    """The Cholesky factor with the logarithm of its diagonal; for standard deviations, their logarithms.

    Pinheiro & Bates (1996), "Unconstrained parametrizations for variance-covariance matrices", Stat. Comput. 6.
    """

    name = "log_cholesky"
    summary = "Cholesky factor of the covariance, log diagonal"

    def free_diagonal(self, positive: Array) -> Array:
        """Logarithm."""
        return jnp.log(positive)

    def positive_diagonal(self, free: Array) -> Array:
        """Exponential."""
        return jnp.exp(free)


class SoftplusCholesky(CholeskyCoordinates):
    """The Cholesky factor with a softplus diagonal: linear in large entries and logarithmic in small ones."""

    name = "softplus_cholesky"
    summary = "Cholesky factor of the covariance, softplus diagonal"

    def free_diagonal(self, positive: Array) -> Array:
        """`log(e^s - 1)`, without overflow."""
        return positive + jnp.log(-jnp.expm1(-positive))

    def positive_diagonal(self, free: Array) -> Array:
        """`log(1 + e^u)`."""
        return jax.nn.softplus(free)


class PrecisionCholesky(LogCholesky):
    """The factor W of the precision `W^T W`, with the logarithm of its diagonal; the inverse of the covariance factor.

    `|W (x - mu)|` is the Mahalanobis distance, so a component's log-joint is a polynomial in W plus the logarithms of
    its diagonal.
    """

    name = "precision_cholesky"
    summary = "Cholesky factor of the precision, log diagonal"

    def unconstrain(self, scales: Array, covariance: Covariance) -> Array:
        """Log-Cholesky coordinates of the inverse scales."""
        return super().unconstrain(covariance.whitener(scales), covariance)

    def constrain(self, free: Array, covariance: Covariance) -> Array:
        """The inverse of the precision's factor."""
        return covariance.whitener(super().constrain(free, covariance))


class MatrixLogarithm(ScaleCoordinates):
    """The distinct entries of the symmetric matrix `log Sigma`, which does not depend on an order of the columns.

    For standard deviations these are log variances. Pinheiro & Bates (1996), sec. 2.4. The inverse is a matrix
    exponential, whose derivatives of all orders are finite at equal eigenvalues, unlike those of an eigendecomposition.
    Its rounding error is relative to the largest eigenvalue, so a standard deviation below 1e-8 of the largest has no
    correct digit.
    """

    name = "matrix_logarithm"
    summary = "logarithm of the covariance matrix"

    def unconstrain(self, scales: Array, covariance: Covariance) -> Array:
        """Entries i <= j of the logarithm. [..., D (D + 1) / 2]"""
        if not covariance.has_correlations:
            return 2.0 * jnp.log(scales)
        # The left singular vectors of L are the eigenvectors of L L^T; squaring L first would lose half of the digits.
        vectors, values, _ = jnp.linalg.svd(scales)
        logarithm = product(vectors * (2.0 * jnp.log(values))[..., None, :], jnp.swapaxes(vectors, -1, -2))
        return distinct(logarithm)

    def constrain(self, free: Array, covariance: Covariance) -> Array:
        """The Cholesky factor of the exponential."""
        if not covariance.has_correlations:
            return jnp.exp(0.5 * free)
        return jnp.linalg.cholesky(expm(unpack_symmetric(free, side(free))))


class RawCovariance(ScaleCoordinates):
    """The distinct entries of the covariance, or the variances. A step can leave the positive definite matrices."""

    name = "raw"
    summary = "entries of the covariance as they are, which can cease to be positive definite"
    covers = False

    def unconstrain(self, scales: Array, covariance: Covariance) -> Array:
        """Entries i <= j. [..., D (D + 1) / 2]"""
        square = covariance.square(scales)
        return distinct(square) if covariance.has_correlations else square

    def constrain(self, free: Array, covariance: Covariance) -> Array:
        """The family's factor; NaN where the entries are not those of a covariance."""
        return covariance.factor(unpack_symmetric(free, side(free)) if covariance.has_correlations else free)


SCALES: dict[str, ScaleCoordinates] = {
    part.name: part
    for part in (LogCholesky(), SoftplusCholesky(), PrecisionCholesky(), MatrixLogarithm(), RawCovariance())
}


def side(free: Array) -> int:
    """D, from the D (D + 1) / 2 coordinates of a matrix."""
    return int((np.sqrt(8 * free.shape[-1] + 1) - 1) / 2)


def distinct(matrix: Array) -> Array:
    """Entries i <= j of symmetric matrices [..., D, D]. [..., D (D + 1) / 2]"""
    i, j = pairs(matrix.shape[-1])
    return matrix[..., i, j]
