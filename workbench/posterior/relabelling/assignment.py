"""The best order of each draw's components, given the cost of each component in each place."""

from collections.abc import Callable
from functools import cache
from itertools import permutations

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

# Up to this many components all K! orders are tabulated; beyond it, an assignment problem is solved for each draw.
TABULATED = 6

# Most rounds of an iterative algorithm. Each round lowers a bounded criterion, and few runs take more than ten.
ROUNDS = 100


def best_orders(costs: Array) -> Array:
    """The order of least total cost, `sum_k costs[s, k, order[k]]`, of every draw. [S, K]

    Args:
        costs: of component j in place k, [S, K, K]. NaN counts as zero.
    """
    k = costs.shape[-1]
    finite = jnp.nan_to_num(costs, nan=0.0)
    if k <= TABULATED:
        return _tabulated(finite, jnp.asarray(table(k)))
    # The import stands here because it takes a tenth of the time that importing the package may take.
    from scipy.optimize import linear_sum_assignment

    return jnp.asarray(np.stack([linear_sum_assignment(each)[1] for each in np.asarray(finite)]))


def settle(costs_given: Callable[[Array], Array], first: Array) -> Array:
    """A fixed point: orders that are the best under the costs that follow from them. [S, K]

    Args:
        costs_given: gives the costs [S, K, K] relative to a reference that is made from the draws in orders [S, K].
        first: the first costs.
    """
    orders = best_orders(first)
    for _ in range(ROUNDS):
        better = best_orders(costs_given(orders))
        if bool(jnp.all(better == orders)):
            break
        orders = better
    return orders


@cache
def table(components: int) -> np.ndarray:
    """All orders of K components, the identity first. [K!, K]"""
    return np.array(list(permutations(range(components))))


@jax.jit
def _tabulated(costs: Array, orders: Array) -> Array:
    totals = sum(costs[:, k, orders[:, k]] for k in range(orders.shape[1]))  # [S, K!]
    return orders[jnp.argmin(jnp.asarray(totals), axis=1)]
