"""Stochastic gradient ascent: the gradient of a minibatch in place of that of all rows, with a falling step size."""

from typing import Annotated, Any, ClassVar, Literal, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jax.flatten_util import ravel_pytree
from pydantic import Field

from workbench.charts import Chart, Coordinates
from workbench.engine.one_pass import log_likelihood
from workbench.engine.rows import Rows
from workbench.methods.base import Algorithm, Info, check_smooth
from workbench.methods.collapse import is_usable
from workbench.methods.directions import DECAY, DIRECTIONS, Direction, Memory, Moved
from workbench.methods.minibatch import Minibatch
from workbench.methods.search import TRIALS
from workbench.mixture import Mixture
from workbench.problem import Problem

# Of what the slope promises, a first step is to rise by this much: along a parabola it is then no longer than one over
# the curvature, as steps on noisy gradients have to be (Bottou, Curtis & Nocedal 2018, SIAM Review 60, sec. 4.2).
PROMISED = 0.5


class StochasticAscent(Minibatch):
    """Maximises `log_joint` in a chart along the direction of an optimiser, a minibatch at a time.

    The objective of a step is an unbiased estimate of `log_joint` per point: the batch's mean log-likelihood plus
    `log_prior / N`. No step size is to be chosen. The first is searched: on one batch at the start, doubled or halved
    until it is the longest that rises by half of what the slope there promises. Each trial costs what a step does, and
    is one for the harness. From then on the step size is `first (1 + s)^-power`, with s the number of times so far that
    the gradients of two batches in turn have pointed against each other (Kesten 1958, Ann. Math. Stat. 29; in many
    dimensions Delyon & Juditsky 1993, SIAM J. Optim. 3): on the way to an optimum they agree and it hardly falls; near
    one they are noise, or where it is too long they take turns, and it falls as Robbins & Monro (1951) ask. Nothing
    promises a rise at each step.
    """

    method: Literal["stochastic_ascent"] = "stochastic_ascent"
    optimizer: Literal["gradient", "momentum", "adam"] = "adam"
    learning_rate: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = Field(
        None, description="first step size; left out, it is searched on one batch at the start"
    )

    summary: ClassVar[str] = "minibatch ascent on the sum inside the log: gradient, momentum or adam"

    def check(self, problem: Problem) -> None:
        """Refuses a prior with a hard bound."""
        check_smooth(problem)

    def bind(self, problem: Problem) -> Algorithm:
        """Trials of the first step size, then steps, on minus the estimate of `log_joint` per point."""
        chart, rule = Chart.of(problem), DIRECTIONS[self.optimizer]()

        def loss(u: Coordinates, rows: Rows) -> Array:
            mixture = chart.constrain(u)
            prior = problem.log_prior(mixture) / problem.num_points
            return -log_likelihood(mixture, rows) / rows.num_points - prior

        def init(key: Array, start: Mixture) -> StochasticState:
            u = chart.unconstrain(start)
            nothing = jnp.zeros_like(ravel_pytree(u)[0])
            return StochasticState(u, rule.init(nothing), nothing, jnp.asarray(0), self._begun(nothing), key)

        def step(key: Array, state: StochasticState) -> tuple[StochasticState, Info]:
            x, unravel = ravel_pytree(state.u)
            probe = state.probe
            # All trials are on one batch, whose noise they share.
            rows = self.draw(problem, jnp.where(probe.done, key, state.key))
            tried = jnp.where(probe.done, 0.0, probe.length)
            value, gradient = jax.value_and_grad(lambda y: loss(unravel(y), rows))(x + tried * probe.direction)
            direction, memory = rule.turn(state.memory, Moved(state.gradient, gradient, gradient))
            against = jnp.sum(gradient * state.gradient) < 0
            turns = state.turns + against
            u = unravel(x + self.rate(probe.length, turns) * direction)
            moved = StochasticState(u, memory, gradient, turns, probe, state.key)
            searching = state._replace(probe=probe.after_trial(value, gradient, rule))
            after = _where(probe.done, moved, searching)
            finite = jnp.all(jnp.array([jnp.all(jnp.isfinite(leaf)) for leaf in after.u]))
            usable = is_usable(chart.constrain(after.u), problem)
            price = jnp.asarray(rows.num_points / problem.num_points)
            info = Info(
                passes=price, ok=finite, converged=jnp.asarray(False), collapsed=finite & ~usable, stopped=~usable
            )
            return _where(usable, after, state), info

        return Algorithm(init, step, lambda state: chart.constrain(state.u))

    def rate(self, first: Array, turns: Array) -> Array:
        """The step size after so many turns of the gradient. []"""
        # Momentum adds a gradient up over the steps to come, to 1 / (1 - DECAY) times its length.
        added = self.optimizer == "momentum" and self.learning_rate is None
        return (1.0 - DECAY if added else 1.0) * first * (1.0 + turns) ** -self.power

    def _begun(self, like: Array) -> "Probe":
        """A search that has tried nothing, or needs not to."""
        zero, done = jnp.zeros((), like.dtype), self.learning_rate is not None
        first = zero + (self.learning_rate if self.learning_rate is not None else 0.0)
        return Probe(zero, zero, like, first, zero, jnp.asarray(-1), jnp.asarray(done))


