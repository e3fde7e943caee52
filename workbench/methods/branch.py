"""A branch that costs nothing where no restart of a batch takes it."""

from collections.abc import Callable
from typing import TypeVar

import jax
import jax.numpy as jnp
from jax import Array

Carry = TypeVar("Carry")


def only_where(predicate: Array, change: Callable[[Carry], Carry], carry: Carry) -> Carry:
    """`change(carry)` where the predicate holds, else the carry.

    It is a loop of at most one turn, so that nothing is computed unless the predicate holds for some restart of the
    batch. Under `vmap`, a `cond` computes both sides.
    """

    def turn(state: tuple[Array, Carry]) -> tuple[Array, Carry]:
        return jnp.zeros_like(state[0]), change(state[1])

    return jax.lax.while_loop(lambda state: state[0], turn, (predicate, carry))[1]
