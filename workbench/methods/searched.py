"""A climb whose step lengths are searched, one trial a step, so that restarts do not wait for each other."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from workbench.methods.directions import Direction, Memory, Moved
from workbench.methods.search import TRIALS, Search

# How much larger than its tolerance the gradient may be where no search along it falls: it has met rounding.
STALLED = 100.0

# How much longer than the last length the next first trial is, where the direction has no length of its own. A search
# shortens by itself, so that the length follows the curvature both ways.
GROWTH = 2.0


class Objective(NamedTuple):
    """What is minimised, over a space in which a tangent [P] leads from each point to another."""

    retract: Callable[[Any, Array], Any]  # (point, tangent) -> point
    evaluate: Callable[[Any, Array], tuple[Array, Array]]  # (point, tangent) -> value [], gradient [P] there; one pass


class Trial(NamedTuple):
    """The best trial of a search so far: the longest that fell enough."""

    length: Array  # []   zero where there is none
    value: Array  # []
    gradient: Array  # [P]


class Climb(NamedTuple):
    """Where a climb is, and its search from there."""

    point: Any
    value: Array  # []
    gradient: Array  # [P]
    direction: Array  # [P]
    search: Search
    best: Trial
    memory: Memory
    fresh: Array  # []   the direction is that of the gradient
    iterations: Array  # []   steps kept; -1 before the start is evaluated


class Outcome(NamedTuple):
    """What one trial came to."""

    kept: Array  # []   the climb moved, or knows its start
    failed: Array  # []   no trial along the gradient falls, or the start has no value


def at_start(point: Any, like: Array, rule: Direction) -> Climb:
    """A climb that has evaluated nothing: its first trial is the start itself, which any value improves.

    Args:
        point: the start.
        like: a tangent there [P].
        rule: of directions.
    """
    nothing = jnp.zeros_like(like)
    zero = jnp.zeros((), like.dtype)
    search = Search.along(zero + jnp.inf, zero, zero + 1.0)
    none = Trial(zero, zero + jnp.inf, nothing)
    fresh, iterations = jnp.asarray(True), jnp.asarray(-1)
    return Climb(point, zero + jnp.inf, nothing, nothing, search, none, rule.init(like), fresh, iterations)


def trial(climb: Climb, objective: Objective, rule: Direction) -> tuple[Climb, Outcome]:
    """One trial: one pass. The climb moves where it ends a search, and stays otherwise.

    A direction with a length of its own is searched for the weak Wolfe conditions, so that what it remembers is convex
    (Nocedal & Wright 2006, sec. 6.1); any other for a sufficient fall (Armijo 1966). Where a search finds none, memory
    is dropped and the gradient searched.
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
    """The climb with a new search from where it is now, after a step; or along the gradient, if a search was empty."""
    first = climb.iterations < 0
    change = jnp.where(first, 0.0, here.gradient - climb.gradient)
    direction, memory = rule.turn(climb.memory, Moved(step, change, here.gradient))
    downhill = (jnp.sum(direction * here.gradient) < 0) & ~empty
    direction = jnp.where(downhill, direction, -here.gradient)
    memory = _where(downhill, memory, rule.init(step))
    # Until its length is known a step is at most a standard deviation, or a factor of e in width.
    unit = jnp.minimum(1.0, 1.0 / jnp.sqrt(jnp.sum(direction**2)))
    length = jnp.ones_like(unit) if rule.scaled else GROWTH * here.length
    length = jnp.minimum(jnp.where(first | ~downhill, unit, length), rule.farthest / jnp.max(jnp.abs(direction)))
    search = Search.along(here.value, jnp.sum(direction * here.gradient), length)
    none = Trial(jnp.zeros_like(here.value), here.value, here.gradient)
    fresh = jnp.all(direction == -here.gradient)
    return climb._replace(direction=direction, search=search, best=none, memory=memory, fresh=fresh)


def _where(predicate: Array, new: Any, old: Any) -> Any:
    return jax.tree.map(lambda a, b: jnp.where(predicate, a, b), new, old)
