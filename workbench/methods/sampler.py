"""The base of samplers that run chains: their counts, named as in NumPyro, and a row for every draw."""

from abc import ABC
from typing import Annotated

import numpy as np
from pydantic import Field

from workbench.errors import InputError
from workbench.methods.base import Method, Schedule, geometric_marks
from workbench.problem import Problem


class Sampler(Method, ABC):
    """A method whose result is its draws. Chain r begins at start r; warm-up counts in the price, not in the result.

    A sampler may always sample the posterior with free labels. Where the problem's labels are ordered, the loop puts
    the components of each draw in order, which makes it a draw of the ordered posterior (`Problem.labelled`).
    """

    num_warmup: Annotated[int, Field(ge=1, le=10_000_000)] = 500
    num_samples: Annotated[int, Field(ge=4, le=10_000_000)] = 1000
    num_chains: Annotated[int, Field(ge=1, le=1_000_000)] = Field(4, description="chains, begun at the first starts")

    def num_restarts(self, restarts: int) -> int:
        """The number of chains."""
        return self.num_chains

    def schedule(self) -> Schedule:
        """Warm-up at geometrically growing numbers of steps, then every draw."""
        draws = np.arange(self.num_warmup + 1, self.num_warmup + self.num_samples + 1)
        marks = np.concatenate([geometric_marks(self.num_warmup), draws])
        return Schedule(marks, "steps", int(marks[-1]), draws=self.num_samples)


def check_proper(problem: Problem, who: str) -> None:
    """Refuse an improper prior, under which there is no posterior to draw from.

    Args:
        problem: the problem to check.
        who: the method, as the message names it.

    Raises:
        InputError: the prior is improper.
    """
    if not problem.prior.proper:
        raise InputError(
            f"prior: {who} needs a proper prior, and {type(problem.prior).__name__} is improper; "
            f'use family = "conjugate" or "independent", or leave {who} out'
        )
