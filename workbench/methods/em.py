"""Expectation-maximisation: responsibilities and a weighted fit in closed form, in turn until nothing changes."""

from typing import Annotated, ClassVar, Literal, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from pydantic import Field

from workbench.errors import InputError
from workbench.methods.base import Algorithm, Info, Iterations, Schedule, geometric_marks, is_usable
from workbench.methods.parts import FixedPoint, Map, change_of
from workbench.mixture import Mixture
from workbench.problem import Problem


class EM(FixedPoint):
    """EM for the likelihood, or for the posterior mode under the conjugate prior.

    `log_joint` never falls (Dempster, Laird & Rubin 1977, Theorem 1). A step costs one pass.
    """

    method: Literal["em"] = "em"
    tolerance: Annotated[float, Field(ge=0)] = Field(
        1e-10, description="stop when log_joint rises by less than this share of its size"
    )
    max_iterations: Iterations = 5000

    marginalises: ClassVar[bool] = True
    holds: ClassVar[bool] = True
    fits_background: ClassVar[bool] = True
    takes_any_size: ClassVar[bool] = True
    summary: ClassVar[str] = "expectation-maximisation; posterior mode under the conjugate prior"

    def check(self, problem: Problem) -> None:
        """Refuses a prior without a closed-form M-step."""
        check_closed_form(problem)

    def schedule(self) -> Schedule:
        """Rows at geometrically growing numbers of passes."""
        return Schedule(geometric_marks(self.max_iterations), "passes", self.max_iterations)

    def map(self, problem: Problem) -> Map:
        """E-step and M-step."""
        return problem.em_step

    def bind(self, problem: Problem) -> Algorithm:
        """The EM map of the problem, with its stopping rule and its monotonicity monitor."""

        def init(key: Array, start: Mixture) -> EMState:
            return EMState(start, jnp.asarray(-jnp.inf, start.means.dtype))

        def step(key: Array, state: EMState) -> tuple[EMState, Info]:
            proposed, log_joint = problem.em_step(state.mixture)
            fell, small = change_of(log_joint, state.log_joint, self.tolerance)
            # A fall beyond rounding never counts as convergence.
            converged = ~fell & small
            usable = is_usable(proposed, problem)
            keep = jax.tree.map(lambda new, old: jnp.where(usable, new, old), proposed, state.mixture)
            info = Info(
                passes=jnp.asarray(1),
                ok=~fell,
                converged=converged & usable,
                collapsed=~usable,
                stopped=converged | ~usable,
            )
            return EMState(keep, log_joint), info

        return Algorithm(init, step, lambda state: state.mixture)


class EMState(NamedTuple):
    """A mixture and the log_joint of the previous one."""

    mixture: Mixture
    log_joint: Array  # []


def check_closed_form(problem: Problem) -> None:
    """Refuse a prior without a closed-form M-step, or with a concentration below one, where the density is unbounded.

    Raises:
        InputError: the prior has no closed-form M-step, or its concentration is below one.
    """
    if not problem.prior.closed_form:
        raise InputError(
            f"prior: EM has no closed-form M-step under the {type(problem.prior).__name__}; "
            'use family = "conjugate" or "flat", or leave EM out'
        )
    concentration = getattr(problem.prior, "concentration", 1.0)
    if concentration < 1.0:
        raise InputError(
            f"prior.concentration: EM needs at least 1, got {concentration}: below it the density has no "
            "bound where a weight vanishes"
        )
