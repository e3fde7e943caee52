"""The parts of short EM that differ between covariance families: how covariances are stored, fitted and used."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from workbench.mixture.covariance import Covariance
from workbench.soundness import NARROWEST

Points = NDArray[np.float64]
Flags = NDArray[np.bool_]


class Mixtures(NamedTuple):
    """Mixtures in working units, leaves [C, ...]."""

    weights: Points  # [C, K]
    means: Points  # [C, K, D]
    covariances: Points  # [C, K, D, D], [C, 1, D, D] (tied), [C, K, D] (diagonal), [C, K, 1] (spherical)

    def at(self, place: int) -> "Mixtures":
        """One of the mixtures, without the leading axis."""
        return Mixtures(*(leaf[place] for leaf in self))

    def in_order(self, order: NDArray[np.intp]) -> "Mixtures":
        """The mixtures with their components in the given order [C, K]."""
        rows = np.arange(len(order))[:, None]
        weights, means, covariances = self
        shared = covariances.shape[1] < weights.shape[1]
        return Mixtures(weights[rows, order], means[rows, order], covariances if shared else covariances[rows, order])

    def some(self, places: NDArray[np.intp] | slice) -> "Mixtures":
        """Several of the mixtures."""
        return Mixtures(*(leaf[places] for leaf in self))

    @classmethod
    def join(cls, parts: list["Mixtures"]) -> "Mixtures":
        """All mixtures of several batches."""
        return cls(*map(np.concatenate, zip(*parts, strict=True)))

    @classmethod
    def stack(cls, ones: list["Mixtures"]) -> "Mixtures":
        """Stack mixtures without a leading axis."""
        return cls(*(np.stack(leaves) for leaves in zip(*ones, strict=True)))


class Natural(NamedTuple):
    """Natural parameters: the coefficients of the features in the components' log densities."""

    log_roots: Points  # [C, K] or [C, 1]   half the log-determinants of the covariances
    linear: Points  # [C, K, D]
    quadratic: Points  # [C, K, Q]
    shared: Points  # [C]   contribution of the quadratic term to the log-likelihood if all components share it
    regular: Flags  # [C]   whether all covariances are positive definite


class Kind(ABC):
    """The parts of EM that differ between the families: how covariances are stored, [C, ...], and their use."""

    @abstractmethod
    def squares(self, z: Points) -> Points:
        """Quadratic features of rows [N, D]. [Q, N]"""

    @abstractmethod
    def of_dense(self, weights: Points, dense: Points) -> Points:
        """The family's covariances from dense ones [K, D, D], with the weights [K] of the components."""

    @abstractmethod
    def natural(self, mixtures: Mixtures, total: Points) -> Natural:
        """The coefficients of the features; `total` is the sum of `z z^T` over all rows."""

    @abstractmethod
    def covariances(self, weights: Points, means: Points, squares: Points, second: Points) -> Points:
        """Maximum likelihood covariances from mean `squares` [C, K, Q] and `second`, the mean of `z z^T`.

        `second` is [D, D], or [C, D, D] if rows have weights, which differ between mixtures.
        """

    @abstractmethod
    def smallest(self, covariances: Points) -> Points:
        """The smallest eigenvalue of each component's covariance. [C, K] or [C, 1]"""

    @abstractmethod
    def scales(self, covariances: Points, matrix: Points) -> Points:
        """Scales after `x -> matrix x`, with as many numbers as the family's shape. [C, ...]"""


