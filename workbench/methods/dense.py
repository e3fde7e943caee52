"""The base of methods that use a dense matrix over the coordinates: their limit on size, and their schedule."""

from abc import ABC
from typing import Annotated

from pydantic import Field

from workbench.errors import InputError
from workbench.methods.base import Climber, Schedule, check_smooth, geometric_marks
from workbench.problem import Problem

# Most coordinates. A step costs about as many passes, and factors a square matrix of this size.
MOST_PARAMETERS = 500


class DenseClimber(Climber, ABC):
    """A climber whose step costs passes in proportion to the number of coordinates."""

    max_iterations: Annotated[int, Field(ge=1)] = 500

    def check(self, problem: Problem) -> None:
        """Refuses a problem with too many coordinates for a dense matrix, and a prior with a hard bound.

        Raises:
            InputError: there are more than `MOST_PARAMETERS`, or the prior is not smooth.
        """
        if problem.num_parameters > MOST_PARAMETERS:
            raise InputError(
                f"model: {self.method} takes at most {MOST_PARAMETERS} parameters, since a step costs passes for "
                f"each of them, got {problem.num_parameters}; use fewer components or a smaller covariance family, "
                f"or leave {self.method} out"
            )
        check_smooth(problem)

    def schedule(self) -> Schedule:
        """Rows at geometrically growing numbers of steps."""
        return Schedule(geometric_marks(self.max_iterations), "steps", self.max_iterations)
