"""The line search of methods that choose a direction themselves, one trial at a time, so that it can be carried."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

# Most trials in one search. One that has found no fall after so many has met the rounding of the objective.
TRIALS = 20

# Of the weak Wolfe conditions, as is usual with quasi-Newton directions (Nocedal & Wright 2006, sec. 3.1).
SUFFICIENT, CURVATURE = 1e-4, 0.9

# A trial lies no nearer to an end of its bracket than this share of it, and no farther from a lower end of zero than
# half: the usual safeguards of interpolation (Nocedal & Wright 2006, sec. 3.5), so that a bracket shrinks.
NEAREST = 0.1

# Falls of the objective below this many eps of its size are its rounding: they do not tell better from worse.
ROUNDING = 10.0

# length -> value [] and gradient [P] there, the gradient in coordinates in which the direction stays what it is
Evaluate = Callable[[Array], tuple[Array, Array]]


class End(NamedTuple):
    """A length that was tried, with the value and the slope there."""

    length: Array  # []
    value: Array  # []
    slope: Array  # []


class Search(NamedTuple):
    """What is known of the objective along a direction between two trials (Lewis & Overton 2013, alg. 2.6).

    `lower` falls enough and is still steep; `upper` does not fall enough, and is infinite until one is found.
    """

    value: Array  # []   at length zero
    slope: Array  # []   at length zero
    lower: End
    upper: End
    length: Array  # []   to try next
    trials: Array  # []

    @classmethod
    def along(cls, value: Array, slope: Array, length: Array) -> "Search":
        """A search that has tried nothing yet.

        Args:
            value: what is minimised, at length zero [].
            slope: there, along the direction; it falls [].
            length: to try first [].
        """
        zero = jnp.zeros_like(value)
        far = End(zero + jnp.inf, zero + jnp.inf, zero)
        return cls(value, slope, End(zero, value, slope), far, zero + length, jnp.asarray(0))

    def after_trial(self, value: Array, slope: Array) -> tuple["Search", Array, Array]:
        """The search after its next trial, whether that fell enough, and whether it has flattened as well.

        A trial that is not a number is too long. Where values differ by rounding only, slopes decide (the approximate
        conditions of Hager & Zhang 2005, SIAM J. Optim. 16, eq. 4.2).
        """
        # Differences, so that a length too short to move falls by nothing, which is not enough.
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
    """The best trial of a search; its length is zero where none fell."""

    length: Array  # []
    value: Array  # []
    gradient: Array  # [P]
    trials: Array  # []


def weak_wolfe(evaluate: Evaluate, start: tuple[Array, Array], direction: Array, length: Array) -> Found:
    """A whole search for the weak Wolfe conditions. Where no trial meets both, the longest that fell enough is kept.

    Args:
        evaluate: what is minimised, along the direction; a trial calls it once.
        start: value [] and gradient [P] at length zero.
        direction: [P], in which the value falls.
        length: to try first [].
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
    """Where the cubic through both ends is lowest, within the safeguards; the middle where there is none. []"""
    width = upper.length - lower.length
    # Nocedal & Wright 2006, eq. 3.59.
    d1 = lower.slope + upper.slope - 3.0 * (upper.value - lower.value) / width
    square = d1**2 - lower.slope * upper.slope
    d2 = jnp.sqrt(jnp.maximum(square, 0.0))
    share = 1.0 - (upper.slope + d2 - d1) / (upper.slope - lower.slope + 2.0 * d2)
    farthest = jnp.where(lower.length > 0, 1.0 - NEAREST, 0.5)
    share = jnp.where((square >= 0) & jnp.isfinite(share), jnp.clip(share, NEAREST, farthest), 0.5)
    return lower.length + share * width