class Matrices(Kind):
    """Full covariances."""

    def squares(self, z: Points) -> Points:
        """Products of two columns, each pair once. [D (D + 1) / 2, N]"""
        i, j = _pairs(z.shape[1])
        return np.asarray(z.T[i] * z.T[j])

    def of_dense(self, weights: Points, dense: Points) -> Points:
        """The dense covariances themselves."""
        return dense

    def natural(self, mixtures: Mixtures, total: Points) -> Natural:
        """The coefficient of a product of two different columns counts both of its orders."""
        log_roots, precisions, regular = _inverses(mixtures.covariances)
        i, j = _pairs(len(total))
        linear = (precisions @ mixtures.means[..., None])[..., 0]
        quadratic = precisions[..., i, j] * np.where(i == j, -0.5, -1.0)
        return Natural(log_roots, linear, quadratic, np.zeros(len(regular)), regular)

    def covariances(self, weights: Points, means: Points, squares: Points, second: Points) -> Points:
        """Mean products minus products of means. [C, K, D, D]"""
        i, j = _pairs(second.shape[-1])
        dense = np.empty((*means.shape, second.shape[-1]))
        dense[..., i, j] = dense[..., j, i] = squares
        return dense - means[..., :, None] * means[..., None, :]

    def smallest(self, covariances: Points) -> Points:
        """The smallest of all eigenvalues; zero if an entry is not finite."""
        finite = np.all(np.isfinite(covariances), axis=(-2, -1), keepdims=True)
        return np.asarray(np.linalg.eigvalsh(np.where(finite, covariances, 0.0))[..., 0])

    def scales(self, covariances: Points, matrix: Points) -> Points:
        """Cholesky factors."""
        return np.asarray(matrix @ np.linalg.cholesky(covariances))


class SharedMatrix(Matrices):
    """A tied covariance: the log-likelihood depends on the quadratic term, but responsibilities do not."""

    def squares(self, z: Points) -> Points:
        """No features. [0, N]"""
        return np.empty((0, len(z)))

    def of_dense(self, weights: Points, dense: Points) -> Points:
        """The weighted mean of the covariances. [1, D, D]"""
        return np.asarray(np.tensordot(weights, dense, 1)[None])

    def natural(self, mixtures: Mixtures, total: Points) -> Natural:
        """The quadratic term is shared: the sum over rows of `z^T P z` is the trace of `P total`."""
        log_roots, precisions, regular = _inverses(mixtures.covariances)
        linear = mixtures.means @ precisions[:, 0]
        shared = -0.5 * np.einsum("cij,ij->c", precisions[:, 0], total)
        return Natural(log_roots, linear, np.empty((*linear.shape[:2], 0)), shared, regular)

    def covariances(self, weights: Points, means: Points, squares: Points, second: Points) -> Points:
        """The second moments of all rows minus those of the means. [C, 1, D, D]"""
        between = np.swapaxes(means * weights[..., None], -1, -2) @ means
        return np.asarray((second - between)[:, None])


class EqualMatrices(Matrices):
    """A tied covariance as K equal matrices: beside a background, the quadratic term is in the responsibilities."""

    def of_dense(self, weights: Points, dense: Points) -> Points:
        """The weighted mean of the covariances, for each component. [K, D, D]"""
        return self._equal(weights[None], dense[None])[0]

    def covariances(self, weights: Points, means: Points, squares: Points, second: Points) -> Points:
        """The weighted mean of the unrestricted covariances, for each component. [C, K, D, D]"""
        return self._equal(weights, super().covariances(weights, means, squares, second))

    def scales(self, covariances: Points, matrix: Points) -> Points:
        """The Cholesky factor of the first. [C, 1, D, D]"""
        return super().scales(covariances[:, :1], matrix)

    def _equal(self, weights: Points, dense: Points) -> Points:
        shares = weights / np.sum(weights, axis=1, keepdims=True)
        pooled = np.einsum("ck,ckij->cij", shares, dense)[:, None]
        return np.tile(pooled, (1, dense.shape[1], 1, 1))


class Variances(Kind):
    """Diagonal covariances."""

    def squares(self, z: Points) -> Points:
        """Squares of the columns. [D, N]"""
        return z.T**2

    def of_dense(self, weights: Points, dense: Points) -> Points:
        """The diagonals. [K, D]"""
        return np.diagonal(dense, axis1=-2, axis2=-1).copy()

    def natural(self, mixtures: Mixtures, total: Points) -> Natural:
        """The coefficients of the squares are minus half the precisions."""
        variances, d = mixtures.covariances, len(total)
        positive = variances > NARROWEST**2
        variances = np.where(positive, variances, 1.0)
        quadratic = -0.5 / variances
        # A spherical variance is that of D columns.
        log_roots = 0.5 * np.sum(np.log(variances), axis=-1) * (d / variances.shape[-1])
        regular = np.all(positive, axis=(1, 2))
        return Natural(log_roots, mixtures.means / variances, quadratic, np.zeros(len(regular)), regular)

    def covariances(self, weights: Points, means: Points, squares: Points, second: Points) -> Points:
        """Mean squares minus squares of means. [C, K, D]"""
        return np.asarray(squares - means**2)

    def smallest(self, covariances: Points) -> Points:
        """The smallest variance."""
        return np.asarray(np.min(covariances, axis=-1))

    def scales(self, covariances: Points, matrix: Points) -> Points:
        """Standard deviations."""
        return np.asarray(np.sqrt(covariances) * np.diagonal(matrix)[: covariances.shape[-1]])


