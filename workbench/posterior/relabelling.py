"""Relabelling algorithms, looked up by name in `RELABELLINGS`, after R's package label.switching.

Equivalence class representatives (ECR), which match the allocations of the draws to a pivot's: Papastamoulis &
Iliopoulos (2010), "An artificial allocations based solution to the label switching problem in Bayesian analysis of
mixtures of distributions", J. Comput. Graph. Statist. 19; the iterative versions are those of Papastamoulis (2016),
"label.switching", J. Stat. Softw. 69. The allocation of a draw is the most probable component of every point.

Stephens' algorithm: Stephens (2000), "Dealing with label switching in mixture models", JRSS B 62, algorithm 2.

Pivotal reordering: Marin, Mengersen & Robert (2005), "Bayesian modelling and inference on mixtures of distributions",
Handbook of Statistics 25, take the order of largest scalar product with the pivot, the draw of highest log_joint.
Lengths do not depend on the order, so it is also the order of least Euclidean distance.

Data-based relabelling: Rodriguez & Walker (2014), "Label switching in Bayesian mixture models: deterministic relabeling
strategies", J. Comput. Graph. Statist. 23, algorithms 5 and 6. Their running averages depend on the order of the draws.
Here means and standard deviations are averaged over all draws, again after each relabelling, until the labels no longer
change.
"""

import time
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from workbench.mixture import Mixture
from workbench.posterior.permutations import (
    Draws,
    Relabelling,
    apply,
    best_orders,
    in_line,
    most_probable,
    relabelled,
    responsibilities,
    settle,
)
from workbench.problem import Problem

__all__ = ["RELABELLINGS", "Relabelled", "Relabelling", "agreement", "agreement_matrix", "apply", "timed"]


def ordering(mixtures: Mixture, log_joint: np.ndarray, problem: Problem, *, coordinate: int = 0) -> np.ndarray:
    """Orders in which one coordinate of the means increases. [R, S, K]

    This is the artificial identifiability constraint (Diebolt & Robert 1994, JRSS B 56). It is the cheapest algorithm,
    and gives wrong labels where components differ in something else (Stephens 2000).
    """
    return np.argsort(np.asarray(mixtures.means)[..., coordinate], axis=-1, kind="stable")


def ecr(mixtures: Mixture, log_joint: np.ndarray, problem: Problem) -> np.ndarray:
    """Orders with most points in the component that they have in the pivot, the draw of highest log_joint. [R, S, K]"""
    draws = in_line(mixtures, log_joint, problem)
    allocations = most_probable(responsibilities(draws.mixtures, draws.x))
    return np.asarray(best_orders(_mismatches(allocations, allocations[draws.best]))).reshape(draws.shape)


def ecr_iterative_1(mixtures: Mixture, log_joint: np.ndarray, problem: Problem) -> np.ndarray:
    """ECR repeated until its pivot, the most frequent component of each point, no longer changes. [R, S, K]"""
    draws = in_line(mixtures, log_joint, problem)
    allocations = most_probable(responsibilities(draws.mixtures, draws.x))
    return _iterated(draws, allocations, lambda orders: relabelled(allocations, orders))


def ecr_iterative_2(mixtures: Mixture, log_joint: np.ndarray, problem: Problem) -> np.ndarray:
    """ECR repeated until its pivot, the component of highest mean responsibility, no longer changes. [R, S, K]"""
    draws = in_line(mixtures, log_joint, problem)
    member = responsibilities(draws.mixtures, draws.x)
    return _iterated(draws, most_probable(member), lambda orders: relabelled(member, orders))


def _iterated(draws: Draws, allocations: Array, votes: Callable[[Array], Array]) -> np.ndarray:
    """ECR with, as the pivot, the component that has most of the votes [S, N, K] for each point."""

    def costs_given(orders: Array) -> Array:
        return _mismatches(allocations, most_probable(jnp.mean(votes(orders), 0)))

    orders = settle(costs_given, _mismatches(allocations, allocations[draws.best]))
    return np.asarray(orders).reshape(draws.shape)


