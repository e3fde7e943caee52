"""The base of variational methods: a density in closed form is fitted to the posterior, and draws are taken from it."""

from abc import ABC
from typing import Annotated

import numpy as np
from pydantic import Field

from workbench.methods.base import Method, Schedule, geometric_marks


class Approximation(Method, ABC):
    """A method whose result is draws from an approximation q to the posterior: a cheap alternative to a sampler.

    From each start the fit climbs the evidence lower bound, `E_q[ln P(x, theta)] - E_q[ln q(theta)] <= ln P(x)`. Its
    draws then cost no pass. The draws are independent and come from q. Their agreement with each other says nothing
    about the posterior, so R-hat and effective sample sizes are not reported for them. As a rule q covers one of the K!
    labellings (its bound is then lower by ln K! than that of a q that covers all of them), and q is too narrow, because
    minimising KL(q | p) leaves out the mass of p outside one mode (Bishop 2006, sec. 10.1.2).
    """

    max_iterations: Annotated[int, Field(ge=1)] = 1000
    num_samples: Annotated[int, Field(ge=4)] = Field(1000, description="draws of the fitted density")

    def schedule(self) -> Schedule:
        """Rows at geometrically growing numbers of iterations of the fit, then one for every draw."""
        draws = np.arange(self.max_iterations + 1, self.max_iterations + self.num_samples + 1)
        marks = np.concatenate([geometric_marks(self.max_iterations), draws])
        return Schedule(marks, "steps", int(marks[-1]), draws=self.num_samples)
