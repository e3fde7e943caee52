"""Arithmetic on arrays: a vectorised logarithm, packed symmetric matrices, and factors of very many small matrices.

Symmetric matrices are packed as their distinct entries, the products `z_i z_j`, i <= j. Many small matrices are stacked
along the last axis: [..., D, D, S].

XLA factorises a batch of small matrices by a call of LAPACK for each, which takes longer than the arithmetic. Written
out entry by entry, each operation is vectorised over the same entry of many matrices.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.lax import bitcast_convert_type
from jax.scipy.linalg import solve_triangular

# ln 2 in two parts. The first has 24 bits, so its product with an exponent is exact.
LN_2_HIGH = float(np.float32(np.log(2.0)))
LN_2_LOW = -1.904654299957768e-9

# The number of fraction bits of a float64, which lie below the exponent bits.
FRACTION_BITS = 52

# The bit pattern of sqrt(1/2): fractions lie between sqrt(1/2) and sqrt(2) instead of between 1 and 2.
ROOT_HALF = int(np.asarray(np.sqrt(0.5)).view(np.int64))

# Number of terms of the series: the next is below 2^-57 of the first for the fractions furthest from 1.
TERMS = 10


@jax.custom_jvp
def log(x: Array) -> Array:
    """ln x, elementwise, to 1 unit in the last place of the larger of 1 and the result; -inf at 0, NaN below.

    On a CPU, XLA computes `jnp.log` of float64 by a function call for every number, which takes as long as seven
    exponentials. This function uses plain arithmetic, which XLA vectorises. With `x = 2^e (1 + s) / (1 - s)` and the
    fraction `(1 + s) / (1 - s)` between sqrt(1/2) and sqrt(2), `ln x = e ln 2 + 2 (s + s^3 / 3 + s^5 / 5 + ...)`,
    |s| < 0.172.

    Args:
        x: any shape; float64 numbers must be finite, and zero or normal. Other dtypes are passed to `jnp.log`.
    """
    if x.dtype != jnp.float64:
        return jnp.log(x)
    bits = bitcast_convert_type(x, jnp.int64)
    exponent = (bits - ROOT_HALF) >> FRACTION_BITS
    fraction = bitcast_convert_type(bits - (exponent << FRACTION_BITS), x.dtype)
    s = (fraction - 1.0) / (fraction + 1.0)
    square = s * s
    series = jnp.full_like(s, 2.0 / (2 * TERMS + 1))
    for power in range(2 * TERMS - 1, 1, -2):
        series = series * square + 2.0 / power
    e = exponent.astype(x.dtype)
    value = e * LN_2_HIGH + (2.0 * s + (series * square * s + e * LN_2_LOW))
    # NaN stays NaN.
    return jnp.where(x > 0.0, value, jnp.where(x == 0.0, -jnp.inf, jnp.nan))


log.defjvps(lambda tangent, _, x: tangent / x)


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
