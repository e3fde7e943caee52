"""The ranges in which parameters are taken for normal, and the way back: odds of weights, logarithms of deviations."""

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from numpy.typing import ArrayLike, NDArray

# The kinds of parameters: those of components, and the weight of a background.
KINDS = ("weight", "mean", "sd", "correlation", "background")

# A correlation or weight this close to the end of its range has no finite transform.
EDGE = 1e-12

# The weight of a background that is fewer standard errors from zero has no interval: its log-odds are not normal there.
FROM_ZERO = 2.0


def carry(values: ArrayLike, kinds: NDArray[np.int_]) -> Array:
    """Log-odds of weights, also a background's, means, logarithms of deviations, Fisher's z of correlations. [Q]"""
    v = jnp.asarray(values)
    w, r, s = jnp.clip(v, EDGE, 1 - EDGE), jnp.clip(v, EDGE - 1, 1 - EDGE), jnp.where(kinds == 2, v, 1.0)
    return jnp.choose(kinds, [odds := jnp.log(w) - jnp.log1p(-w), v, jnp.log(s), jnp.arctanh(r), odds], mode="clip")


def carry_back(values: ArrayLike, kinds: NDArray[np.int_]) -> NDArray[np.float64]:
    """The inverse of `carry`. [Q]"""
    v = jnp.asarray(values)
    share, spread = jax.nn.sigmoid(v), jnp.exp(jnp.where(kinds == 2, v, 0.0))
    back = jnp.choose(kinds, [share, v, spread, jnp.tanh(v), share], mode="clip")
    return np.asarray(back, float)


def slopes(values: NDArray[np.float64], kinds: NDArray[np.int_]) -> NDArray[np.float64]:
    """Derivatives of `carry_back` at the carried values. [Q]"""
    return np.choose(kinds, [odds := values * (1 - values), np.ones_like(values), values, 1 - values**2, odds])


def without_what_touches_zero(
    errors: NDArray[np.float64], values: NDArray[np.float64], kinds: NDArray[np.int_]
) -> tuple[NDArray[np.float64], str]:
    """Errors of carried parameters [Q], zero for a background's weight that cannot be told from none, and a note."""
    apart = (errors > 0) & (values > FROM_ZERO * errors * slopes(values, kinds))
    near = (kinds == KINDS.index("background")) & ~apart
    if not np.any(near):
        return errors, ""
    note = f"the background's weight lies within {FROM_ZERO:g} standard errors of 0 and has no interval"
    return np.where(near, 0.0, errors), note
