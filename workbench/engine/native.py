"""The one pass as native code on a CPU, called from inside compiled programs through JAX's foreign function interface.

One call goes over all rows that a device holds, for all mixtures of a batch. It takes a mixture in the data's units and
returns statistics in them: the parameters' change of units, factors and determinants are part of the call, because on
small data XLA's cost for each of those operations is more than the pass. Its derivatives, other processors, rows with
missing cells and covariance families of a user's own take the pass in JAX (`one_pass.py`), to which tests hold it.
"""

from functools import cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from workbench.engine.rows import Rows
from workbench.kernel import library
from workbench.mixture.covariance import Covariance, Diagonal, Full, Spherical, Statistics, Tied
from workbench.mixture.mixture import Mixture

# The numbers of the families in `kernel/families.h`.
FAMILIES: dict[type, int] = {Full: 0, Tied: 1, Diagonal: 2, Spherical: 3}

_DTYPES = ("float32", "float64")


def serves(mixture: Mixture, rows: Rows) -> bool:
    """Whether the native pass can go over these rows."""
    alike = all(leaf.dtype == rows.dtype for leaf in jax.tree.leaves(mixture))
    return mixture.background is None and alike and goes_over(rows, mixture.covariance)


def goes_over(rows: Rows, family: Covariance) -> bool:
    """Whether the native pass can go over these rows for mixtures of a family that have the dtype of the rows."""
    return type(rows) is Rows and covers(family, rows.dtype)


def covers(family: Covariance, dtype: np.dtype[Any]) -> bool:
    """Whether there is a native pass for a covariance family and a dtype."""
    return type(family) in FAMILIES and str(dtype) in _DTYPES and jax.default_backend() == "cpu" and _is_registered()


def statistics(mixture: Mixture, rows: Rows) -> tuple[Array, Statistics]:
    """The log-likelihood [] and `Statistics` about the mixture's means, in the data's units."""
    value, *sums = _call(mixture, rows, wants_statistics=True)
    return value, Statistics(*sums)


def log_likelihood(mixture: Mixture, rows: Rows) -> Array:
    """The log-likelihood alone, in about half of the time. []"""
    return _call(mixture, rows, wants_statistics=False)[0]


def allocated_statistics(key: Array, mixture: Mixture, rows: Rows) -> Statistics:
    """`Statistics` of rows without weights whose components are drawn, about the mixture's means, in the data's units.

    The uniform numbers of a chunk are drawn by JAX with the chunk's own key, as in the pass in JAX.
    """
    return Statistics(*_call(mixture, rows, wants_statistics=True, key=key)[1:])


def _call(mixture: Mixture, rows: Rows, *, wants_statistics: bool, key: Array | None = None) -> list[Array]:
    if not _is_registered():
        raise RuntimeError("the native pass is not built; ask `serves` before")
    k, d = mixture.means.shape
    dtype = rows.dtype
    shapes = [(), (k,), (k, d), mixture.scales.shape] if wants_statistics else [()]
    target = jax.ffi.ffi_call(
        f"workbench_pass_{dtype}",
        [jax.ShapeDtypeStruct(shape, dtype) for shape in shapes],
        vmap_method="expand_dims",
    )
    family = np.int64(FAMILIES[type(mixture.covariance)])

    def block(given: Any, numbers: Array, z: Array, counted: Array) -> list[Array]:
        parameters, units, *keys = given
        is_weighted = np.int64(counted.ndim > 1)
        levels = [_uniform(key, numbers, z) for key in keys]
        arrays = (*parameters, z, counted.astype(dtype), *units, *levels)
        axes = np.int64(mixture.scales.ndim)
        return list(target(*arrays, family=family, scale_axes=axes, is_weighted=is_weighted))

    # Each call takes an equal share of the total over rows, which only the tied family reads.
    units = (rows.shift, rows.matrix, rows.inverse, rows.total / rows.num_blocks)
    parameters = (mixture.weights, mixture.means, mixture.scales)
    given = (parameters, jax.tree.map(jnp.asarray, units), *(() if key is None else (key,)))
    sums: list[Array] = rows.block_sum(block, given)
    return sums


def _uniform(key: Array, numbers: Array, z: Array) -> Array:
    """A uniform number for each row of the chunks with these numbers. [C, B]"""
    return jax.vmap(lambda n: jax.random.uniform(jax.random.fold_in(key, n), z.shape[-1:], z.dtype))(numbers)


@cache
def _is_registered() -> bool:
    """Make the library's functions known to JAX, once; false where there is no library."""
    loaded = library()
    if loaded is None:
        return False
    for dtype in _DTYPES:
        name = f"workbench_pass_{dtype}"
        jax.ffi.register_ffi_target(name, jax.ffi.pycapsule(getattr(loaded, name)), platform="cpu")
    return True
