"""Minibatch methods: a step reads a few rows drawn at random, and costs that fraction of a pass."""

from typing import Annotated

from jax import Array
from pydantic import Field

from workbench.engine.rows import Rows
from workbench.methods.base import Climber, Schedule, fractional_marks
from workbench.problem import Problem


class Minibatch(Climber):
    """A climb on estimates of the objective, with falling step sizes that average their noise out.

    A step on B of the N rows costs B / N passes. Such a method never computes `log_joint` itself, so it has no reliable
    stopping rule: it runs for a given number of passes, and its status is then BUDGET. A minibatch of streamed rows is
    a run of consecutive rows, which is a random sample only if the rows are in random order.
    """

    batch: Annotated[int, Field(ge=1)] = Field(256, description="rows of a step; all N if N is smaller")
    max_passes: Annotated[float, Field(gt=0, allow_inf_nan=False)] = Field(
        20.0, description="passes over the data that a restart may cost; may be a fraction"
    )
    power: Annotated[float, Field(gt=0.5, le=1)] = Field(
        0.6, description="step sizes fall with the number of steps to this power (Robbins & Monro 1951: over 1/2)"
    )

    def schedule(self) -> Schedule:
        """Rows at geometrically growing numbers of passes, beginning with a fraction of one."""
        return Schedule(fractional_marks(self.max_passes), "passes", max_steps=None)

    def draw(self, problem: Problem, key: Array) -> Rows:
        """The rows of one step."""
        return problem.rows.minibatch(key, min(self.batch, problem.num_points))
