"""What coordinates and step sizes do: stable step sizes, equivariance under changes of units, outcomes of climbs.

Fixed-step ascent near a maximum converges below a step size that is predicted and counted. EM commutes with a change of
units, gradient ascent only in coordinates that do. Outcomes are relative to a known best value.

Near a strict maximum the objective per point is a quadratic with curvatures `lambda_i`, and a step of size h multiplies
the error along the i-th direction by `1 - h lambda_i`. The error shrinks in all directions if and only if
`h < 2 / max lambda`, the stability edge. EM has no such number to choose.
"""

from dataclasses import replace
from enum import StrEnum
from functools import partial
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from numpy.typing import ArrayLike

from workbench.charts import Chart
from workbench.diagnostics.status import RestartStatus, Status
from workbench.engine.compat.compilation import jit_by_size
from workbench.geometry.curvature import curvature, raveled
from workbench.loop.trace import Trace
from workbench.mixture import Mixture
from workbench.problem import Problem

# Curvatures below this share of the largest belong to a chart's redundant direction, and are zero up to rounding.
FLAT = 1e-10


class Modes(NamedTuple):
    """Directions at a maximum in which errors shrink independently, in the raveled coordinates of a chart."""

    curvatures: np.ndarray  # [Q]   of minus log_joint per point; Q is P without the redundant direction
    directions: np.ndarray  # [P, Q]

    @classmethod
    def of(cls, hessian: ArrayLike, num_points: int) -> "Modes":
        """The modes from the Hessian [P, P] of `log_joint` at a strict maximum."""
        values, vectors = np.linalg.eigh(-np.asarray(hessian) / num_points)
        kept = np.abs(values) > FLAT * np.max(np.abs(values))
        return cls(values[kept], vectors[:, kept])

    @property
    def edge(self) -> float:
        """The step size per point below which fixed-step ascent converges: 2 / largest curvature."""
        return float(2.0 / np.max(self.curvatures))

    @property
    def condition(self) -> float:
        """Largest over smallest curvature."""
        return float(np.max(self.curvatures) / np.min(self.curvatures))

    def displacements(self, nats: float, num_points: int) -> np.ndarray:
        """Steps away from the maximum, one along each direction, that each lower `log_joint` by `nats`. [P, Q]"""
        return np.asarray(self.directions * np.sqrt(2.0 * nats / (num_points * self.curvatures)))

    def passes(self, rate: float, start: float, within: float, limit: int) -> int | None:
        """Number of steps of size `rate` on the quadratic, from `start` nats below the maximum to `within`.

        Every direction has an equal share of the nats at the start. The result is None beyond the limit.
        """
        if rate >= self.edge:
            return None
        steps = np.arange(limit + 1)
        shrunk = np.abs(1.0 - rate * self.curvatures) ** (2.0 * steps[:, None])  # [T, Q]
        there = np.flatnonzero(start * np.mean(shrunk, axis=1) <= within)
        return int(there[0]) if len(there) else None


def displaced(maximum: Mixture, chart: Chart, step: np.ndarray) -> Mixture:
    """The mixture at the maximum's coordinates plus a step [P]."""
    u, constrain = raveled(maximum, chart)
    return constrain(u + jnp.asarray(step))


@partial(jax.jit, static_argnames=("weights", "scales"))
def ascent_passes(
    problem: Problem, start: Mixture, rates: Array, goal: Array, *, limit: int, weights: str, scales: str
) -> Array:
    """Passes of fixed-step ascent from a start until `log_joint` is at least `goal`, for each step size. [S]

    A step costs one pass. The result is one more than the limit where the goal is not reached.
    """
    u, constrain = raveled(start, Chart.of(problem, weights, scales))
    objective = jax.value_and_grad(lambda v: problem.log_joint(constrain(v)))

    def climb(rate: Array) -> Array:
        def goes_on(carry: tuple[Array, Array, Array, Array]) -> Array:
            value = carry[2]
            return (carry[0] < limit) & (value < goal)  # False where the value is NaN

        def step(carry: tuple[Array, Array, Array, Array]) -> tuple[Array, Array, Array, Array]:
            count, v, _, slope = carry
            v = v + rate * slope / problem.num_points
            return count + 1, v, *objective(v)

        count, _, value, _ = jax.lax.while_loop(goes_on, step, (jnp.asarray(0), u, *objective(u)))
        return jnp.where(value >= goal, count, limit + 1)

    return jax.vmap(climb)(rates)


@jax.jit
def em_passes(problem: Problem, start: Mixture, goal: Array, limit: Array) -> Array:
    """EM steps from a start until `log_joint` is at least `goal`; one more than the limit if that is not reached. []"""

    def goes_on(carry: tuple[Array, Mixture, Array]) -> Array:
        return (carry[0] <= limit) & (carry[2] < goal)

    def step(carry: tuple[Array, Mixture, Array]) -> tuple[Array, Mixture, Array]:
        # A step returns the value before it.
        after, value = problem.em_step(carry[1])
        return carry[0] + 1, after, value

    begin = (jnp.asarray(-1), start, jnp.asarray(-jnp.inf, start.means.dtype))
    return jax.lax.while_loop(goes_on, step, begin)[0]