@jax.jit
def _mismatches(allocations: Array, pivot: Array) -> Array:
    """Minus the number of points that are in component j of a draw and in k of the pivot. [S, K, K]"""
    return -jnp.einsum("nk,snj->skj", pivot, allocations)


# Smallest probability in the first reference, which is a single draw, so that it excludes no component for a point.
# Means over the draws are not bounded.
SMOOTHED = 1e-6


def stephens(mixtures: Mixture, log_joint: np.ndarray, problem: Problem) -> np.ndarray:
    """Orders of least divergence `sum_n sum_k p_nk ln(p_nk / q_nk)`, with q the mean of all relabelled p. [R, S, K]

    Neither of the two steps of a round raises the sum over the draws, so the algorithm ends at a local minimum.
    """
    draws = in_line(mixtures, log_joint, problem)
    member = responsibilities(draws.mixtures, draws.x)

    def costs_given(orders: Array) -> Array:
        return _divergences(member, jnp.mean(relabelled(member, orders), 0))

    start = jnp.maximum(member[draws.best], SMOOTHED)
    return np.asarray(settle(costs_given, _divergences(member, start))).reshape(draws.shape)


@jax.jit
def _divergences(member: Array, mean: Array) -> Array:
    """Divergence of component j from the mean in place k, up to terms that do not depend on the place. [S, K, K]"""
    # A mean is zero only if every draw is, and its logarithm then has the factor zero.
    logs = jnp.log(jnp.maximum(mean, np.finfo(mean.dtype).tiny))
    return -jnp.einsum("nk,snj->skj", logs, member)


# The cost of an order in which a component of known rows would leave its place.
NEVER = 1e30


def pivotal(mixtures: Mixture, log_joint: np.ndarray, problem: Problem) -> np.ndarray:
    """Orders closest to the pivot in weights, means and deviations, in standard deviations of the data. [R, S, K]

    Components of which rows are known keep their places.
    """
    draws = in_line(mixtures, log_joint, problem)
    points = _coordinates(draws.mixtures, jnp.std(draws.x, 0))
    costs = _distances(points, points[draws.best])
    if problem.interchangeable is not None:
        costs = jnp.where(problem.interchangeable, costs, NEVER)
    return np.asarray(best_orders(costs)).reshape(draws.shape)


@jax.jit
def _coordinates(mixtures: Mixture, units: Array) -> Array:
    """Weight, means and standard deviations of each component. [S, K, 1 + 2 D]"""
    trils = jax.vmap(lambda mixture: mixture.scale_trils)(mixtures)
    deviations = jnp.sqrt(jnp.sum(trils**2, -1))  # [S, K, D]
    return jnp.concatenate([mixtures.weights[..., None], mixtures.means / units, deviations / units], -1)


@jax.jit
def _distances(points: Array, pivot: Array) -> Array:
    """Squared distance of component j from the pivot's k. [S, K, K]"""
    return jnp.sum((points[:, None] - pivot[:, None]) ** 2, -1)


# Smallest standard deviation of a group, as a share of that of the data; groups of equal values would have none.
NARROWEST = 1e-6


class Groups(NamedTuple):
    """Statistics of the points in each component of each draw."""

    counts: Array  # [S, K]
    means: Array  # [S, D, K]
    scatters: Array  # [S, D, K]   sums of squares about the means


def data_based(mixtures: Mixture, log_joint: np.ndarray, problem: Problem) -> np.ndarray:
    """Orders of least `sum_n sum_d ((x_nd - m_kd) / s_kd)^2` over the points n in component k. [R, S, K]"""
    draws = in_line(mixtures, log_joint, problem)
    x = jnp.asarray(draws.x)
    groups = _groups(most_probable(responsibilities(draws.mixtures, x)), x)
    one = jax.tree.map(lambda leaf: leaf[draws.best][None], groups)
    orders = settle(lambda orders: _losses(groups, *_estimates(groups, orders, x)), _first(groups, one, x))
    return np.asarray(orders).reshape(draws.shape)


def _first(groups: Groups, one: Groups, x: Array) -> Array:
    """Losses about the groups of one draw, whose order is kept."""
    return _losses(groups, *_estimates(one, jnp.arange(groups.counts.shape[1])[None], x))


