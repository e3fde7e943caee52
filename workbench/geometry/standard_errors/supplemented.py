"""Supplemented EM: the covariance of the estimate, from nothing but EM steps and the complete information.

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

# A row of DM has converged when no entry changes by more than this from one iteration to the next: the root of the
# tolerance of EM, as in the paper (sec. 3.3). A smaller limit would need digits that the differences do not have.
SETTLED = 1e-7

# Closer to the estimate than this, the differences are mostly rounding.
CLOSEST = 1e-9

MOST_STEPS = 10_000


class Supplemented(NamedTuple):
    """The result, in the P raveled coordinates of a chart."""

    covariance: Array  # [P, P]   symmetric only up to the error of the differences
    jacobian: Array  # [P, P]   DM, entry (i, j) the derivative of the i-th image in the j-th coordinate
    change: Array  # [P]   of each coordinate's derivatives, in the iteration from which they are taken
    passes: Array  # []


class _Path(NamedTuple):
    u: Array  # [P]   an iterate of EM on its way to the estimate
    rates: Array  # [P, P]   row i: differences of the map along coordinate i there
    kept: Array  # [P, P]   each row from the iteration in which it changed least
    change: Array  # [P]   of the kept rows in that iteration
    steps: Array


def supplemented(
    problem: Problem, estimate: Mixture, start: Mixture, chart: Coordinated, complete: Array
) -> Supplemented:
    """`(I - DM)^-1 complete^-1`, with DM from differences of the EM map along a run of EM (eq. 2.3.5, 3.3.1).

    In every iteration the map is applied once for each coordinate: to the estimate with only that coordinate replaced
    by its value in the run. Each row of DM is taken from the iteration in which it changes least. An iteration costs
    P + 1 passes.

    Args:
        problem: a problem whose prior has a closed-form M-step.
        estimate: a fixed point of EM.
        start: of the run; near enough to the estimate that EM leads there.
        chart: a chart without redundant directions.
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
        better = change < path.change  # False where a coordinate equals the estimate's and the difference is NaN
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
