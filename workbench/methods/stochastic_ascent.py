"""Stochastic gradient ascent: the gradient of a minibatch in place of that of all rows, with a falling step size."""

from typing import Annotated, Any, ClassVar, Literal, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax import Array
from pydantic import Field

from workbench.charts import Chart, Coordinates
from workbench.methods.base import Algorithm, Info, check_smooth
from workbench.methods.collapse import is_usable
from workbench.methods.gradient_ascent import optimiser_named
from workbench.methods.minibatch import Minibatch
from workbench.mixture import Mixture, Rows, log_likelihood
from workbench.problem import Problem

# First step sizes per point, in working units, where a config gives none. They are constants, because the value of a
# minibatch is too noisy to search by; the fall of the step size makes up for one that is too long.
LEARNING_RATES = {"gradient": 0.3, "momentum": 0.1, "adam": 0.05}

# Steps after which the step size begins to fall. The climb to the neighbourhood of an optimum takes some dozens.
STEADY = 20.0


class StochasticAscent(Minibatch):
    """Maximises `log_joint` in a chart with an optimiser of optax, a minibatch at a time.

    The objective of a step is an unbiased estimate of `log_joint` per point: the batch's mean log-likelihood plus
    `log_prior / N`. The step size is `learning_rate (1 + t / STEADY)^-power` at step t (Robbins & Monro 1951).
    Nothing promises a rise at each step.
    """

    method: Literal["stochastic_ascent"] = "stochastic_ascent"
    optimizer: Literal["gradient", "momentum", "adam"] = "adam"
    learning_rate: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = Field(
        None, description="first step size; left out, one that suits the optimizer"
    )

    summary: ClassVar[str] = "minibatch ascent on the sum inside the log: gradient, momentum or adam"

    def check(self, problem: Problem) -> None:
        """Refuses a prior with a hard bound."""
        check_smooth(problem)

    def bind(self, problem: Problem) -> Algorithm:
        """Steps of the optimiser on minus the estimate of `log_joint` per point."""
        chart = Chart.of(problem)
        optimiser = optimiser_named(self.optimizer, self.rate)

        def loss(u: Coordinates, rows: Rows) -> Array:
            mixture = chart.constrain(u)
            prior = problem.log_prior(mixture) / problem.num_points
            return -log_likelihood(mixture, rows) / rows.num_points - prior

        def init(key: Array, start: Mixture) -> StochasticState:
            u = chart.unconstrain(start)
            return StochasticState(u, optimiser.init(u))

        def step(key: Array, state: StochasticState) -> tuple[StochasticState, Info]:
            rows = self.draw(problem, key)
            updates, inner = optimiser.update(jax.grad(loss)(state.u, rows), state.inner, state.u)
            u = optax.apply_updates(state.u, updates)
            finite = jnp.all(jnp.array([jnp.all(jnp.isfinite(leaf)) for leaf in u]))
            usable = is_usable(chart.constrain(u), problem)
            kept = jax.tree.map(lambda new, old: jnp.where(usable, new, old), StochasticState(u, inner), state)
            price = jnp.asarray(rows.num_points / problem.num_points)
            return kept, Info(price, finite, jnp.asarray(False), finite & ~usable, ~usable)

        return Algorithm(init, step, lambda state: chart.constrain(state.u))

    def rate(self, step: Array) -> Array:
        """The step size after so many steps. []"""
        first = LEARNING_RATES[self.optimizer] if self.learning_rate is None else self.learning_rate
        return first * (1.0 + step / STEADY) ** -self.power


class StochasticState(NamedTuple):
    """Where the optimiser is, and what it remembers."""

    u: Coordinates
    inner: Any
