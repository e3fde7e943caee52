"""Equivalence class representatives (ECR): the allocations of the draws are matched to a pivot's.

Papastamoulis & Iliopoulos (2010), "An artificial allocations based solution to the label switching problem in Bayesian
analysis of mixtures of distributions", J. Comput. Graph. Statist. 19; the iterative versions are those of
Papastamoulis (2016), "label.switching", J. Stat. Softw. 69. The allocation of a draw is the most probable
component of every point.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from workbench.mixture import Mixture
from workbench.posterior.relabelling.assignment import best_orders, settle
from workbench.posterior.relabelling.base import Draws, in_line, most_probable, relabelled, responsibilities
from workbench.problem import Problem


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
