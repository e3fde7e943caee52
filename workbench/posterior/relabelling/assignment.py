"""The best order of each draw's components, given what each costs in each place."""

from collections.abc import Callable
from functools import cache
from itertools import permutations

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

# Up to so many components all K! orders are tabulated; beyond, an assignment is solved for each draw.
TABULATED = 6

# Rounds of an iterative algorithm; each lowers a bounded criterion, and few take more than ten.
ROUNDS = 100


def best_orders(costs: Array) -> Array:
    """The order of least total cost, `sum_k costs[s, k, order[k]]`, of every draw. [S, K]

    Args:
        costs: of component j in place k, [S, K, K]. What is not a number counts as nothing.
    """
    k = costs.shape[-1]
    finite = jnp.nan_to_num(costs, nan=0.0)
    if k <= TABULATED:
        return _tabulated(finite, jnp.asarray(table(k)))
    # Imported here because scipy.optimize is a tenth of the time that importing the package may take.
    from scipy.optimize import linear_sum_assignment

    return jnp.asarray(np.stack([linear_sum_assignment(each)[1] for each in np.asarray(finite)]))


def settle(costs_given: Callable[[Array], Array], first: Array) -> Array:
    """Orders that are the best under the costs that they give rise to. [S, K]

    Args:
        costs_given: costs [S, K, K] under a reference made from the draws in given orders [S, K].
        first: the costs to begin with.
    """
    orders = best_orders(first)
    for _ in range(ROUNDS):
        found = best_orders(costs_given(orders))
        if bool(jnp.all(found == orders)):
            break
        orders = found
    return orders


@cache
def table(components: int) -> np.ndarray:
    """All orders of K components, the identity first. [K!, K]"""
    return np.array(list(permutations(range(components))))


@jax.jit
def _tabulated(costs: Array, orders: Array) -> Array:
    totals = sum(costs[:, k, orders[:, k]] for k in range(orders.shape[1]))  # [S, K!]
    return orders[jnp.argmin(jnp.asarray(totals), axis=1)]