class Probe(NamedTuple):
    """The search for the first step size, one trial at a time."""

    value: Array  # []   what is minimised, at the start
    slope: Array  # []   there, along the direction
    direction: Array  # [P]
    length: Array  # []   to try next; the one to begin with where it is done
    longest: Array  # []   that fell enough; zero where none has
    trials: Array  # []   -1 before the start is evaluated
    done: Array  # []

    def after_trial(self, value: Array, gradient: Array, rule: Direction) -> "Probe":
        """The search after a trial; the first is of the start itself.

        It doubles while trials fall enough and halves while they do not, and ends where that changes.
        """
        begun, number = self.trials >= 0, self.trials + 1
        enough = value - self.value <= PROMISED * self.length * self.slope
        longest = jnp.where(enough, self.length, self.longest)
        farthest = rule.farthest / jnp.max(jnp.abs(self.direction))
        met = enough & ((number > 1) & (self.longest == 0) | (self.length >= farthest))
        done = met | (~enough & (self.longest > 0)) | (number >= TRIALS)
        following = jnp.where(enough, jnp.minimum(2.0 * self.length, farthest), 0.5 * self.length)
        length = jnp.where(done & (longest > 0), longest, following)
        after = self._replace(length=length, longest=longest, trials=number, done=done)
        return _where(begun, after, self._at_start(value, gradient, rule))

    def _at_start(self, value: Array, gradient: Array, rule: Direction) -> "Probe":
        """The direction in which the optimiser begins, with a first trial of a standard deviation or less."""
        nothing = jnp.zeros_like(gradient)
        direction, _ = rule.turn(rule.init(nothing), Moved(nothing, nothing, gradient))
        unit = jnp.minimum(1.0, 1.0 / jnp.sqrt(jnp.sum(direction**2)))
        length = jnp.minimum(unit, rule.farthest / jnp.max(jnp.abs(direction)))
        slope = jnp.sum(direction * gradient)
        return self._replace(value=value, slope=slope, direction=direction, length=length, trials=self.trials + 1)


class StochasticState(NamedTuple):
    """Where the climb is, and what it remembers."""

    u: Coordinates
    memory: Memory
    gradient: Array  # [P]   of the last batch; zero before there is one
    turns: Array  # []   times that two gradients in a row have pointed against each other
    probe: Probe
    key: Array  # of the batch on which the first step size is searched


def _where(predicate: Array, new: Any, old: Any) -> Any:
    return jax.tree.map(lambda a, b: jnp.where(predicate, a, b), new, old)
