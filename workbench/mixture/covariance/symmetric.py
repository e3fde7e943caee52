"""Symmetric matrices as their distinct entries: the products `z_i z_j`, i <= j."""

import numpy as np
from jax import Array


def pairs(dimensions: int) -> tuple[np.ndarray, np.ndarray]:
    """Row and column indices i <= j of the D (D + 1) / 2 distinct entries of a symmetric matrix."""
    return np.triu_indices(dimensions)


def pack_symmetric(matrix: Array) -> Array:
    """The coefficients of the products `z_i z_j`, i <= j, in `<matrix, z z^T>`. [..., D (D + 1) / 2]"""
    i, j = pairs(matrix.shape[-1])
    return matrix[..., i, j] * np.where(i == j, 1.0, 2.0).astype(matrix.dtype)


def unpack_symmetric(entries: Array, dimensions: int) -> Array:
    """Symmetric matrices from their distinct entries. [..., D, D]"""
    i, j = pairs(dimensions)
    position = np.zeros((dimensions, dimensions), int)
    position[i, j] = position[j, i] = np.arange(len(i))
    return entries[..., position]
