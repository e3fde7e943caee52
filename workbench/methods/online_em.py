"""Online EM: M-steps from a running average of the statistics of minibatches."""

from typing import Annotated, ClassVar, Literal, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from pydantic import Field

from workbench.engine.one_pass import one_pass
from workbench.methods.base import Algorithm, Info
from workbench.methods.collapse import is_usable
from workbench.methods.em import check_closed_form
from workbench.methods.minibatch import Minibatch
from workbench.mixture import Mixture, Statistics
from workbench.mixture.covariance import Covariance
from workbench.problem import Problem

# A climb has collapsed when the step sizes of successive refused M-steps add up to this. Of the statistics that led to
# the first refusal, a share of exp(-3), a twentieth, is then left.
PATIENCE = 3.0


class OnlineEM(Minibatch):
    """Stepwise EM (Cappe & Moulines 2009, JRSS B 71, sec. 2.3; in minibatches Liang & Klein 2009, NAACL).

    With `f` the expected sufficient statistics per row of a batch, `s <- (1 - gamma) s + gamma f`, and the M-step is
    that for the statistics `N s`, with the prior's terms under the conjugate prior. gamma is `t^-power` at the t-th
    batch.

    The first `warm_up` batches are averaged with equal weights before the first M-step, so that no M-step rests on a
    few rows. An M-step that leads to a singular covariance is skipped, since later batches may repair the average. The
    climb has collapsed when the average has been renewed and still leads there. `log_joint` may fall at a step.
    """

    method: Literal["online_em"] = "online_em"
    warm_up: Annotated[int, Field(ge=1)] = Field(10, description="batches averaged evenly before the first M-step")

    summary: ClassVar[str] = "stepwise EM on minibatches; for many points, a few passes are enough"

    def check(self, problem: Problem) -> None:
        """Refuses a prior without a closed-form M-step."""
        check_closed_form(problem)

    def bind(self, problem: Problem) -> Algorithm:
        """Steps that each add one batch to the running average."""
        family = problem.covariance

        def init(key: Array, start: Mixture) -> OnlineState:
            shape = family.shape(problem.components, problem.num_dimensions)
            zeros = jnp.zeros_like
            average = Statistics(zeros(start.weights), zeros(start.means), jnp.zeros(shape, start.means.dtype))
            return OnlineState(start, average, jnp.asarray(0), jnp.zeros((), start.means.dtype))

        def step(key: Array, state: OnlineState) -> tuple[OnlineState, Info]:
            rows = self.draw(problem, key)
            _, statistics = one_pass(state.mixture, rows)
            t = state.batches + 1
            gamma = jnp.where(t <= self.warm_up, 1.0 / t, t**-self.power)
            average = jax.tree.map(
                lambda old, new: (1.0 - gamma) * old + gamma * new / rows.num_points, state.average, statistics
            )
            scaled = jax.tree.map(lambda leaf: problem.num_points * leaf, average)
            proposed = problem.maximise(scaled, state.mixture)
            due, usable = t >= self.warm_up, is_usable(proposed, problem)
            mixture = jax.tree.map(lambda new, old: jnp.where(due & usable, new, old), proposed, state.mixture)
            refused = jnp.where(due & ~usable, state.refused + gamma, 0.0)
            collapsed = refused >= PATIENCE
            average = recentred(average, mixture.means - state.mixture.means, family)
            price = jnp.asarray(rows.num_points / problem.num_points)
            info = Info(
                passes=price, ok=jnp.asarray(True), converged=jnp.asarray(False), collapsed=collapsed, stopped=collapsed
            )
            return OnlineState(mixture, average, t, refused), info

        return Algorithm(init, step, lambda state: state.mixture)


class OnlineState(NamedTuple):
    """A mixture, and the running average of the statistics per row about its means."""

    mixture: Mixture
    average: Statistics
    batches: Array  # []   drawn so far
    refused: Array  # []   sum of the step sizes since the last M-step that was taken


def recentred(statistics: Statistics, shifts: Array, family: Covariance) -> Statistics:
    """The same statistics about origins that are moved by `shifts` [K, D].

    The second moments are `sum r (x - c - d)(x - c - d)^T = S - f d^T - d f^T + n d d^T`, in the family's shape.
    """
    counts, first, second = statistics
    moved = counts[:, None] * shifts
    second = (
        second
        - family.cross_products(first, shifts)
        - family.cross_products(shifts, first)
        + family.cross_products(moved, shifts)
    )
    return Statistics(counts, first - moved, second)
