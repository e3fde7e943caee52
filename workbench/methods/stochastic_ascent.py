"""Stochastic gradient ascent: steps along the gradient of a minibatch, with a falling step size."""

from typing import Annotated, Any, ClassVar, Literal, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jax.flatten_util import ravel_pytree
from pydantic import Field

from workbench.charts import Chart, Coordinates
from workbench.engine.one_pass import log_likelihood
from workbench.engine.rows import Rows
from workbench.methods.base import Algorithm, Info, check_smooth, is_usable
from workbench.methods.directions import DECAY, DIRECTIONS, Direction, Memory, Moved
from workbench.methods.line_search import TRIALS
from workbench.methods.parts import Minibatch, share_of
from workbench.mixture import Mixture
from workbench.problem import Problem

# The first step must rise by this share of what the slope predicts. On a parabola it is then at most one over the
# curvature, as steps on noisy gradients have to be (Bottou, Curtis & Nocedal 2018, SIAM Review 60, sec. 4.2).
PROMISED = 0.5


class StochasticAscent(Minibatch):
    """Maximises `log_joint` in a chart along the direction of an optimiser, one minibatch at a time.

    The objective of a step is an unbiased estimate of `log_joint` per point: the batch's mean log-likelihood plus
    `log_prior / N`. By default the user chooses no step size. The first is found on one batch at the start: it is
    doubled or halved to the longest that rises by half of what the slope there predicts. Each trial costs as much as a
    step, and counts as one in the harness. From then on the step size is `first (1 + s)^-power`, where s counts how
    often the gradients of two successive batches have pointed against each other (Kesten 1958, Ann. Math. Stat. 29; in
    many dimensions Delyon & Juditsky 1993, SIAM J. Optim. 3). On the way to an optimum the gradients agree, and the
    step size hardly falls. Near an optimum they are noise, and where the step is too long they alternate; the step
    size then falls as Robbins & Monro (1951) require. `log_joint` may fall at a step.
    """

    method: Literal["stochastic_ascent"] = "stochastic_ascent"
    optimizer: Literal["gradient", "momentum", "adam"] = Field(
        "adam", description="the rule of a step on a minibatch: plain gradient, momentum, or Adam"
    )
    learning_rate: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = Field(
        None, description="first step size; if left out, a search on one batch finds it at the start"
    )

    takes_known: ClassVar[bool] = True
    summary: ClassVar[str] = "minibatch ascent on the sum inside the log: gradient, momentum or adam"
    computes_outside_pass: ClassVar[bool] = True

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
            # All trials use the same batch, so that they share its noise.
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
            finite = jnp.all(jnp.array([jnp.all(jnp.isfinite(leaf)) for leaf in jax.tree.leaves(after.u)]))
            usable = is_usable(chart.constrain(after.u), problem)
            price = share_of(rows, problem)
            info = Info(
                passes=price, ok=finite, converged=jnp.asarray(False), collapsed=finite & ~usable, stopped=~usable
            )
            return _where(usable, after, state), info

        return Algorithm(init, step, lambda state: chart.constrain(state.u))

    def rate(self, first: Array, turns: Array) -> Array:
        """The step size after the gradient has reversed `turns` times. []"""
        # With momentum a gradient acts in all later steps, in total 1 / (1 - DECAY) times its length.
        added = self.optimizer == "momentum" and self.learning_rate is None
        return (1.0 - DECAY if added else 1.0) * first * (1.0 + turns) ** -self.power

    def _begun(self, like: Array) -> "Probe":
        """A search before its first trial; it is done already if the step size is given."""
        zero, done = jnp.zeros((), like.dtype), self.learning_rate is not None
        first = zero + (self.learning_rate if self.learning_rate is not None else 0.0)
        return Probe(zero, zero, like, first, zero, jnp.asarray(-1), jnp.asarray(done))


class Probe(NamedTuple):
    """The search for the first step size, one trial at a time."""

    value: Array  # []   the objective, which is minimised, at the start
    slope: Array  # []   its derivative there along the direction
    direction: Array  # [P]
    length: Array  # []   the next length to try; once done, the first step size
    longest: Array  # []   the longest trial that fell enough; zero if none has
    trials: Array  # []   -1 before the start is evaluated
    done: Array  # []

    def after_trial(self, value: Array, gradient: Array, rule: Direction) -> "Probe":
        """The search after a trial; the first trial evaluates the start itself.

        The length doubles while trials fall enough and halves while they do not. The search ends when that changes.
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
        """The search along the optimiser's first direction; the first length is at most a standard deviation."""
        nothing = jnp.zeros_like(gradient)
        direction, _ = rule.turn(rule.init(nothing), Moved(nothing, nothing, gradient))
        unit = jnp.minimum(1.0, 1.0 / jnp.sqrt(jnp.sum(direction**2)))
        length = jnp.minimum(unit, rule.farthest / jnp.max(jnp.abs(direction)))
        slope = jnp.sum(direction * gradient)
        return self._replace(value=value, slope=slope, direction=direction, length=length, trials=self.trials + 1)


class StochasticState(NamedTuple):
    """The point of the climb, and its memory."""

    u: Coordinates
    memory: Memory
    gradient: Array  # [P]   of the last batch; zero before the first
    turns: Array  # []   how often two successive gradients have pointed against each other
    probe: Probe
    key: Array  # draws the batch on which the first step size is searched


def _where(predicate: Array, new: Any, old: Any) -> Any:
    return jax.tree.map(lambda a, b: jnp.where(predicate, a, b), new, old)
