"""Relaxed EM: the step of EM times a fixed length other than one."""

from typing import Annotated, ClassVar, Literal

import jax
import jax.numpy as jnp
from jax import Array
from pydantic import Field

from workbench.methods.base import Algorithm, Climber, Info, Schedule, geometric_marks
from workbench.methods.collapse import is_usable
from workbench.methods.em import EMState, check_closed_form
from workbench.methods.fixed_point import change_of
from workbench.mixture import Mixture
from workbench.problem import Problem


class RelaxedEM(Climber):
    """Steps `theta + rho (M(theta) - theta)` with a fixed rho, in the weights, means and covariances.

    EM is a gradient step with its own preconditioner (Xu & Jordan 1996, Neural Computation 8); here that step gets a
    length rho. It converges locally to a strict maximum for every 0 < rho < 2 (Peters & Walker 1978, SIAM J. Appl.
    Math. 35, Theorem 2): in a direction in which EM's error shrinks by the factor r, its error shrinks by
    1 - rho (1 - r). The length is fixed throughout; `OverRelaxed` adapts it.

    The coordinates are those of the theory. In them the steps commute with affine maps of the data and with
    permutations. With rho at most 1, `log_joint` never falls: EM's surrogate, with the prior, rises along the whole
    segment from theta to M(theta), since `Sigma_t >= (1 - t) Sigma_0` bounds the only term of the wrong sign in its
    slope. Beyond 1 there is no such guarantee, and far from an optimum the step may leave the positive definite
    matrices or the simplex; it is then taken at length one. A step costs one pass.
    """

    method: Literal["relaxed_em"] = "relaxed_em"
    length: Annotated[float, Field(gt=0, lt=2)] = Field(
        1.5, description="rho, the factor on EM's step: 1 is EM, 2 the edge of stability"
    )
    tolerance: Annotated[float, Field(ge=0)] = Field(
        1e-10, description="stop when log_joint rises by less than this share of its size"
    )
    max_iterations: Annotated[int, Field(ge=1)] = 5000

    takes_any_size: ClassVar[bool] = True
    summary: ClassVar[str] = "EM's step at a fixed length, as a preconditioned gradient step"

    def check(self, problem: Problem) -> None:
        """Refuses what EM refuses."""
        check_closed_form(problem)

    def schedule(self) -> Schedule:
        """Rows at geometrically growing numbers of passes."""
        return Schedule(geometric_marks(self.max_iterations), "passes", self.max_iterations)

    def bind(self, problem: Problem) -> Algorithm:
        """Steps towards EM's image and beyond it, with EM's stopping rule."""

        def init(key: Array, start: Mixture) -> EMState:
            return EMState(start, jnp.asarray(-jnp.inf, start.means.dtype))

        def step(key: Array, state: EMState) -> tuple[EMState, Info]:
            image, log_joint = problem.em_step(state.mixture)
            fell, small = change_of(log_joint, state.log_joint, self.tolerance)
            # Near a maximum every step rises, for every rho; after a fall the maximum is still far away.
            converged = ~fell & small
            relaxed = between(state.mixture, image, self.length)
            usable = is_usable(image, problem)
            stays = is_usable(relaxed, problem) & jnp.all(relaxed.weights > 0)

            def choose(long: Array, plain: Array, old: Array) -> Array:
                return jnp.where(usable, jnp.where(stays, long, plain), old)

            mixture = jax.tree.map(choose, relaxed, image, state.mixture)
            kept = ~fell if self.length <= 1 else jnp.isfinite(log_joint)
            return EMState(mixture, log_joint), Info(
                passes=jnp.asarray(1),
                ok=kept,
                converged=converged & usable,
                collapsed=~usable,
                stopped=converged | ~usable,
            )

        return Algorithm(init, step, lambda state: state.mixture)


def between(first: Mixture, last: Mixture, length: float) -> Mixture:
    """`(1 - length) first + length last` in weights, means and covariances; NaN where that is no covariance."""
    family = first.covariance

    def mix(a: Array, b: Array) -> Array:
        return (1.0 - length) * a + length * b

    scales = family.factor(mix(family.square(first.scales), family.square(last.scales)))
    return Mixture(mix(first.weights, last.weights), mix(first.means, last.means), scales, family)