class OneVariance(Variances):
    """Spherical covariances."""

    def squares(self, z: Points) -> Points:
        """Squared lengths of the rows. [1, N]"""
        return np.sum(z.T**2, axis=0, keepdims=True)

    def of_dense(self, weights: Points, dense: Points) -> Points:
        """The mean of the diagonals. [K, 1]"""
        return np.mean(np.diagonal(dense, axis1=-2, axis2=-1), axis=-1, keepdims=True)

    def covariances(self, weights: Points, means: Points, squares: Points, second: Points) -> Points:
        """The mean of the columns' variances. [C, K, 1]"""
        return np.asarray((squares - np.sum(means**2, axis=-1, keepdims=True)) / second.shape[-1])


@dataclass(frozen=True)
class Members(Matrices):
    """Covariances of any family, stored as dense matrices: after each step the nearest members of the family."""

    family: Covariance

    def of_dense(self, weights: Points, dense: Points) -> Points:
        """The nearest members of the family. [K, D, D]"""
        k, d = dense.shape[:2]
        own = k * weights / np.sum(weights)
        shares = own[:, None, None] * dense if self.family.is_shared else dense
        return np.asarray(self.family.dense(jnp.asarray(self.family.nearest(shares)), k, d))

    def covariances(self, weights: Points, means: Points, squares: Points, second: Points) -> Points:
        """The members of the family nearest to the unrestricted covariances. [C, K, D, D]"""
        free = super().covariances(weights, means, squares, second)
        return np.stack([self.of_dense(*each) for each in zip(weights, free, strict=True)])

    def scales(self, covariances: Points, matrix: Points) -> Points:
        """The family's scales."""
        family, a = self.family, jnp.asarray(matrix)
        return np.stack([family.transform(family.factor(jnp.asarray(family.nearest(c))), a) for c in covariances])


KINDS: dict[str, Kind] = {
    "full": Matrices(), "tied": SharedMatrix(), "diagonal": Variances(), "spherical": OneVariance()
}  # fmt: skip


def kind_of(family: Covariance, *, beside_background: bool = False) -> Kind:
    """The fastest kind for a family; dense covariances for families without one of their own."""
    if beside_background and family.name == "tied":
        return EqualMatrices()
    return KINDS.get(family.name) or Members(family)


@cache
def _pairs(d: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Rows and columns of the upper triangle of a matrix [D, D], each of D (D + 1) / 2 entries."""
    return np.triu_indices(d)


def _inverses(covariances: Points) -> tuple[Points, Points, Flags]:
    """Logarithms of the roots of determinants [C, K'], inverses [C, K', D, D], and which have one in all [C].

    In place of a covariance that is not positive definite stands the identity.
    """
    regular = np.ones(len(covariances), bool)
    try:
        roots = np.linalg.cholesky(covariances)
    except np.linalg.LinAlgError:
        finite = np.all(np.isfinite(covariances), axis=(-2, -1), keepdims=True)
        kept = np.where(finite, covariances, 0.0)
        positive = np.linalg.eigvalsh(kept)[..., 0] > NARROWEST**2  # [C, K']
        regular = np.all(positive, axis=1)
        roots = np.linalg.cholesky(np.where(positive[..., None, None], kept, np.eye(kept.shape[-1])))
    inverse = np.linalg.inv(roots)
    log_roots = np.sum(np.log(np.diagonal(roots, axis1=-2, axis2=-1)), axis=-1)
    return log_roots, np.swapaxes(inverse, -1, -2) @ inverse, regular
