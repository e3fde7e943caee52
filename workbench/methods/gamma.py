"""Gamma numbers, many at a time."""

import jax
import jax.numpy as jnp
from jax import Array

from workbench.methods.branch import only_where
from workbench.mixture.logarithm import log

# Of so many numbers one at most waits, as a rule, after the first proposals: at shape one, where refusals are most
# frequent, 1 of 20. Those that wait are gathered, so that the next proposals are not made for all again, and get some
# at once, of which the last is hardly ever needed.
WAITING, AT_ONCE = 8, 3


def log_gamma_draws(key: Array, shapes: Array) -> Array:
    """Logarithms of independent gamma numbers of these shapes and scale one; any array.

    By rejection (Marsaglia & Tsang 2000, "A simple method for generating gamma variables", ACM Trans. Math. Software
    26), side by side: `jax.random.loggamma` loops for each number by itself. A shape below one is raised by one, and
    lowered again by a power of a uniform number.
    """
    flat = shapes.ravel()
    size, low = flat.size, flat < 1.0
    raised = jnp.where(low, flat + 1.0, flat)
    key_first, key_next, key_low = jax.random.split(key, 3)
    found, refused = _proposed(key_first, raised)
    few = max(1, size // WAITING)

    def again(carry: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
        number, found, waits = carry
        places = jnp.nonzero(waits, size=few, fill_value=size)[0]
        wanted = jnp.broadcast_to(raised[jnp.minimum(places, size - 1)], (AT_ONCE, few))
        proposed, refused = _proposed(jax.random.fold_in(key_next, number), wanted)
        value, left = proposed[-1], refused[-1]
        for turn in reversed(range(AT_ONCE - 1)):
            value, left = jnp.where(refused[turn], value, proposed[turn]), refused[turn] & left
        return number + 1, found.at[places].set(value, mode="drop"), waits.at[places].set(left, mode="drop")

    _, found, _ = jax.lax.while_loop(lambda carry: jnp.any(carry[2]), again, (jnp.asarray(0), found, refused))

    def lower(values: Array) -> Array:
        uniform = 1.0 - jax.random.uniform(key_low, values.shape, values.dtype)
        return values + jnp.where(low, log(uniform) / flat, 0.0)

    return only_where(jnp.any(low), lower, found).reshape(shapes.shape)


def _proposed(key: Array, shapes: Array) -> tuple[Array, Array]:
    """One proposal for each of some shapes of at least one, and whether it is refused."""
    key_normal, key_uniform = jax.random.split(key)
    d = shapes - 1.0 / 3.0
    x = jax.random.normal(key_normal, shapes.shape, shapes.dtype)
    root = 1.0 + x / jnp.sqrt(9.0 * d)
    usable = root > 0.0
    root = jnp.where(usable, root, 1.0)
    log_cube = 3.0 * log(root)
    # Above zero and at most one.
    uniform = 1.0 - jax.random.uniform(key_uniform, shapes.shape, shapes.dtype)
    accepted = usable & (log(uniform) < 0.5 * x**2 + d * (1.0 - root**3 + log_cube))
    return log(d) + log_cube, ~accepted
