"""Factors and products of very many small matrices, which are stacked along the last axis: [..., D, D, S].

XLA factorises a batch of small matrices by a call of LAPACK for each, which takes longer than the arithmetic. Written
out entry by entry, each operation is vectorised over the same entry of many matrices.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.scipy.linalg import solve_triangular

# The largest D that is written out: for larger matrices programs become long and LAPACK is no slower.
WRITTEN_OUT = 8


def lower_root(a: Array) -> Array:
    """Lower Cholesky factors of matrices; NaN for matrices that are not positive definite."""
    d = a.shape[-2]
    if d > WRITTEN_OUT:
        return jnp.moveaxis(jnp.linalg.cholesky(jnp.moveaxis(a, -1, 0)), 0, -1)
    entry: dict[tuple[int, int], Array] = {}
    for j in range(d):
        for i in range(j, d):
            left = a[..., i, j, :]
            for k in range(j):
                left = left - entry[i, k] * entry[j, k]
            entry[i, j] = jnp.sqrt(left) if i == j else left / entry[j, j]
        _settle(entry, j)
    return _filled(entry, d)


def lower_inverse(lower: Array) -> Array:
    """Inverses of lower triangular matrices."""
    d = lower.shape[-2]
    if d > WRITTEN_OUT:
        turned = jnp.moveaxis(lower, -1, 0)
        identity = jnp.broadcast_to(jnp.eye(d, dtype=lower.dtype), turned.shape)
        return jnp.moveaxis(solve_triangular(turned, identity, lower=True), 0, -1)
    entry: dict[tuple[int, int], Array] = {}
    for j in range(d):
        entry[j, j] = 1.0 / lower[..., j, j, :]
        for i in range(j + 1, d):
            total = lower[..., i, j, :] * entry[j, j]
            for k in range(j + 1, i):
                total = total + lower[..., i, k, :] * entry[k, j]
            entry[i, j] = -total / lower[..., i, i, :]
        _settle(entry, j)
    return _filled(entry, d)


def lower_root_of_inverse(inverse: Array) -> Array:
    """Lower triangular G such that `G^T G` equals the given positive definite matrices."""
    backwards = lower_root(inverse[..., ::-1, ::-1, :])[..., ::-1, ::-1, :]
    return jnp.swapaxes(backwards, -3, -2)


def products(a: Array, b: Array) -> Array:
    """Matrix products."""
    return jnp.sum(a[..., :, :, None, :] * b[..., None, :, :, :], -3)


def squares(a: Array) -> Array:
    """`A^T A`."""
    return jnp.sum(a[..., :, :, None, :] * a[..., :, None, :, :], -4)


def lower_triangular_of(diagonal: Array, below: Array) -> Array:
    """Lower triangular matrices from the diagonal [..., D, S] and the rows below it [..., D (D - 1) / 2, S]."""
    d = diagonal.shape[-2]
    rows, columns = np.tril_indices(d, -1)
    if d > WRITTEN_OUT:
        whole = jnp.eye(d, dtype=diagonal.dtype)[:, :, None] * diagonal[..., None, :]
        return whole.at[..., rows, columns, :].set(below)
    entry = {place: below[..., at, :] for at, place in enumerate(zip(rows.tolist(), columns.tolist(), strict=True))}
    return _filled(entry | {(i, i): diagonal[..., i, :] for i in range(d)}, d)


def _settle(entry: dict[tuple[int, int], Array], column: int) -> None:
    """Put a barrier behind the entries of a column; XLA would otherwise recompute them at each use."""
    places = [place for place in entry if place[1] == column]
    entry.update(zip(places, jax.lax.optimization_barrier([entry[place] for place in places]), strict=True))


def _filled(entry: dict[tuple[int, int], Array], d: int) -> Array:
    """Lower triangular matrices from their entries, by row and column."""
    zero = jnp.zeros_like(entry[0, 0])
    return jnp.stack([jnp.stack([entry.get((i, j), zero) for j in range(d)], -2) for i in range(d)], -3)