Units = Literal["working", "data"]


def chart_in(problem: Problem, units: Units) -> Chart:
    """The default chart without redundant directions, in working units or in the data's original units."""
    chart = Chart.of(problem, "log_ratio", "log_cholesky")
    if units == "working":
        return chart
    plain = jnp.eye(problem.num_dimensions, dtype=problem.dtype)
    rows = replace(problem.rows, shift=jnp.zeros_like(problem.rows.shift), matrix=plain, inverse=plain)
    return chart._replace(rows=rows)


def hessian_in(problem: Problem, mixture: Mixture, units: Units) -> Array:
    """Hessian of `log_joint` in those units. [P, P]"""
    return _hessian(problem.rows.z.size, problem, mixture, units)


def _hessian_in(problem: Problem, mixture: Mixture, units: Units) -> Array:
    return curvature(problem, mixture, chart_in(problem, units)).hessian


_hessian = jit_by_size(_hessian_in, static_argnums=(2,))


@partial(jax.jit, static_argnames=("units", "steps"))
def ascent_path(problem: Problem, start: Mixture, rate: Array, *, units: Units, steps: int) -> Mixture:
    """Mixtures after 1, 2, ... steps of fixed-step ascent on `log_joint` per point. Leaves [T, ...]"""
    u, constrain = raveled(start, chart_in(problem, units))

    def step(v: Array, _: None) -> tuple[Array, Mixture]:
        v = v + rate * jax.grad(lambda w: problem.log_joint(constrain(w)))(v) / problem.num_points
        return v, constrain(v)

    return jax.lax.scan(step, u, None, length=steps)[1]


@partial(jax.jit, static_argnames="steps")
def em_path(problem: Problem, start: Mixture, *, steps: int) -> Mixture:
    """Mixtures after 1, 2, ... EM steps. Leaves [T, ...]"""

    def step(mixture: Mixture, _: None) -> tuple[Mixture, Mixture]:
        after, _value = problem.em_step(mixture)
        return after, after

    return jax.lax.scan(step, start, None, length=steps)[1]


@jax.jit
def farthest(problem: Problem, path: Mixture, other: Mixture, other_problem: Problem) -> Array:
    """The largest difference between two paths, in two different units of the same data, in nats per point. []

    The difference is that of `log_likelihood` at the same step, without the constant that the change of units adds. It
    is NaN if a path is not finite.
    """

    def per_point(each: Problem, mixture: Mixture) -> Array:
        return each.log_likelihood(mixture) / each.num_points + each.rows.log_determinant

    ours = jax.vmap(partial(per_point, problem))(path)
    theirs = jax.vmap(partial(per_point, other_problem))(other)
    return jnp.max(jnp.abs(ours - theirs))


class Outcome(StrEnum):
    """The outcome of a climb; exactly one applies."""

    REACHED = "reached"  # ended within the tolerance of the best
    LEFT = "left_the_mixtures"  # a step gave a negative weight or a matrix that is no covariance
    COLLAPSED = "collapsed"  # ran into a singularity
    DIVERGED = "diverged"  # a number is not finite, log_joint fell, or a line search found no rise
    WORSE = "worse_optimum"  # stopped by its own rule, far below the best
    SHORT = "stopped_short"  # stopped by its own rule at the best, but not within the tolerance
    UNFINISHED = "out_of_budget"


# A climb that stops within so many nats of the best is at the same optimum; beyond the tolerance, its rule was too lax.
SAME = 1e-3


def outcomes(trace: Trace, statuses: list[RestartStatus], best: float, within: float) -> list[Outcome]:
    """The outcome of every restart of a trace, which is not a sampler's. [R]

    Args:
        trace: of a method that climbs.
        statuses: of its restarts.
        best: log_joint to reach.
        within: tolerance in nats.
    """
    return [_outcome(trace, r, ended.status, best, within) for r, ended in enumerate(statuses)]


def passes_to(trace: Trace, found: list[Outcome], best: float, within: float) -> np.ndarray:
    """Passes at the first row within the tolerance of the best; NaN for restarts that do not end within it. [R]

    Rows are at marks a tenth apart, so that the number of passes is accurate to a tenth.
    """
    first = np.argmax(np.abs(trace.log_joint - best) <= within, axis=1)
    passes = trace.passes[np.arange(len(first)), first].astype(float)
    return np.where([outcome is Outcome.REACHED for outcome in found], passes, np.nan)


def _outcome(trace: Trace, restart: int, status: Status, best: float, within: float) -> Outcome:
    gap = best - trace.log_joint[restart, -1]
    if trace.collapsed[restart] and not trace.ok[restart, -1]:
        return Outcome.LEFT
    if status is Status.COLLAPSED:
        return Outcome.COLLAPSED
    if abs(gap) <= within:
        return Outcome.REACHED
    if status in (Status.DIVERGENT, Status.NONFINITE):
        return Outcome.DIVERGED
    if not trace.converged[restart]:
        return Outcome.UNFINISHED
    return Outcome.SHORT if abs(gap) <= SAME else Outcome.WORSE
