"""Branches that cost nothing where no restart of a batch takes them."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import Array

from workbench.methods.base import one_by_one, only_where

# Loops of different length for each restart.
LONG = jnp.asarray([3, 0, 7, 1])


def doubled(carry: tuple[Array, Array]) -> tuple[Array, Array]:
    """The number doubled so many times."""
    count, number = carry
    return count, jax.lax.fori_loop(0, count, lambda _, now: 2.0 * now, number)


@pytest.mark.parametrize("branch", [only_where, one_by_one])
@pytest.mark.parametrize("taken", [[True, True, True, True], [True, False, True, False], 4 * [False]])
def test_each_restart_of_a_batch_changes_where_its_own_predicate_holds(
    branch: Callable[..., tuple[Array, Array]], taken: list[bool]
) -> None:
    step = jax.jit(jax.vmap(lambda holds, count, number: branch(holds, doubled, (count, number))))
    _, found = step(jnp.asarray(taken), LONG, jnp.arange(1.0, 5.0))
    expected = np.arange(1.0, 5.0) * np.where(taken, 2.0 ** np.asarray(LONG), 1.0)
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("holds", [True, False])
def test_without_a_batch_it_is_a_plain_branch(holds: bool) -> None:
    _, found = jax.jit(lambda: one_by_one(jnp.asarray(holds), doubled, (jnp.asarray(3), jnp.asarray(1.0))))()
    assert found == (8.0 if holds else 1.0)
