"""Line searches for the weak Wolfe conditions, with one trial in each step.

A state carries its search from step to step, so that restarts do not wait for each other.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from workbench.methods.directions import Direction, Memory, Moved

# Most trials in one search. After so many trials without a fall, rounding of the objective hides any fall.
TRIALS = 20

# Constants of the weak Wolfe conditions, usual with quasi-Newton directions (Nocedal & Wright 2006, sec. 3.1).
SUFFICIENT, CURVATURE = 1e-4, 0.9

# A trial keeps at least this share of the bracket from either end, and lies in its lower half if the lower end is zero.
# These are the usual safeguards of interpolation (Nocedal & Wright 2006, sec. 3.5), with which a bracket shrinks.
NEAREST = 0.1

# Changes of the objective below this many eps of its size are rounding, and say nothing about which point is better.
ROUNDING = 10.0

# length -> value [] and gradient [P] there, the gradient in coordinates in which the direction does not change
Evaluate = Callable[[Array], tuple[Array, Array]]


class End(NamedTuple):
    """A length that was tried, with the value and the slope there."""

    length: Array  # []
    value: Array  # []
    slope: Array  # []


class Search(NamedTuple):
    """The state of a bisection along a direction between two trials (Lewis & Overton 2013, alg. 2.6).

    The value at `lower` has fallen enough, and its slope is still steep. The value at `upper` has not fallen enough;
    its length is infinite until such a trial has been made.
    """

    value: Array  # []   at length zero
    slope: Array  # []   at length zero
    lower: End
    upper: End
    length: Array  # []   to try next
    trials: Array  # []

    @classmethod
    def along(cls, value: Array, slope: Array, length: Array) -> "Search":
        """A search before its first trial.

        Args:
            value: the objective, which is minimised, at length zero [].
            slope: its derivative along the direction at length zero, negative [].
            length: the first length to try [].
        """
        zero = jnp.zeros_like(value)
        far = End(zero + jnp.inf, zero + jnp.inf, zero)
        return cls(value, slope, End(zero, value, slope), far, zero + length, jnp.asarray(0))

    def after_trial(self, value: Array, slope: Array) -> tuple["Search", Array, Array]:
        """The search after its next trial, whether that fell enough, and whether both Wolfe conditions hold there.

        A trial whose value is not finite counts as too long. Where values differ by rounding only, slopes decide (the
        approximate conditions of Hager & Zhang 2005, SIAM J. Optim. 16, eq. 4.2).
        """
        # The difference is compared, so that a length too short to change the value does not count as a fall.
        noise = ROUNDING * float(np.finfo(value.dtype).eps) * jnp.abs(self.value)
        level = (value <= self.value + noise) & (jnp.abs(slope) <= -(1.0 - 2.0 * SUFFICIENT) * self.slope)
        falls = jnp.isfinite(value) & ((value - self.value <= SUFFICIENT * self.length * self.slope) | level)
        flat = slope >= CURVATURE * self.slope
        here = End(self.length, value, slope)
        lower, upper = (
            jax.tree.map(lambda new, old, where=where: jnp.where(where, new, old), here, end)
            for where, end in ((falls, self.lower), (~falls, self.upper))
        )
        following = jnp.where(jnp.isfinite(upper.length), _between(lower, upper), 2.0 * lower.length)
        after = Search(self.value, self.slope, lower, upper, following, self.trials + 1)
        return after, falls, falls & flat


class Found(NamedTuple):
    """The best trial of a search; its length is zero if none fell enough."""

    length: Array  # []
    value: Array  # []
    gradient: Array  # [P]
    trials: Array  # []


def weak_wolfe(evaluate: Evaluate, start: tuple[Array, Array], direction: Array, length: Array) -> Found:
    """A whole search for the weak Wolfe conditions. If no trial meets both, the longest that fell enough is kept.

    Args:
        evaluate: the objective along the direction, which is minimised; each trial calls it once.
        start: value [] and gradient [P] at length zero.
        direction: [P], along which the value falls.
        length: the first length to try [].
    """

    def trial(now: tuple[Search, Found, Array]) -> tuple[Search, Found, Array]:
        search, found, _ = now
        value, gradient = evaluate(search.length)
        after, falls, done = search.after_trial(value, jnp.vdot(gradient, direction))
        best = Found(search.length, value, gradient, found.trials)
        found = jax.tree.map(lambda new, old: jnp.where(falls, new, old), best, found)
        return after, found._replace(trials=after.trials), done

    value, gradient = start
    search = Search.along(value, jnp.vdot(gradient, direction), length)
    none = Found(jnp.zeros_like(value), value, gradient, search.trials)
    begun = search, none, jnp.asarray(False)
    return jax.lax.while_loop(lambda now: ~now[2] & (now[0].trials < TRIALS), trial, begun)[1]


def _between(lower: End, upper: End) -> Array:
    """The minimum of the cubic through both ends, within the safeguards; the midpoint if there is none. []"""
    width = upper.length - lower.length
    # Nocedal & Wright 2006, eq. 3.59.
    d1 = lower.slope + upper.slope - 3.0 * (upper.value - lower.value) / width
    square = d1**2 - lower.slope * upper.slope
    d2 = jnp.sqrt(jnp.maximum(square, 0.0))
    share = 1.0 - (upper.slope + d2 - d1) / (upper.slope - lower.slope + 2.0 * d2)
    farthest = jnp.where(lower.length > 0, 1.0 - NEAREST, 0.5)
    share = jnp.where((square >= 0) & jnp.isfinite(share), jnp.clip(share, NEAREST, farthest), 0.5)
    return lower.length + share * width


# If a search along the gradient finds no fall, because of rounding, the gradient may be so many times its tolerance.
STALLED = 100.0

# Where the direction has no length of its own, the first trial is this many times the last length. A search shortens
# by itself, so that the length can follow the curvature both ways.
GROWTH = 2.0


class Objective(NamedTuple):
    """The function to minimise, on a space in which a tangent [P] leads from one point to another."""

    retract: Callable[[Any, Array], Any]  # (point, tangent) -> point
    evaluate: Callable[[Any, Array], tuple[Array, Array]]  # (point, tangent) -> value [], gradient [P] there; one pass


class Trial(NamedTuple):
    """The best trial of a search so far: the longest that fell enough."""

    length: Array  # []   zero if there is none
    value: Array  # []
    gradient: Array  # [P]


class Climb(NamedTuple):
    """The point of a climb, and the search from there."""

    point: Any
    value: Array  # []
    gradient: Array  # [P]
    direction: Array  # [P]
    search: Search
    best: Trial
    memory: Memory
    fresh: Array  # []   the direction is minus the gradient
    iterations: Array  # []   steps kept; -1 before the start is evaluated


class Outcome(NamedTuple):
    """The outcome of one trial."""

    kept: Array  # []   the climb moved, or its start was evaluated
    failed: Array  # []   no trial along the gradient fell, or the value at the start is not finite


def at_start(point: Any, like: Array, rule: Direction) -> Climb:
    """A climb before its first evaluation. Its first trial is the start itself; every finite value counts as a fall.

    Args:
        point: the start.
        like: a tangent there, for its size and dtype [P].
        rule: the rule for directions.
    """
    nothing = jnp.zeros_like(like)
    zero = jnp.zeros((), like.dtype)
    search = Search.along(zero + jnp.inf, zero, zero + 1.0)
    none = Trial(zero, zero + jnp.inf, nothing)
    fresh, iterations = jnp.asarray(True), jnp.asarray(-1)
    return Climb(point, zero + jnp.inf, nothing, nothing, search, none, rule.init(like), fresh, iterations)


def trial(climb: Climb, objective: Objective, rule: Direction) -> tuple[Climb, Outcome]:
    """One trial, which costs one pass. The climb moves if the trial ends a search, and stays otherwise.

    Along a direction that has its own length, the search is for the weak Wolfe conditions, so that the remembered pairs
    have positive curvature (Nocedal & Wright 2006, sec. 6.1). Along any other it is for a sufficient fall (Armijo
    1966). If a search finds none, the memory is cleared and the next search is along the gradient.
    """
    value, gradient = objective.evaluate(climb.point, climb.search.length * climb.direction)
    search, falls, flat = climb.search.after_trial(value, jnp.sum(gradient * climb.direction))
    best = _where(falls, Trial(climb.search.length, value, gradient), climb.best)
    begun = climb.iterations >= 0
    spent = (search.trials >= TRIALS) | ~begun
    kept = (falls & flat if rule.scaled else falls) | (spent & (best.length > 0))
    empty = spent & ~kept
    step = jnp.where(kept, best.length, 0.0) * climb.direction
    point = _where(kept, objective.retract(climb.point, step), climb.point)
    here = _where(kept, best, Trial(best.length, climb.value, climb.gradient))
    going = climb._replace(search=search, best=best)
    after = _where(kept | empty, _begun(going, here, step, empty, rule), going)
    after = after._replace(point=point, value=here.value, gradient=here.gradient, iterations=climb.iterations + kept)
    return after, Outcome(kept, empty & (climb.fresh | ~begun))


def _begun(climb: Climb, here: Trial, step: Array, empty: Array, rule: Direction) -> Climb:
    """The climb with a new search from its present point; along the gradient if the last search was `empty`."""
    first = climb.iterations < 0
    change = jnp.where(first, 0.0, here.gradient - climb.gradient)
    direction, memory = rule.turn(climb.memory, Moved(step, change, here.gradient))
    downhill = (jnp.sum(direction * here.gradient) < 0) & ~empty
    direction = jnp.where(downhill, direction, -here.gradient)
    memory = _where(downhill, memory, rule.init(step))
    # Without an earlier length, the first trial is at most a standard deviation, or a factor of e in width.
    unit = jnp.minimum(1.0, 1.0 / jnp.sqrt(jnp.sum(direction**2)))
    length = jnp.ones_like(unit) if rule.scaled else GROWTH * here.length
    length = jnp.minimum(jnp.where(first | ~downhill, unit, length), rule.farthest / jnp.max(jnp.abs(direction)))
    search = Search.along(here.value, jnp.sum(direction * here.gradient), length)
    none = Trial(jnp.zeros_like(here.value), here.value, here.gradient)
    fresh = jnp.all(direction == -here.gradient)
    return climb._replace(direction=direction, search=search, best=none, memory=memory, fresh=fresh)


def _where(predicate: Array, new: Any, old: Any) -> Any:
    return jax.tree.map(lambda a, b: jnp.where(predicate, a, b), new, old)
