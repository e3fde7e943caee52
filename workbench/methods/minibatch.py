"""Minibatch methods: steps that look at a few rows drawn at random, and cost that fraction of a pass."""

from typing import Annotated

from jax import Array
from pydantic import Field

from workbench.engine.rows import Rows
from workbench.methods.base import Climber, Schedule, fractional_marks
from workbench.problem import Problem


class Minibatch(Climber):
    """A climb on estimates of the objective, with step sizes that fall so that their noise averages out.

    A step on B of the N rows costs B / N passes. Such a method never knows `log_joint`, so that it has no stopping rule
    that could be relied on: it runs for the passes that it is given, and its status is then BUDGET. Streamed rows are
    read as a run of consecutive ones, which is a sample of all only if their order says nothing.
    """

    batch: Annotated[int, Field(ge=1)] = Field(256, description="rows of a step; all N where there are fewer")
    max_passes: Annotated[float, Field(gt=0, allow_inf_nan=False)] = Field(
        20.0, description="passes over the data that a restart may cost, a fraction of one or many"
    )
    power: Annotated[float, Field(gt=0.5, le=1)] = Field(
        0.6, description="step sizes fall with the number of steps to this power (Robbins & Monro 1951: over 1/2)"
    )

    def schedule(self) -> Schedule:
        """Rows at geometrically growing fractions of a pass, then passes."""
        return Schedule(fractional_marks(self.max_passes), "passes", max_steps=None)

    def draw(self, problem: Problem, key: Array) -> Rows:
        """The rows of one step."""
        return problem.rows.minibatch(key, min(self.batch, problem.num_points))
