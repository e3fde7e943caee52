"""Gibbs: draws from the posterior under the conjugate prior, allocations and parameters in turn."""

from typing import Annotated, ClassVar, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from pydantic import Field

from workbench.errors import InputError
from workbench.methods.allocation import allocated_statistics
from workbench.methods.base import Algorithm, Info, Method, Schedule, geometric_marks
from workbench.methods.sampler import Sampler
from workbench.mixture import ConjugatePrior, Mixture
from workbench.mixture.prior.update import draw_mixture, update
from workbench.problem import Problem


class Gibbs(Sampler):
    """Data augmentation for mixtures (Diebolt & Robert 1994, JRSS B 56): a sweep draws allocations, then parameters.

    A sweep costs one pass. Each chunk of rows uses its own key, so that the same seed gives different draws when a
    different number of devices shares the rows.
    """

    method: Literal["gibbs"] = "gibbs"
    thinning: Annotated[int, Field(ge=1)] = Field(
        1, description="sweeps from one draw to the next; num_samples sweeps give num_samples / thinning draws"
    )

    summary: ClassVar[str] = "Gibbs sampling of allocations and parameters; needs the conjugate prior"

    def check(self, problem: Problem) -> None:
        """Refuses every prior but the conjugate one."""
        check_conjugate(problem)

    def schedule(self) -> Schedule:
        """Warm-up at geometrically growing numbers of sweeps, then every draw that is kept."""
        draws = self.num_warmup + np.arange(self.thinning, self.num_samples + 1, self.thinning)
        marks = np.concatenate([geometric_marks(self.num_warmup), draws])
        return Schedule(marks, "steps", max_steps=None, draws=len(draws))

    def as_compiled(self) -> Method:
        """A sweep knows no number of sweeps."""
        return Gibbs()

    def bind(self, problem: Problem) -> Algorithm:
        """A chain whose state is its mixture."""

        def step(key: Array, state: Mixture) -> tuple[Mixture, Info]:
            return sweep(key, state, problem), Info(passes=jnp.asarray(1), ok=jnp.asarray(True))

        return Algorithm(lambda key, start: start, step, lambda state: state)


def sweep(key: Array, mixture: Mixture, problem: Problem) -> Mixture:
    """Draw allocations given the mixture, then the mixture given its allocations. Leaves the posterior invariant.

    A component without points is drawn from the prior.
    """
    key_allocations, key_mixture = jax.random.split(key)
    h, family = problem.hyperparameters, problem.covariance
    statistics = allocated_statistics(key_allocations, problem.active_part(mixture), problem.rows)
    # The sums of a component without points are zero about any origin. About the prior's location nothing cancels.
    origins = jnp.where(statistics.counts[:, None] > 0, mixture.means, h["mean_location"])
    return draw_mixture(key_mixture, update(statistics, origins, h, family), h["concentration"], family)


def check_conjugate(problem: Problem, who: str = "Gibbs") -> None:
    """Refuse every prior but the conjugate one, which the closed-form conditional distributions need.

    Args:
        problem: the problem to check.
        who: the method, as the message names it.

    Raises:
        InputError: the prior is not the conjugate one.
    """
    if not isinstance(problem.prior, ConjugatePrior):
        raise InputError(
            f"prior: {who} needs the conjugate prior, got {type(problem.prior).__name__}; "
            f'use family = "conjugate", or leave {who} out'
        )
