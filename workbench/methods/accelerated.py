"""Acceleration: extrapolations (leaps) between steps of a fixed-point map, kept only if `log_joint` does not fall."""

from abc import abstractmethod
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from jax.flatten_util import ravel_pytree
from pydantic import Field

from workbench.charts import Chart
from workbench.errors import InputError
from workbench.methods.base import Algorithm, Climber, Info, Schedule, geometric_marks
from workbench.methods.collapse import is_usable
from workbench.methods.em import EM
from workbench.methods.fixed_point import change_of
from workbench.mixture import Mixture
from workbench.problem import Problem

Memory = Any  # private to each accelerator; a pytree


class Visit(NamedTuple):
    """A point at which the map has been evaluated, in unconstrained coordinates."""

    x: Array  # [P]
    residual: Array  # [P]   image minus point


class Accelerated(Climber):
    """Wraps a fixed-point method: plain steps and *leaps*, which are extrapolations in the coordinates of a chart.

    Every step evaluates the map once, which also gives `log_joint` at the point, so a step costs one pass. If a leap
    lands lower than the point it left, one plain step follows, which repairs most such leaps. If the result is still
    lower, or is not a usable mixture, the leap is refused and the next step is the plain one from the point that the
    leap left. A state's mixture is the last one accepted, and its `log_joint` never falls.

    The stopping rule is that of the wrapped method: a plain step raises `log_joint` by no more than the tolerance. In
    addition, the last leap must not have gained more than the tolerance.
    """

    takes_any_size: ClassVar[bool] = True
    of: EM = Field(EM(), description="the method that is accelerated; its tolerance and number of iterations apply")

    @abstractmethod
    def begin(self, x: Array) -> Memory:
        """The memory at the start, a point with coordinates x [P]."""

    @abstractmethod
    def leap(self, memory: Memory, last: Visit, now: Visit, leapt: Array) -> tuple[Memory, Array, Array]:
        """The point to try next.

        Args:
            memory: of this accelerator.
            last: the point accepted before `now`.
            now: the point just accepted.
            leapt: [] whether `now` was reached by a leap.

        Returns:
            the memory, the point to try [P], and whether it is a leap []; if it is not, the plain step is taken.
        """

    @abstractmethod
    def refused(self, memory: Memory) -> Memory:
        """The memory after a leap has been refused."""

    def check(self, problem: Problem) -> None:
        """Refuses what the wrapped method refuses, and a race that is given to the wrapped method."""
        if self.of.race is not None:
            raise InputError(
                f"{self.method}.of.race: the restarts of {self.method} race, not those of the method it wraps, "
                f"got {self.of.race!r}; give it as {self.method}.race"
            )
        self.of.check(problem)

    def schedule(self) -> Schedule:
        """Rows at geometrically growing numbers of passes."""
        return Schedule(geometric_marks(self.of.max_iterations), "passes", self.of.max_iterations)

    def bind(self, problem: Problem) -> Algorithm:
        """Steps that each evaluate the map once, at the image of a plain step or at the end of a leap."""
        chart = Chart.of(problem)
        evaluate = self.of.map(problem)

        def init(key: Array, start: Mixture) -> AcceleratedState:
            x, _ = ravel_pytree(chart.unconstrain(start))
            low, no = jnp.asarray(-jnp.inf, x.dtype), jnp.asarray(False)
            return AcceleratedState(start, start, low, Visit(x, x), start, no, no, no, self.begin(x))

        def step(key: Array, state: AcceleratedState) -> tuple[AcceleratedState, Info]:
            image, log_joint = evaluate(state.trial)
            leapt, usable = state.leapt, is_usable(image, problem)
            fell, small = change_of(log_joint, state.log_joint, self.of.tolerance)
            fell = ~leapt & fell
            lower = leapt & ~(usable & (log_joint - state.log_joint >= 0))  # also True where the rise is NaN
            settles = lower & usable & jnp.isfinite(log_joint) & ~state.settling
            refused = lower & ~settles
            quiet = jnp.where(leapt, refused | small, state.quiet)
            converged = ~leapt & small & quiet & usable & ~fell
            collapsed = ~leapt & ~usable

            onward = arrive(state, image, log_joint, leapt & small)
            onward = onward._replace(quiet=quiet | onward.quiet, point=_choose(converged, image, state.trial))
            settle = state._replace(trial=image, settling=leapt)
            back = settle._replace(
                trial=state.image, leapt=~leapt, settling=~leapt, quiet=quiet, memory=self.refused(state.memory)
            )
            info = Info(
                passes=jnp.asarray(1), ok=~fell, converged=converged, collapsed=collapsed, stopped=converged | collapsed
            )
            return _choose(settles, settle, _choose(refused, back, onward)), info

        def arrive(state: AcceleratedState, image: Mixture, log_joint: Array, rest: Array) -> AcceleratedState:
            """Accepts the trial and chooses the next one; the next step is a plain one where `rest` holds."""
            x, unravel = ravel_pytree(chart.unconstrain(state.trial))
            now = Visit(x, ravel_pytree(chart.unconstrain(image))[0] - x)
            memory, target, wanted = self.leap(state.memory, state.now, now, state.leapt)
            landing = chart.constrain(unravel(target))
            first = ~jnp.isfinite(state.log_joint)  # no earlier point to extrapolate from
            possible = is_usable(landing, problem)
            leaps = wanted & ~first & ~rest & possible
            memory = _choose(first, state.memory, memory)
            trial = _choose(leaps, landing, image)
            no, barred = jnp.zeros_like(leaps), wanted & ~first & ~possible  # such a leap counts as refused
            return AcceleratedState(state.trial, image, log_joint, now, trial, leaps, no, barred, memory)

        return Algorithm(init, step, lambda state: state.point)


class AcceleratedState(NamedTuple):
    """The last accepted point with the map's value there, and the point to evaluate next."""

    point: Mixture
    image: Mixture
    log_joint: Array  # []   at the point
    now: Visit
    trial: Mixture
    leapt: Array  # []   the trial was reached by a leap
    settling: Array  # []   the trial is the plain step after a leap
    quiet: Array  # []   the last leap gained no more than the tolerance
    memory: Memory


def _choose(condition: Array, a: Any, b: Any) -> Any:
    return jax.tree.map(lambda x, y: jnp.where(condition, x, y), a, b)
