"""The line search of methods that choose a direction themselves: a step that falls enough and flattens enough."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

# Most trials in one search. One that has found no fall after so many has met the rounding of the objective.
TRIALS = 20

# Of the weak Wolfe conditions, as is usual with quasi-Newton directions (Nocedal & Wright 2006, sec. 3.1).
SUFFICIENT, CURVATURE = 1e-4, 0.9

# length -> value [] and gradient [P] there, the gradient in coordinates in which the direction stays what it is
Evaluate = Callable[[Array], tuple[Array, Array]]


class Found(NamedTuple):
    """The best trial of a search; its length is zero where none fell."""

    length: Array  # []
    value: Array  # []
    gradient: Array  # [P]
    trials: Array  # []


class _Bracket(NamedTuple):
    lower: Array  # []   falls enough, and is still steep
    upper: Array  # []   does not fall enough; infinite until one is found
    length: Array  # []   to try next
    found: Found
    done: Array  # []


def weak_wolfe(evaluate: Evaluate, start: tuple[Array, Array], direction: Array, length: Array) -> Found:
    """Bisection and doubling for the weak Wolfe conditions (Lewis & Overton 2013, Math. Programming 141, alg. 2.6).

    Where no trial meets both, the longest that fell enough is kept. A trial that is not a number is too long.

    Args:
        evaluate: what is minimised, along the direction; a trial calls it once.
        start: value [] and gradient [P] at length zero.
        direction: [P], in which the value falls.
        length: to try first [].
    """
    value, gradient = start
    slope = jnp.vdot(gradient, direction)

    def trial(now: _Bracket) -> _Bracket:
        reached, there = evaluate(now.length)
        falls = reached <= value + SUFFICIENT * now.length * slope
        flat = jnp.vdot(there, direction) >= CURVATURE * slope
        lower = jnp.where(falls, now.length, now.lower)
        upper = jnp.where(falls, now.upper, now.length)
        following = jnp.where(jnp.isfinite(upper), 0.5 * (lower + upper), 2.0 * lower)
        kept = Found(now.length, reached, there, now.found.trials)
        found = jax.tree.map(lambda new, old: jnp.where(falls, new, old), kept, now.found)
        return _Bracket(lower, upper, following, found._replace(trials=now.found.trials + 1), falls & flat)

    zero = jnp.zeros_like(value)
    none = Found(zero, value, gradient, jnp.asarray(0))
    first = _Bracket(zero, zero + jnp.inf, zero + length, none, jnp.asarray(False))
    return jax.lax.while_loop(lambda now: ~now.done & (now.found.trials < TRIALS), trial, first).found
