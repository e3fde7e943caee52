"""What tests expect of any covariance family, from the dense matrices that its entries stand for (`Covariance.dense`).

A family is the span of the matrices of its unit entries: its part of other matrices is a projection onto them.
"""

import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from workbench.mixture import COVARIANCES, Covariance

Points = NDArray[np.float64]


def span_of(family: Covariance, components: int, dimensions: int) -> Points:
    """Dense matrices of each of Q entries alone. [Q, K, D, D]"""
    shape = family.shape(components, dimensions)
    units = np.eye(int(np.prod(shape))).reshape(-1, *shape)
    return np.stack([np.asarray(family.dense(jnp.asarray(unit), components, dimensions)) for unit in units])


def summed(family: Covariance | str, matrices: Points) -> Points:
    """Second moments in the family's shape from those of each component [K, D, D]."""
    family = COVARIANCES[family] if isinstance(family, str) else family
    (k, d), span = matrices.shape[:2], span_of(family, *matrices.shape[:2])
    return np.asarray(np.einsum("qkij,kij->q", span, matrices).reshape(family.shape(k, d)))


def projected(family: Covariance | str, matrices: Points, weights: Points | None = None) -> Points:
    """The covariances of the family nearest to matrices, by least squares weighted by component. [K, D, D]"""
    family = COVARIANCES[family] if isinstance(family, str) else family
    span = span_of(family, *matrices.shape[:2])
    root = np.ones(len(matrices)) if weights is None else np.sqrt(weights)
    design = (root[:, None, None] * span).reshape(len(span), -1).T
    entries = np.linalg.lstsq(design, (root[:, None, None] * matrices).ravel(), rcond=None)[0]
    return np.asarray(np.einsum("q,qkij->kij", entries, span))


def keeps(family: Covariance, matrix: Points) -> bool:
    """Whether `A M A^T` is a member for all members M of the family, and A invertible."""
    moved = matrix @ span_of(family, 1, len(matrix)) @ matrix.T
    near = np.stack([projected(family, one) for one in moved])
    return bool(abs(np.linalg.det(matrix)) > 1e-9 and np.allclose(near, moved, atol=1e-12))


def admitted(family: Covariance | str, *candidates: Points) -> Points:
    """The first of the matrices that keeps the family: the most general should come first."""
    family = COVARIANCES[family] if isinstance(family, str) else family
    return next(matrix for matrix in candidates if keeps(family, matrix))


def blocks_of(family: Covariance, covariances: Points) -> Points:
    """The matrices, or numbers as matrices of side one, that vary on their own in members [K, D, D]. [B, b, b]"""
    if family.has_correlations:
        return covariances[:1] if family.is_shared else covariances
    return family.nearest(covariances).reshape(-1, 1, 1)