@jax.jit
def _groups(allocations: Array, x: Array) -> Groups:
    counts = jnp.sum(allocations, 1)
    filled = jnp.maximum(counts, 1.0)[:, None]
    means = jnp.einsum("snk,nd->sdk", allocations, x) / filled
    centre = jnp.mean(x, 0)
    about = jnp.einsum("snk,nd->sdk", allocations, (x - centre) ** 2)
    # Sums are taken about the data's mean, so that columns far from zero do not cancel.
    return Groups(counts, means, jnp.maximum(about - filled * (means - centre[:, None]) ** 2, 0.0))


@jax.jit
def _estimates(groups: Groups, orders: Array, x: Array) -> tuple[Array, Array]:
    """Mean over the draws of each component's mean and standard deviation, where it has points. [D, K], [D, K]

    A component without a point in any draw gets those of the data.
    """
    counts, means, scatters = (relabelled(leaf, orders) for leaf in groups)
    some, several = (counts > 0)[:, None], (counts > 1)[:, None]
    spread = jnp.std(x, 0)[:, None]
    deviations = jnp.sqrt(scatters / jnp.maximum(counts - 1.0, 1.0)[:, None])
    mean = jnp.sum(jnp.where(some, means, 0.0), 0) / jnp.maximum(jnp.sum(some, 0), 1)
    deviation = jnp.sum(jnp.where(several, deviations, 0.0), 0) / jnp.maximum(jnp.sum(several, 0), 1)
    mean = jnp.where(jnp.any(some, 0), mean, jnp.mean(x, 0)[:, None])
    deviation = jnp.where(jnp.any(several, 0), deviation, spread)
    return mean, jnp.maximum(deviation, NARROWEST * spread)


@jax.jit
def _losses(groups: Groups, mean: Array, deviation: Array) -> Array:
    """Loss of the points of component j about the estimates of place k. [S, K, K]"""
    counts, means, scatters = groups
    off = (means[:, :, None, :] - mean[:, :, None]) ** 2  # [S, D, K, K]
    return jnp.sum((counts[:, None, None] * off + scatters[:, :, None]) / deviation[:, :, None] ** 2, 1)


RELABELLINGS: dict[str, Relabelling] = {
    "ordering": ordering,
    "ecr": ecr,
    "ecr_iterative_1": ecr_iterative_1,
    "ecr_iterative_2": ecr_iterative_2,
    "stephens": stephens,
    "pivotal": pivotal,
    "data_based": data_based,
}


class Relabelled(NamedTuple):
    """The result of one algorithm and its cost."""

    permutations: np.ndarray  # [R, S, K]
    seconds: float
    compile_seconds: float


def timed(relabelling: Relabelling, mixtures: Mixture, log_joint: np.ndarray, problem: Problem) -> Relabelled:
    """Relabel twice: the first call compiles, and the second is timed."""
    mixtures = jax.block_until_ready(mixtures)
    begun = time.perf_counter()
    relabelling(mixtures, log_joint, problem)
    compiled = time.perf_counter()
    permutations = relabelling(mixtures, log_joint, problem)
    seconds = time.perf_counter() - compiled
    return Relabelled(permutations, seconds, max(compiled - begun - seconds, 0.0))


def agreement(one: np.ndarray, other: np.ndarray) -> float:
    """Share of the draws on which two sets of permutations [R, S, K] agree, up to one permutation common to all."""
    k = one.shape[-1]
    # The place in one algorithm's order of the component that the other puts in place k. It is the same for all draws
    # if the two agree.
    places = np.argsort(one.reshape(-1, k), axis=-1)
    relative = np.take_along_axis(places, other.reshape(-1, k), axis=-1)
    return float(np.unique(relative, axis=0, return_counts=True)[1].max() / len(relative))


def agreement_matrix(permutations: dict[str, np.ndarray]) -> np.ndarray:
    """`agreement` of every pair, in the order of the dictionary; symmetric, ones on the diagonal. [M, M]"""
    return np.array([[agreement(a, b) for b in permutations.values()] for a in permutations.values()])
