"""Fixed-step ascent near a maximum: the step sizes that converge, and the number of passes, predicted and counted.

Near a strict maximum the objective per point is a quadratic with curvatures `lambda_i`, and a step of size h multiplies
the error along the i-th direction by `1 - h lambda_i`. The error shrinks in all directions if and only if
`h < 2 / max lambda`, the stability edge. EM has no such number to choose.
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
