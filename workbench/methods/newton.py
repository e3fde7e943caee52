"""Newton's method in a trust region: exact curvature, and few but expensive steps."""

from typing import Annotated, Any, ClassVar, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.flatten_util import ravel_pytree
from pydantic import Field

from workbench.charts import Chart, Derivatives, derivatives
from workbench.methods.base import Algorithm, Info
from workbench.methods.branch import only_where
from workbench.methods.collapse import is_usable
from workbench.methods.dense import DenseClimber
from workbench.methods.trust_region import Model, lowest_in_ball
from workbench.mixture import Mixture
from workbench.problem import Problem

# A step is kept if the objective falls by at least the share KEPT of what the quadratic model predicts. The region
# shrinks below the share POOR and grows above GOOD (Nocedal & Wright 2006, algorithm 4.1).
KEPT, POOR, GOOD = 1e-3, 0.25, 0.75

# Largest radius: a hundred standard deviations of the data, or a factor of exp(100) in width.
LARGEST = 100.0

# Smallest radius relative to the first. If no point so near is better, the climb ends.
SMALLEST = 1e-10

# Changes of the objective per point below this many eps of its size are rounding, and count as predicted.
ROUNDING = 100.0


class Newton(DenseClimber):
    """Maximises `log_joint` with its exact Hessian, in a chart without redundant directions.

    Each step goes to the highest point of the quadratic model within a ball, whose radius follows how well the model
    predicts (Nocedal & Wright 2006, algorithm 4.1). Near a strict maximum this is Newton's step and converges
    quadratically. From a saddle point the step follows the negative curvature. `log_joint` never falls.

    The price counts sweeps over the rows. A trial costs one, whether it is kept or refused. The gradient and the
    Hessian at a point cost 1 + P, where P is the number of coordinates: the one pass, and one more sweep for its
    derivative along each coordinate.
    """

    method: Literal["newton"] = "newton"
    radius: Annotated[float, Field(gt=0, le=LARGEST)] = Field(
        1.0, description="of the first trust region; 1 is a standard deviation of the data, or a factor of e in width"
    )
    gradient_tolerance: Annotated[float, Field(ge=0)] = Field(
        1e-6, description="stop when no component of the gradient per point is larger and no curvature is upwards"
    )

    summary: ClassVar[str] = "Newton's method with the exact Hessian, in a trust region"

    def bind(self, problem: Problem) -> Algorithm:
        """Trust-region steps on minus `log_joint` per point."""
        chart = Chart.of(problem, weights="log_ratio")

        def loss(u: Any) -> Array:
            return -problem.log_joint(chart.constrain(u)) / problem.num_points

        def init(key: Array, start: Mixture) -> NewtonState:
            u = chart.unconstrain(start)
            x, _ = ravel_pytree(u)
            nothing = Derivatives(jnp.zeros((), x.dtype), jnp.zeros_like(x), jnp.zeros((x.size, x.size), x.dtype))
            return NewtonState(u, nothing, jnp.asarray(False), jnp.asarray(self.radius, x.dtype))

        def step(key: Array, state: NewtonState) -> tuple[NewtonState, Info]:
            x, unravel = ravel_pytree(state.u)
            here = only_where(~state.known, lambda _: derivatives(lambda y: loss(unravel(y)), x), state.here)
            model = Model.of(here.gradient, here.hessian)
            move = lowest_in_ball(model, state.radius)
            reached = loss(unravel(x + move))
            noise = ROUNDING * float(np.finfo(x.dtype).eps) * jnp.maximum(jnp.abs(here.value), 1.0)
            share = (here.value - reached + noise) / (noise - model.change(move))
            kept = share >= KEPT  # False where the share is NaN
            u = jax.tree.map(lambda new, old: jnp.where(kept, new, old), unravel(x + move), state.u)

            full = jnp.linalg.norm(move) > 0.99 * state.radius
            longer = jnp.where((share > GOOD) & full, jnp.minimum(2.0 * state.radius, LARGEST), state.radius)
            radius = jnp.where(share >= POOR, longer, 0.25 * state.radius)
            steepest = jnp.max(jnp.abs(here.gradient))
            converged = (steepest <= self.gradient_tolerance) & ~model.bends_down
            collapsed = ~is_usable(chart.constrain(u), problem)
            lost = ~jnp.isfinite(here.value + steepest) | (radius < SMALLEST * self.radius)
            ok = ~lost | converged | collapsed
            passes = 1 + jnp.where(state.known, 0, 1 + x.size)
            info = Info(
                passes=passes,
                ok=ok,
                converged=converged & ~collapsed,
                collapsed=collapsed,
                stopped=converged | collapsed | lost,
            )
            return NewtonState(u, here, ~kept, radius), info

        return Algorithm(init, step, lambda state: chart.constrain(state.u))


class NewtonState(NamedTuple):
    """The point of the climb, and the derivatives of the objective there."""

    u: Any
    here: Derivatives
    known: Array  # []   whether `here` belongs to `u`
    radius: Array  # []
