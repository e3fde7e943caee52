"""The precision of the numbers, told wherever it is not the usual one."""

import jax.numpy as jnp
import numpy as np

USUAL = "float64"


def dtype_name() -> str:
    """Of the numbers that JAX computes with now."""
    return np.dtype(jnp.result_type(float)).name


def precision_note(dtype: str) -> str:
    """A sentence for a table of another precision than float64; empty for that one."""
    return "" if dtype == USUAL else f"Computed in {dtype}."
