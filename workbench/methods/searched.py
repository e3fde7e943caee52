"""A climb with a line search that makes one trial in each step, so that restarts do not wait for each other."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from workbench.methods.directions import Direction, Memory, Moved
from workbench.methods.search import TRIALS, Search

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
