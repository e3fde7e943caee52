"""Riemannian ascent: gradient or L-BFGS steps along geodesics of positive definite matrices."""

from typing import Annotated, ClassVar, Literal, NamedTuple

import jax.numpy as jnp
import optax
from jax import Array
from jax.flatten_util import ravel_pytree
from pydantic import Field

from workbench.errors import InputError
from workbench.methods.augmented import Augmented, Tangent, augment, geodesic, unaugment, value_and_gradient
from workbench.methods.base import Algorithm, Climber, Info, Schedule, check_smooth, geometric_marks
from workbench.methods.collapse import is_usable
from workbench.methods.search import TRIALS, weak_wolfe
from workbench.methods.searched import STALLED
from workbench.mixture import Mixture
from workbench.problem import Problem


class Riemannian(Climber):
    """Maximises the augmented form of `log_joint` over positive definite matrices (Hosseini & Sra 2015, NeurIPS; 2020,
    Math. Programming 181), with the weights as log ratios.

    The steps follow geodesics of the affine-invariant metric, and L-BFGS transports its memory along them. In the frame
    that `augmented` uses, transport changes no coordinates, so that the memory is that of ordinary L-BFGS. Only full
    covariances are accepted, because the augmented forms of another family do not fill the manifold of matrices. Any
    prior is accepted, because its log density is a function on the manifold like any other.

    The augmented objective equals `log_joint` at the start and at a maximum, and is at most the recorded score in
    between. It rises at each step. A step costs one pass for every trial of its line search.
    """

    method: Literal["riemannian"] = "riemannian"
    direction: Literal["gradient", "lbfgs"] = Field("lbfgs", description="steepest ascent, or L-BFGS on the manifold")
    memory: Annotated[int, Field(ge=1)] = Field(10, description="steps that L-BFGS remembers")
    gradient_tolerance: Annotated[float, Field(ge=0)] = Field(
        1e-6, description="stop when no component of the Riemannian gradient per point is larger"
    )
    max_iterations: Annotated[int, Field(ge=1)] = 2000

    summary: ClassVar[str] = "ascent along geodesics of positive definite matrices: gradient or lbfgs"

    def check(self, problem: Problem) -> None:
        """Refuses families whose covariances are not all positive definite matrices, and a prior with a hard bound."""
        check_smooth(problem)
        if not problem.covariance.is_unrestricted:
            raise InputError(
                f"model.covariance: {self.method} needs full covariances, got {problem.covariance.name!r}; "
                'use covariance = "full", or leave it out'
            )

    def schedule(self) -> Schedule:
        """Rows at geometrically growing numbers of passes."""
        return Schedule(geometric_marks(1 + self.max_iterations * TRIALS), "passes", self.max_iterations)

    def bind(self, problem: Problem) -> Algorithm:
        """Line searches along geodesics on minus the objective per point."""
        directions = optax.scale_by_lbfgs(self.memory) if self.direction == "lbfgs" else optax.identity()

        def evaluate(point: Augmented) -> tuple[Array, Array]:
            value, gradient = value_and_gradient(problem, point)
            return -value / problem.num_points, -ravel_pytree(gradient)[0] / problem.num_points

        def init(key: Array, start: Mixture) -> RiemannianState:
            point = augment(start, problem.rows)
            value, gradient = evaluate(point)
            path, one = jnp.zeros_like(gradient), jnp.ones_like(value)
            return RiemannianState(point, value, gradient, path, directions.init(path), one, jnp.asarray(1))

        def step(key: Array, state: RiemannianState) -> tuple[RiemannianState, Info]:
            _, unravel = ravel_pytree(Tangent(*state.point))
            steepest = state.gradient
            ascent, inner = directions.update(steepest, state.inner, state.path)
            # A step that met no curvature condition can spoil the memory; then the gradient is used.
            ascent = jnp.where(jnp.vdot(ascent, steepest) > 0, ascent, steepest)
            begin = jnp.ones_like(state.length) if self.direction == "lbfgs" else state.length

            def along(length: Array) -> Augmented:
                return geodesic(state.point, Tangent(*unravel(-length * ascent)))

            found = weak_wolfe(lambda t: evaluate(along(t)), (state.value, steepest), -ascent, begin)
            moved = found.length > 0
            point = along(found.length)
            tolerance = jnp.where(moved, self.gradient_tolerance, STALLED * self.gradient_tolerance)
            converged = jnp.max(jnp.abs(found.gradient)) <= tolerance
            collapsed = ~is_usable(unaugment(point, problem.rows)[0], problem)
            finite = jnp.isfinite(found.value)
            ok = finite & (moved | converged | collapsed)
            info = Info(
                passes=state.owed + found.trials,
                ok=ok,
                converged=converged & ~collapsed,
                collapsed=collapsed,
                stopped=converged | collapsed | ~ok,
            )
            path = state.path - found.length * ascent
            length = jnp.where(moved, found.length, state.length)
            return RiemannianState(point, found.value, found.gradient, path, inner, length, jnp.asarray(0)), info

        return Algorithm(init, step, lambda state: unaugment(state.point, problem.rows)[0])


class RiemannianState(NamedTuple):
    """The point of the climb, with minus the objective per point and its gradient there."""

    point: Augmented
    value: Array  # []
    gradient: Array  # [P]   in the frame of the point's roots
    path: Array  # [P]   sum of all steps, each in its frame; the quasi-Newton memory takes differences of it
    inner: optax.OptState
    length: Array  # []   of the last step
    owed: Array  # []   passes spent before the first step
