"""Gamma random numbers, many at a time."""

import jax
import jax.numpy as jnp
from jax import Array

from workbench.methods.branch import only_where
from workbench.mixture.arithmetic import log

# After the first proposals, at most one number in WAITING is still to be drawn, as a rule: 1 in 20 at shape one, where
# refusals are most frequent. These are gathered, so that further proposals are made for them only, AT_ONCE for each at
# a time; the last of these is hardly ever needed.
WAITING, AT_ONCE = 8, 3


def log_gamma_draws(key: Array, shapes: Array) -> Array:
    """Logarithms of independent gamma numbers with these shapes, an array of any dimensions, and scale one.

    It draws all numbers together by rejection (Marsaglia & Tsang 2000, "A simple method for generating gamma
    variables", ACM Trans. Math. Software 26), where `jax.random.loggamma` loops for each number separately. A shape
    below one is raised by one, and the number is then multiplied by a power of a uniform number.
    """
    flat = shapes.ravel()
    size, low = flat.size, flat < 1.0
    raised = jnp.where(low, flat + 1.0, flat)
    key_first, key_next, key_low = jax.random.split(key, 3)
    draws, refused = _proposed(key_first, raised)
    few = max(1, size // WAITING)

    def again(carry: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
        turn, draws, waiting = carry
        places = jnp.nonzero(waiting, size=few, fill_value=size)[0]
        shapes = jnp.broadcast_to(raised[jnp.minimum(places, size - 1)], (AT_ONCE, few))
        proposed, refused = _proposed(jax.random.fold_in(key_next, turn), shapes)
        value, still = proposed[-1], refused[-1]
        for i in reversed(range(AT_ONCE - 1)):
            value, still = jnp.where(refused[i], value, proposed[i]), refused[i] & still
        return turn + 1, draws.at[places].set(value, mode="drop"), waiting.at[places].set(still, mode="drop")

    _, draws, _ = jax.lax.while_loop(lambda carry: jnp.any(carry[2]), again, (jnp.asarray(0), draws, refused))

    def lower(values: Array) -> Array:
        uniform = 1.0 - jax.random.uniform(key_low, values.shape, values.dtype)
        return values + jnp.where(low, log(uniform) / flat, 0.0)

    return only_where(jnp.any(low), lower, draws).reshape(shapes.shape)


def _proposed(key: Array, shapes: Array) -> tuple[Array, Array]:
    """One proposal for each shape, all of which are at least one, and whether it is refused."""
    key_normal, key_uniform = jax.random.split(key)
    d = shapes - 1.0 / 3.0
    x = jax.random.normal(key_normal, shapes.shape, shapes.dtype)
    root = 1.0 + x / jnp.sqrt(9.0 * d)
    usable = root > 0.0
    root = jnp.where(usable, root, 1.0)
    log_cube = 3.0 * log(root)
    # The difference is above zero and at most one.
    uniform = 1.0 - jax.random.uniform(key_uniform, shapes.shape, shapes.dtype)
    accepted = usable & (log(uniform) < 0.5 * x**2 + d * (1.0 - root**3 + log_cube))
    return log(d) + log_cube, ~accepted
