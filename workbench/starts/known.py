"""Starts that respect what is known of components: in the order of labelled rows, at them, with fixed parameters."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from workbench.data.known import UNKNOWN
from workbench.mixture import Mixture
from workbench.mixture.fixed import Held
from workbench.mixture.matching import assignment
from workbench.problem import Problem

# The lowest log-joint that counts: one of minus infinity would make all orders equal.
LOWEST = -1e100

# At most so many known rows decide over the order of a start's components, evenly spaced over them.
MOST_ROWS = 2**12


def beside_background(problem: Problem, drawn: Mixture) -> Mixture:
    """The starts with the problem's background, if it has one, unless they have their own. Leaves [R, ...]"""
    if problem.background is None or drawn.background is not None:
        return drawn
    weights = jnp.full(len(drawn.weights), problem.background.weight)
    return replace(drawn, background=problem.background.weighing(weights))


def respecting(problem: Problem, drawn: Mixture, *, keeps_means: bool = False) -> Mixture:
    """The starts with components that agree with known rows and fixed parameters of a problem. Leaves [R, ...]

    Without any the starts stay as they are. Where the problem has a background, starts without one get it. With fixed
    parameters alone, the components of each start are put into the order in which they are nearest to the fixed values,
    which they then take.

    The components of each start are put into the order under which the known rows are most probable. Then a component
    of which enough rows are known for a covariance of its own, D + 1 of them, begins at their mean. The weights, the
    covariances and all other means stay as drawn, so that starts differ as before. Mixtures that the user states
    (`keeps_means`) are put into the order only.
    """
    known = problem.known
    drawn = beside_background(problem, drawn)
    if known is None:
        return drawn if problem.held is None else _settled(problem, _nearest_to_fixed(problem, problem.held, drawn))
    k, d = problem.components, problem.num_dimensions
    rows = np.flatnonzero(known.components != UNKNOWN)
    counts = np.ones(len(rows)) if problem.sample_weights is None else problem.sample_weights[rows]
    own = known.components[rows, None] == np.arange(k)  # [M, K]
    x = problem.sample[rows]
    some = np.unique(np.linspace(0, len(rows) - 1, min(len(rows), MOST_ROWS)).astype(int))
    ordered = np.stack([_order(joint, (own * counts[:, None])[some]) for joint in _log_joints(drawn, x[some])])
    placed = jax.vmap(Mixture.permute)(jax.tree.map(jnp.asarray, drawn), jnp.asarray(ordered))
    if keeps_means:
        return _settled(problem, placed)
    sizes = counts @ own
    centres = (own * counts[:, None]).T @ x / np.maximum(sizes, np.finfo(float).tiny)[:, None]
    means = np.where((sizes >= d + 1)[:, None], centres, np.asarray(placed.means))
    return _settled(problem, replace(placed, means=jnp.asarray(means, placed.means.dtype)))


def _settled(problem: Problem, drawn: Mixture) -> Mixture:
    return jax.vmap(problem.settled)(jax.tree.map(jnp.asarray, drawn))


def _nearest_to_fixed(problem: Problem, held: Held, drawn: Mixture) -> Mixture:
    """Each start in the order of least distance to the fixed means, in units of the data, and log-weights."""
    inverse = np.asarray(problem.rows.inverse)
    orders = []
    for weights, means in zip(np.asarray(drawn.weights), np.asarray(drawn.means), strict=True):
        # Values far beyond the data overflow, and count as far away.
        with np.errstate(over="ignore", invalid="ignore"):
            gaps = (held.means[:, None] - means) @ inverse.T  # [K, K, D]   NaN where the mean is free
            apart = np.minimum(np.nansum(gaps**2, axis=-1), -LOWEST)
        with np.errstate(divide="ignore", invalid="ignore"):
            apart += np.nan_to_num((np.log(held.weights)[:, None] - np.log(weights)) ** 2, posinf=-LOWEST)
        orders.append(assignment(apart))
    return jax.vmap(Mixture.permute)(jax.tree.map(jnp.asarray, drawn), jnp.asarray(np.stack(orders)))


def _order(joint: NDArray[np.float64], members: NDArray[np.float64]) -> NDArray[np.intp]:
    """The component in each place under which rows are most probable, from log-joints and known members [M, K]. [K]"""
    return assignment(-(members.T @ np.maximum(joint, LOWEST)))


def _log_joints(drawn: Mixture, x: NDArray[np.float64]) -> list[NDArray[np.float64]]:
    """`ln pi_k N(x_n | mu_k, Sigma_k)` of rows [M, D] up to a constant, for each start, on the host. R times [M, K]"""
    trils = np.asarray(jax.vmap(lambda mixture: mixture.scale_trils)(drawn))
    found = []
    for weights, means, tril in zip(np.asarray(drawn.weights), np.asarray(drawn.means), trils, strict=True):
        white = np.linalg.solve(tril, np.moveaxis(x - means[:, None], 1, 2))  # [K, D, M]
        with np.errstate(divide="ignore"):
            constant = np.log(weights) - np.sum(np.log(np.diagonal(tril, axis1=1, axis2=2)), axis=1)
        found.append((constant[:, None] - 0.5 * np.sum(white**2, axis=1)).T)
    return found
