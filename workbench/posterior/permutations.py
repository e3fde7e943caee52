"""Permutations of the labels of draws: how they are applied, and the best one of each draw for given costs.

A permutation states which component goes in which place: `order[k]` is the component of the draw that gets the label k,
as in `Mixture.permute`. An algorithm that needs a reference begins at the draw of highest log_joint, so that its result
does not depend on the labels as sampled, up to one permutation common to all draws.
"""

from collections.abc import Callable
from functools import cache
from itertools import permutations
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from workbench.data import even_rows
from workbench.mixture import Mixture
from workbench.problem import Problem

# Mixtures with leaves [R, S, ...], their log_joint [R, S] and the problem -> permutations [R, S, K].
Relabelling = Callable[[Mixture, np.ndarray, Problem], np.ndarray]

# Most observations that the algorithms use, spread evenly over the data. More rows would not make labels clearer.
FOLLOWED_ROWS = 1000

# Draws whose responsibilities are computed together.
BATCH = 64


class Draws(NamedTuple):
    """The concatenated draws of all chains."""

    mixtures: Mixture  # leaves [S, ...]
    best: int  # the draw of highest log_joint
    x: np.ndarray  # [N, D]   an even sample of the observations
    shape: tuple[int, ...]  # of the permutations: R, S, K


def in_line(mixtures: Mixture, log_joint: np.ndarray, problem: Problem) -> Draws:
    """Concatenate the draws of all chains."""
    flat = jax.tree.map(lambda leaf: jnp.reshape(leaf, (-1, *leaf.shape[2:])), mixtures)
    scores = np.ravel(log_joint)
    best = int(np.argmax(np.where(np.isfinite(scores), scores, -np.inf)))
    rows, weights = problem.sample, problem.sample_weights
    step = -(-len(rows) // FOLLOWED_ROWS)
    followed = rows[::step] if weights is None else rows[even_rows(weights, FOLLOWED_ROWS)]
    return Draws(flat, best, followed, np.shape(mixtures.weights))


def apply(permutations: np.ndarray, mixtures: Mixture) -> Mixture:
    """Every draw with its components in the given order; densities do not change. Leaves [R, S, ...]"""
    return _permuted(mixtures, jnp.asarray(permutations))


@jax.jit
def _permuted(mixtures: Mixture, permutations: Array) -> Mixture:
    return jax.vmap(jax.vmap(Mixture.permute))(mixtures, permutations)


@jax.jit
def responsibilities(mixtures: Mixture, x: Array) -> Array:
    """P(k | x_n) under every draw. [S, N, K]"""
    return jnp.asarray(jax.lax.map(lambda mixture: mixture.responsibilities(x), mixtures, batch_size=BATCH))


def most_probable(member: Array) -> Array:
    """One for the most probable component of each point, zero for the others. [S, N, K]"""
    return jax.nn.one_hot(jnp.argmax(member, -1), member.shape[-1], dtype=member.dtype)


def relabelled(values: Array, orders: Array) -> Array:
    """Values [S, ..., K] of the components in each draw's order [S, K]."""
    return jnp.take_along_axis(values, orders.reshape(len(orders), *[1] * (values.ndim - 2), -1), axis=-1)


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
