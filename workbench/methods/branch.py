"""Branches that cost nothing where no restart of a batch takes them."""

from collections.abc import Callable
from typing import Any, TypeVar

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


def one_by_one(predicate: Array, change: Callable[[Carry], Carry], carry: Carry) -> Carry:
    """`change(carry)` where the predicate holds, else the carry; the restarts of a batch run one after the other.

    It suits a change whose arrays are long vectors for a single restart. Run together, the restarts would not fit into
    the processor's cache, each loop inside the change would last as long as that of the slowest restart, and every turn
    of such a loop would copy its whole carry by a select. Besides the carry, the change may read only arrays that all
    restarts share.
    """

    @jax.custom_batching.custom_vmap
    def alone(predicate: Array, carry: Carry) -> Carry:
        return only_where(predicate, change, carry)

    @alone.def_vmap
    def in_order(size: int, batched: Any, predicate: Array, carry: Carry) -> tuple[Carry, Any]:
        assert all(jax.tree.leaves(batched)), "the restarts of a batch share none of what they carry"

        def turn(place: Array, carries: Carry) -> Carry:
            own = jax.tree.map(lambda leaf: leaf[place], carries)
            changed = only_where(predicate[place], change, own)
            return jax.tree.map(lambda leaf, new: leaf.at[place].set(new), carries, changed)

        end = only_where(jnp.any(predicate), lambda now: jax.lax.fori_loop(0, size, turn, now), carry)
        return end, jax.tree.map(lambda _: True, carry)

    return alone(predicate, carry)
