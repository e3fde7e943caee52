"""Supplemented EM: the covariance of the estimate from EM steps and the complete information alone.

Meng & Rubin (1991), "Using EM to obtain asymptotic variance-covariance matrices: the SEM algorithm", JASA 86.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jax.flatten_util import ravel_pytree

from workbench.geometry.curvature import Coordinated, raveled
from workbench.geometry.standard_errors.natural import covariance_of
from workbench.mixture import Mixture
from workbench.problem import Problem

# A row of DM is settled when no entry changes by more from one iteration to the next: the root of the precision of
# EM's own end, as the paper has it (sec. 3.3). A smaller one would ask for digits that the differences do not have.
SETTLED = 1e-7

# Closer to the estimate than this, differences are mostly rounding.
CLOSEST = 1e-9

MOST_STEPS = 10_000


class Supplemented(NamedTuple):
    """In the raveled coordinates of a chart; P numbers."""

    covariance: Array  # [P, P]   symmetric only as far as the differences are exact
    jacobian: Array  # [P, P]   DM, entry (i, j) the derivative of the i-th image in the j-th coordinate
    change: Array  # [P]   of each coordinate's derivatives in the iteration that they are taken from
    passes: Array  # []


class _Path(NamedTuple):
    u: Array  # [P]   an iterate of EM on its way to the estimate
    rates: Array  # [P, P]   row i: differences of the map along coordinate i there
    kept: Array  # [P, P]   the rows as they changed least
    change: Array  # [P]   by how much those did
    steps: Array


def supplemented(
    problem: Problem, estimate: Mixture, start: Mixture, chart: Coordinated, complete: Array
) -> Supplemented:
    """`(I - DM)^-1 complete^-1`, DM by differences of the EM map along a run of EM from `start` (eq. 2.3.5, 3.3.1).

    In every iteration the map is forced once for each coordinate: applied to the estimate with that coordinate alone
    taken from the run. A row of DM is taken where it changes least. An iteration costs P + 1 passes.

    Args:
        problem: whose prior has a closed-form M-step.
        estimate: a fixed point of EM.
        start: of the run, near enough to lead there.
        chart: one without a redundant direction.
        complete: information at the estimate. [P, P]
    """
    target, constrain = raveled(estimate, chart)
    p = len(target)

    def em_map(v: Array) -> Array:
        return ravel_pytree(chart.unconstrain(problem.em_step(constrain(v))[0]))[0]

    def forced(u: Array) -> Array:
        def row(i: Array) -> Array:
            return (em_map(target.at[i].set(u[i])) - target) / (u[i] - target[i])

        return jax.vmap(row)(jnp.arange(p))

    def step(path: _Path) -> _Path:
        rates = forced(path.u)
        change = jnp.max(jnp.abs(rates - path.rates), axis=1)
        better = change < path.change  # False where a coordinate is at its end, and the difference is no number
        kept = jnp.where(better[:, None], rates, path.kept)
        return _Path(em_map(path.u), rates, kept, jnp.where(better, change, path.change), path.steps + 1)

    def goes_on(path: _Path) -> Array:
        near = jnp.max(jnp.abs(path.u - target)) < CLOSEST
        return jnp.any(path.change > SETTLED) & ~near & (path.steps < MOST_STEPS)

    unknown = jnp.full((p, p), jnp.inf, target.dtype)
    begin = _Path(raveled(start, chart)[0], unknown, unknown, unknown[0], jnp.asarray(0))
    end = jax.lax.while_loop(goes_on, step, begin)
    jacobian = end.kept.T
    covariance = jnp.linalg.solve(jnp.eye(p, dtype=target.dtype) - jacobian, covariance_of(complete))
    return Supplemented(covariance, jacobian, end.change, (p + 1) * end.steps)
