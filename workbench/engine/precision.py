"""The precision of the numbers, told wherever it is not the usual one."""

from typing import Any

import jax.numpy as jnp
import numpy as np

USUAL = "float64"


def dtype_name(*arrays: Any) -> str:
    """Of the numbers in some arrays, or, without any, of those that JAX computes with now."""
    names = {np.dtype(array.dtype).name for array in arrays}
    return " and ".join(sorted(names)) or np.dtype(jnp.result_type(float)).name


def precision_note(*dtypes: str) -> str:
    """A sentence for a table in which any number has another precision than float64; empty where none has."""
    found = sorted(set(dtypes))
    return "" if set(found) <= {USUAL} else f"Computed in {' and '.join(found)}."
