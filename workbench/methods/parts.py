"""What methods share: fixed-point maps, dense climbers, minibatches, samplers, approximations, and ends only."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Annotated, ClassVar

import jax.numpy as jnp
import numpy as np
from jax import Array
from pydantic import Field, SerializeAsAny

from workbench.config import Restarts, Whole
from workbench.engine.rows import Rows
from workbench.errors import MOST_WHOLE, InputError
from workbench.methods.base import (
    Algorithm,
    Climber,
    Iterations,
    Method,
    Schedule,
    check_smooth,
    fractional_marks,
    geometric_marks,
)
from workbench.mixture import Mixture
from workbench.problem import Problem

# mixture -> (the next mixture, log_joint of the given mixture), in one pass over the data
Map = Callable[[Mixture], tuple[Mixture, Array]]


# A fall of log_joint by less than this many eps of its size is due to rounding, not to the algorithm. The largest such
# fall observed is 350 eps in 120,000 steps (every data set and family, K = 3, flat prior, random points), and 5,000 eps
# close to a singular covariance (iris, full).
ROUNDING = 1e4


def change_of(value: Array, before: Array, tolerance: float) -> tuple[Array, Array]:
    """Whether an objective fell by more than rounding, and whether its rise is too small to continue. [], []

    A fall also counts as a small rise; the caller decides whether it counts as convergence.

    Args:
        value: the objective at the present mixture. []
        before: the objective at the previous mixture; minus infinity at the start. []
        tolerance: the smallest rise that is worth a step, as a share of the objective's size.
    """
    rise, size = value - before, jnp.maximum(jnp.abs(value), 1.0)
    fell = rise < -ROUNDING * float(np.finfo(size.dtype).eps) * size
    return fell, rise <= jnp.maximum(tolerance * size, 0.0)


class FixedPoint(Climber):
    """A method that repeats a map, which never lowers `log_joint`, until `log_joint` hardly rises."""

    tolerance: float = Field(description="stop when log_joint rises by less than this share of its size")
    max_iterations: Iterations

    @abstractmethod
    def map(self, problem: Problem) -> Map:
        """The map whose fixed points the method looks for; an application costs one pass."""


# Most coordinates. A step costs about as many passes, and factors a square matrix of this size.
MOST_PARAMETERS = 500


class DenseClimber(Climber, ABC):
    """A climber whose step costs passes in proportion to the number of coordinates."""

    max_iterations: Iterations = 500

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


class Minibatch(Climber):
    """A climb on estimates of the objective, with falling step sizes that average their noise out.

    A step on B of the rows costs their share of a pass. A row of weight w is drawn as one that occurs w times. Such a
    method never computes `log_joint` itself, so it has no reliable stopping rule: it runs for a given number of passes,
    and its status is then BUDGET. A minibatch of streamed rows is a run of consecutive rows, which is a random sample
    only if the rows are in random order.
    """

    batch: Whole = Field(256, description="rows of a step; all if there are fewer")
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
        """The rows of one step, B of them, which estimate the sums over all by N / B times their own."""
        return problem.rows.minibatch(key, min(self.batch, problem.num_rows))


def share_of(rows: Rows, problem: Problem) -> Array:
    """The passes that a step on a minibatch costs. []"""
    return jnp.asarray(rows.num_rows / problem.num_rows)


class EndsOnly(Method):
    """Runs another method's steps and records one row after the start, where it stops.

    It runs no race, because it must also show where those starts lead that a race would drop.
    """

    method: str = "ends_only"
    inner: SerializeAsAny[Climber] = Field(description="the method whose ends are recorded")

    summary: ClassVar[str] = "another method's end, without the way to it"

    def admit(self, problem: Problem) -> None:
        """Refuses what the other method refuses."""
        self.inner.admit(problem)

    def schedule(self) -> Schedule:
        """Only the other method's last mark."""
        whole = self.inner.schedule()
        return Schedule(whole.marks[-1:], whole.clock, whole.max_steps)

    def bind(self, problem: Problem) -> Algorithm:
        """The other method's steps."""
        return self.inner.bind(problem)


# Particles advance side by side, each with its allocation or its momentum, so that all are in memory at once.
Particles = Annotated[int, Field(ge=4, le=1_000_000)]


class Sampler(Method, ABC):
    """A method whose result is its draws. Chain r begins at start r; warm-up counts in the price, not in the result.

    A sampler may always sample the posterior with free labels. Where the problem's labels are ordered, the loop puts
    the components of each draw in order, which makes it a draw of the ordered posterior (`Problem.labelled`).
    """

    num_warmup: Whole = Field(
        500, description="steps of each chain that come first, count in its price and are no draws"
    )
    num_samples: Annotated[int, Field(ge=4, le=MOST_WHOLE)] = Field(
        1000, description="steps of each chain after warm-up"
    )
    num_chains: Restarts = Field(4, description="chains, begun at the first starts")

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


class Approximation(Method, ABC):
    """A method whose result is draws from an approximation q to the posterior: a cheap alternative to a sampler.

    From each start the fit climbs the evidence lower bound, `E_q[ln P(x, theta)] - E_q[ln q(theta)] <= ln P(x)`. Its
    draws then cost no pass. The draws are independent and come from q. Their agreement with each other says nothing
    about the posterior, so R-hat and effective sample sizes are not reported for them. As a rule q covers one of the K!
    labellings (its bound is then lower by ln K! than that of a q that covers all of them), and q is too narrow, because
    minimising KL(q | p) leaves out the mass of p outside one mode (Bishop 2006, sec. 10.1.2).
    """

    max_iterations: Iterations = 1000
    num_samples: Annotated[int, Field(ge=4, le=MOST_WHOLE)] = Field(1000, description="draws of the fitted density")

    def schedule(self) -> Schedule:
        """Rows at geometrically growing numbers of iterations of the fit, then one for every draw."""
        draws = np.arange(self.max_iterations + 1, self.max_iterations + self.num_samples + 1)
        marks = np.concatenate([geometric_marks(self.max_iterations), draws])
        return Schedule(marks, "steps", int(marks[-1]), draws=self.num_samples)
