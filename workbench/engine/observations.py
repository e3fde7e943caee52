"""The observations that weighted rows stand for: w equal ones for a row of weight w, in the order of the rows."""

import jax
import jax.numpy as jnp
from jax import Array


def drawn_observations(key: Array, size: int, weights: Array, total: int | float) -> Array:
    """The rows of `size` observations that are drawn with replacement. [size]

    If the number of observations is whole, the draws begin like those of as many rows without weights: with whole
    weights they are the draws from the rows repeated in order.

    Args:
        key: random key.
        size: how many.
        weights: of the rows. [R]
        total: the number of observations, the sum of the weights; an `int` if it is whole.
    """
    ends = jnp.cumsum(weights)
    within = jax.random.uniform(jax.random.fold_in(key, 1), (size,), weights.dtype)
    place = jax.random.randint(key, (size,), 0, total) + within if isinstance(total, int) else ends[-1] * within
    return jnp.minimum(jnp.searchsorted(ends, place, side="right"), len(weights) - 1)


def every_observation(weights: Array, total: int) -> Array:
    """The row of each observation, in order, for whole weights [R] of a given sum. [total]"""
    rows = jnp.arange(len(weights))
    return jnp.repeat(rows, jnp.round(weights).astype(int), total_repeat_length=total)
