"""The floating-point precision of results, reported wherever it is not float64."""

from typing import Any

import jax.numpy as jnp
import numpy as np

USUAL = "float64"


def dtype_name(*arrays: Any) -> str:
    """Name of the dtype of the arrays, several joined by "and"; without arrays, of JAX's current default float."""
    names = {np.dtype(array.dtype).name for array in arrays}
    return " and ".join(sorted(names)) or np.dtype(jnp.result_type(float)).name


def precision_note(*dtypes: str) -> str:
    """A sentence that names the precisions of a table's numbers; empty if all are float64."""
    names = sorted(set(dtypes))
    return "" if set(names) <= {USUAL} else f"Computed in {' and '.join(names)}."
