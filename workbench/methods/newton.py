"""Newton's method in a trust region: exact curvature, and few but expensive steps.

The subproblem of a step is the lowest point of a quadratic, indefinite or not, within a ball.
"""

from typing import Annotated, Any, ClassVar, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.flatten_util import ravel_pytree
from pydantic import Field

from workbench.charts import Chart, Derivatives, derivatives
from workbench.methods.base import Algorithm, Info, is_usable, only_where
from workbench.methods.parts import DenseClimber
from workbench.mixture import Mixture
from workbench.problem import Problem

# Newton's iterations for the length of the step. They converge quadratically from one side; ten almost always suffice.
SECULAR = 30

# An eigenvalue below this share of the largest counts as zero, because a Hessian's rounding error is as large.
FLAT = 1e-10


class Model(NamedTuple):
    """The quadratic `<g, p> + <p, H p> / 2`, in the eigenbasis of H."""

    slopes: Array  # [P]   of g along the eigenvectors
    curvatures: Array  # [P]   eigenvalues, ascending
    directions: Array  # [P, P]   eigenvectors, in columns

    @classmethod
    def of(cls, gradient: Array, hessian: Array) -> "Model":
        """The model from one eigendecomposition, which serves every radius and shows whether the point is a minimum."""
        curvatures, directions = jnp.linalg.eigh(hessian)
        return cls(directions.T @ gradient, curvatures, directions)

    @property
    def bends_down(self) -> Array:
        """Whether some direction has negative curvature. []"""
        return self.curvatures[0] < -FLAT * jnp.max(jnp.abs(self.curvatures))

    def change(self, step: Array) -> Array:
        """The change of the quadratic along a step [P]. []"""
        along = self.directions.T @ step
        return jnp.vdot(self.slopes, along) + 0.5 * jnp.vdot(self.curvatures, along**2)


def lowest_in_ball(model: Model, radius: Array) -> Array:
    """The global minimum of the quadratic over |p| <= radius (Nocedal & Wright 2006, Theorem 4.1, sec. 4.3). [P]

    It is `p_i = -g_i / (h_i + m)`, with the smallest m >= 0 for which no denominator is negative and |p| is at most the
    radius. As a function of s = h_1 + m, the lowest denominator, 1 / |p| is concave and increasing. Newton's iterations
    for `1 / |p| = 1 / radius` therefore rise to the root from any s below it, without safeguards. If the lowest
    eigenvalue is negative, the step ends on the boundary. If in addition the gradient has almost no component along its
    eigenvector (the hard case), a step along that eigenvector makes up the missing length.
    """
    g, h, _ = model
    above = h - h[0]
    tiny = float(np.finfo(h.dtype).eps) * jnp.max(jnp.abs(h)) + float(np.finfo(h.dtype).tiny)
    # At the root |p| >= |g_1| / s, so the root is at least |g_1| / radius.
    least = jnp.maximum(jnp.maximum(h[0], jnp.abs(g[0]) / radius), tiny)

    def closer(_: int, shift: Array) -> Array:
        p = g / (above + shift)
        norm = jnp.linalg.norm(p)
        bend = jnp.vdot(p, p / (above + shift))
        return jnp.where(norm > radius, shift + (norm**2 / bend) * (norm - radius) / radius, shift)

    hard = model.bends_down & (jnp.linalg.norm(g / (above + least)) < radius)
    shift = jax.lax.fori_loop(0, SECULAR, closer, least)
    p = -g / (above + shift)
    missing = jnp.sqrt(jnp.maximum(radius**2 - jnp.sum(p[1:] ** 2), 0.0))
    return model.directions @ p.at[0].set(jnp.where(hard, jnp.where(g[0] > 0, -missing, missing), p[0]))


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

    marginalises: ClassVar[bool] = True
    holds: ClassVar[bool] = True
    fits_background: ClassVar[bool] = True
    summary: ClassVar[str] = "Newton's method with the exact Hessian, in a trust region"
    computes_outside_pass: ClassVar[bool] = True

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
