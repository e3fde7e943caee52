"""EM with a floor: the common practice of adding a small number to the diagonal of every covariance."""

from typing import Annotated, ClassVar, Literal

import jax
import jax.numpy as jnp
from jax import Array
from pydantic import Field

from workbench.engine.one_pass import one_pass
from workbench.methods.base import Algorithm, Climber, Info, Schedule, geometric_marks
from workbench.methods.collapse import is_usable
from workbench.methods.em import EMState, check_closed_form
from workbench.methods.fixed_point import Map
from workbench.mixture import Mixture, Statistics
from workbench.problem import Problem


class FlooredEM(Climber):
    """EM whose M-step adds `reg_covar` to the diagonal of every covariance, as scikit-learn's does.

    This M-step fits the data with noise of variance `reg_covar` added to every point, while the E-step uses the data as
    they are. The two halves of a step climb different objectives, and no objective is known that a whole step never
    lowers: neither the likelihood nor, with a prior, `log_joint`. The method guarantees finite numbers and nothing
    else. It ends where `log_joint` no longer changes, which need not be a stationary point of either. A floor that is
    part of the objective is a prior: `ChenTanPrior`, `BoundedRatioPrior`, `ConjugatePrior`.

    The floor is in the squared units of the data, so it matters in some units and not in others. Under a prior other
    than the flat one, the noise is added to the points before the prior is applied. A step costs one pass.
    """

    method: Literal["em_floor"] = "em_floor"
    reg_covar: Annotated[float, Field(ge=0, allow_inf_nan=False)] = Field(
        1e-6, description="added to every variance, in squared units of the data; 1e-6 is scikit-learn's"
    )
    tolerance: Annotated[float, Field(ge=0)] = Field(
        1e-10, description="stop when log_joint changes by no more than this share of its size"
    )
    max_iterations: Annotated[int, Field(ge=1)] = 5000

    takes_any_size: ClassVar[bool] = True
    summary: ClassVar[str] = "EM with a floor under the variances, as in scikit-learn; climbs no objective"

    def check(self, problem: Problem) -> None:
        """Refuses what EM refuses."""
        check_closed_form(problem)

    def schedule(self) -> Schedule:
        """Rows at geometrically growing numbers of passes."""
        return Schedule(geometric_marks(self.max_iterations), "passes", self.max_iterations)

    def map(self, problem: Problem) -> Map:
        """E-step on the points, M-step on the points with noise."""
        family, d = problem.covariance, problem.num_dimensions

        def step(mixture: Mixture) -> tuple[Mixture, Array]:
            value, (counts, first, second) = one_pass(mixture, problem.rows)
            noise = self.reg_covar * (jnp.eye(d, dtype=second.dtype) if family.has_correlations else 1.0)
            statistics = Statistics(counts, first, second + family.degrees(counts, d) * noise)
            return problem.maximise(statistics, mixture), value + problem.log_prior(mixture)

        return step

    def bind(self, problem: Problem) -> Algorithm:
        """Repeats the map until `log_joint` no longer changes."""
        floored = self.map(problem)

        def init(key: Array, start: Mixture) -> EMState:
            return EMState(start, jnp.asarray(-jnp.inf, start.means.dtype))

        def step(key: Array, state: EMState) -> tuple[EMState, Info]:
            proposed, log_joint = floored(state.mixture)
            size = jnp.maximum(jnp.abs(log_joint), 1.0)
            converged = jnp.abs(log_joint - state.log_joint) <= self.tolerance * size
            usable = is_usable(proposed, problem)
            keep = jax.tree.map(lambda new, old: jnp.where(usable, new, old), proposed, state.mixture)
            info = Info(
                passes=jnp.asarray(1),
                ok=jnp.isfinite(log_joint),
                converged=converged & usable,
                collapsed=~usable,
                stopped=converged | ~usable,
            )
            return EMState(keep, log_joint), info

        return Algorithm(init, step, lambda state: state.mixture)
