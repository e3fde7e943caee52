"""Fixed-step ascent near a maximum: which step sizes converge, and in how many passes, predicted and counted.

Near a strict maximum the objective per point is a quadratic with curvatures `lambda_i`, and a step of size h multiplies
the error along the i-th direction by `1 - h lambda_i`. It shrinks in all of them exactly where `h < 2 / max lambda`:
the stability edge. EM has no such number to choose.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from numpy.typing import ArrayLike

from workbench.charts import Chart
from workbench.geometry.curvature import raveled
from workbench.mixture import Mixture
from workbench.problem import Problem

# Curvatures below this share of the largest are those of a chart's redundant direction, zero but for rounding.
FLAT = 1e-10


class Modes(NamedTuple):
    """Directions at a maximum in which errors shrink independently, in the raveled coordinates of a chart."""

    curvatures: np.ndarray  # [Q]   of minus log_joint per point; Q = P less the redundant direction
    directions: np.ndarray  # [P, Q]

    @classmethod
    def of(cls, hessian: ArrayLike, num_points: int) -> "Modes":
        """From the Hessian of `log_joint` at a strict maximum. [P, P]"""
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
        """Steps away from the maximum, one along each direction, that cost so many nats each. [P, Q]"""
        return np.asarray(self.directions * np.sqrt(2.0 * nats / (num_points * self.curvatures)))

    def passes(self, rate: float, start: float, within: float, limit: int) -> int | None:
        """Steps of that size from `start` nats below to `within`, on the quadratic; None beyond the limit.

        The start is displaced by an equal share of its nats along every direction.
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
    """Fixed-step ascents from one start until `log_joint` is at least `goal`, one for each step size. [S]

    Returns:
        Passes, one for each step; one more than the limit where the goal is not reached.
    """
    u, constrain = raveled(start, Chart.of(problem, weights, scales))
    objective = jax.value_and_grad(lambda v: problem.log_joint(constrain(v)))

    def climb(rate: Array) -> Array:
        def goes_on(carry: tuple[Array, Array, Array, Array]) -> Array:
            value = carry[2]
            return (carry[0] < limit) & (value < goal)  # not where it is no number

        def step(carry: tuple[Array, Array, Array, Array]) -> tuple[Array, Array, Array, Array]:
            count, v, _, slope = carry
            v = v + rate * slope / problem.num_points
            return count + 1, v, *objective(v)

        count, _, value, _ = jax.lax.while_loop(goes_on, step, (jnp.asarray(0), u, *objective(u)))
        return jnp.where(value >= goal, count, limit + 1)

    return jax.vmap(climb)(rates)


@jax.jit
def em_passes(problem: Problem, start: Mixture, goal: Array, limit: Array) -> Array:
    """EM steps from a start until `log_joint` is at least `goal`; one more than the limit where it is not. []"""

    def goes_on(carry: tuple[Array, Mixture, Array]) -> Array:
        return (carry[0] <= limit) & (carry[2] < goal)

    def step(carry: tuple[Array, Mixture, Array]) -> tuple[Array, Mixture, Array]:
        # A step tells the value before it.
        after, value = problem.em_step(carry[1])
        return carry[0] + 1, after, value

    begin = (jnp.asarray(-1), start, jnp.asarray(-jnp.inf, start.means.dtype))
    return jax.lax.while_loop(goes_on, step, begin)[0]
