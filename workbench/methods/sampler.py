"""What all samplers of chains share: their counts, named as in NumPyro, and a row for every draw."""

from abc import ABC
from typing import Annotated

import numpy as np
from pydantic import Field

from workbench.errors import InputError
from workbench.methods.base import Method, Schedule, geometric_marks
from workbench.problem import Problem


class Sampler(Method, ABC):
    """A method whose answer is its draws. Chain r begins at start r; warm-up is paid for and left out of the answer.

    A sampler may sample the posterior of free labels whatever the problem's labels: the loop puts the components of its
    draws in order where those of the problem are, which makes them draws of the ordered posterior
    (`Problem.labelled`). It need not know.
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
    """A posterior can be drawn from only where it is one.

    Args:
        problem: what is asked.
        who: asks, as a message names it.

    Raises:
        InputError: the prior is improper.
    """
    if not problem.prior.proper:
        raise InputError(
            f"prior: {who} needs a proper prior, and {type(problem.prior).__name__} is improper; "
            f'use family = "conjugate" or "independent", or leave {who} out'
        )
