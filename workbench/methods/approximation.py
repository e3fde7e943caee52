"""What all variational methods share: a density of closed form is fitted to the posterior, then drawn from."""

from abc import ABC
from typing import Annotated

import numpy as np
from pydantic import Field

from workbench.methods.base import Method, Schedule, geometric_marks


class Approximation(Method, ABC):
    """A method whose answer is draws of an approximation to the posterior: a cheap neighbour of a sampler.

    The fit is a climb of the evidence lower bound, `E_q[ln P(x, theta)] - E_q[ln q(theta)] <= ln P(x)`, from each
    start; then its draws cost no pass. They are independent, and of q: that they agree with each other says nothing of
    the posterior, so R-hat and effective sample sizes are not told of them. As a rule q covers one of the K! labellings
    (its bound then lies ln K! lower than it would for the density of the data alone), and is too narrow: minimising
    KL(q | p) leaves out what p holds beyond one mode (Bishop 2006, sec. 10.1.2).
    """

    max_iterations: Annotated[int, Field(ge=1)] = 1000
    num_samples: Annotated[int, Field(ge=4)] = Field(1000, description="draws of the fitted density")

    def schedule(self) -> Schedule:
        """The fit at geometrically growing numbers of iterations, then every draw."""
        draws = np.arange(self.max_iterations + 1, self.max_iterations + self.num_samples + 1)
        marks = np.concatenate([geometric_marks(self.max_iterations), draws])
        return Schedule(marks, "steps", int(marks[-1]), draws=self.num_samples)
