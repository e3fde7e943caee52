"""Search directions, looked up by name in `DIRECTIONS`. Each has a memory of earlier steps."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax.numpy as jnp
from jax import Array

Memory = Any  # private to each rule; a pytree

# Steps that L-BFGS remembers (Nocedal & Wright 2006, sec. 7.2: 3 to 20).
REMEMBERED = 10

# A pair of differences is remembered if its curvature is at least this share of the square of the gradient's change.
# Every direction is then one of descent (Li & Fukushima 2001, SIAM J. Optim. 11).
CURVED = 1e-10

# The decay of momentum and of Adam's first moment, the decay of Adam's second moment, and the number that keeps Adam
# from dividing by zero, as in Kingma & Ba (2015, alg. 1). Polyak (1964) leaves the decay open; 0.9 is usual.
DECAY, SQUARES_DECAY, TINY = 0.9, 0.999, 1e-8

# Adam moves every coordinate by about the same amount, however small its gradient is. A step is limited to a tenth of a
# standard deviation or of a width, so that the gradients that Adam averages belong to one neighbourhood.
NEIGHBOURHOOD = 0.1


class Direction(NamedTuple):
    """A rule for the next direction of a minimisation; vectors are [P]."""

    init: Callable[[Array], Memory]  # a vector [P] -> an empty memory for vectors of that size
    turn: Callable[[Memory, "Moved"], tuple[Array, Memory]]  # -> direction [P], memory
    scaled: bool  # whether the first length to try is the direction's own
    farthest: float = float("inf")  # most that a coordinate may move in one step


class Moved(NamedTuple):
    """A step that was kept; step and change are zero before the first one."""

    step: Array  # [P]
    change: Array  # [P]   of the gradient
    gradient: Array  # [P]   at the end of the step


class Pairs(NamedTuple):
    """The last steps of L-BFGS, oldest first; rows not yet filled are zero."""

    steps: Array  # [M, P]
    changes: Array  # [M, P]


class Moments(NamedTuple):
    """Adam's running means of the gradient and of its square."""

    mean: Array  # [P]
    square: Array  # [P]
    steps: Array  # []   so far


def steepest() -> Direction:
    """The gradient itself."""
    return Direction(lambda like: (), lambda memory, moved: (-moved.gradient, ()), scaled=False)


def heavy_ball() -> Direction:
    """The gradient plus the decayed previous direction (Polyak 1964)."""

    def turn(memory: Array, moved: Moved) -> tuple[Array, Array]:
        direction = DECAY * memory - moved.gradient
        return direction, direction

    return Direction(jnp.zeros_like, turn, scaled=False)


def adam() -> Direction:
    """For each coordinate, the mean of its gradients over the root of their mean square (Kingma & Ba 2015)."""

    def turn(memory: Moments, moved: Moved) -> tuple[Array, Moments]:
        steps = memory.steps + 1
        mean = DECAY * memory.mean + (1.0 - DECAY) * moved.gradient
        square = SQUARES_DECAY * memory.square + (1.0 - SQUARES_DECAY) * moved.gradient**2
        unbiased, spread = mean / (1.0 - DECAY**steps), jnp.sqrt(square / (1.0 - SQUARES_DECAY**steps))
        return -unbiased / (spread + TINY), Moments(mean, square, steps)

    return Direction(lambda like: Moments(*2 * (jnp.zeros_like(like),), jnp.asarray(0)), turn, False, NEIGHBOURHOOD)


def lbfgs(remembered: int = REMEMBERED) -> Direction:
    """The quasi-Newton direction of limited memory (Nocedal & Wright 2006, algorithm 7.4)."""

    def init(like: Array) -> Pairs:
        empty = jnp.zeros((remembered, *like.shape), like.dtype)
        return Pairs(empty, empty)

    def turn(memory: Pairs, moved: Moved) -> tuple[Array, Pairs]:
        curved = _dot(moved.step, moved.change) > CURVED * _dot(moved.change, moved.change)
        steps, changes = (
            jnp.where(curved, jnp.concatenate([kept[1:], new[None]]), kept)
            for kept, new in zip(memory, moved[:2], strict=True)
        )
        curvatures = jnp.sum(steps * changes, axis=-1)  # [M]
        known = curvatures > 0
        inverse = jnp.where(known, 1.0 / jnp.where(known, curvatures, 1.0), 0.0)
        # The loop is unrolled: with so few short turns, its overhead would cost more than its work.
        q, shares = moved.gradient, []
        for i in reversed(range(remembered)):
            shares.append(inverse[i] * _dot(steps[i], q))
            q = q - shares[-1] * changes[i]
        newest = _dot(changes[-1], changes[-1])
        q = q * jnp.where(known[-1], curvatures[-1] / jnp.where(known[-1], newest, 1.0), 1.0)
        for i in range(remembered):
            q = q + (shares[-1 - i] - inverse[i] * _dot(changes[i], q)) * steps[i]
        return -q, Pairs(steps, changes)

    return Direction(init, turn, scaled=True)


DIRECTIONS: dict[str, Callable[[], Direction]] = {
    "gradient": steepest,
    "momentum": heavy_ball,
    "adam": adam,
    "lbfgs": lbfgs,
}


def _dot(a: Array, b: Array) -> Array:
    """The dot product, without a call of a matrix-product routine. []"""
    return jnp.sum(a * b)
