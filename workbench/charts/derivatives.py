"""Value, gradient and exact Hessian of a function of coordinates, in one sweep."""

from collections.abc import Callable
from typing import NamedTuple

import jax
from jax import Array


class Derivatives(NamedTuple):
    """A function's derivatives at a point."""

    value: Array  # []
    gradient: Array  # [P]
    hessian: Array  # [P, P]   symmetric to the last bit


def derivatives(function: Callable[[Array], Array], x: Array) -> Derivatives:
    """Of a function at x [P]: forward mode over its gradient, all directions side by side. Pure."""

    def gradient(y: Array) -> tuple[Array, tuple[Array, Array]]:
        value, slope = jax.value_and_grad(function)(y)
        return slope, (value, slope)

    hessian, (value, slope) = jax.jacfwd(gradient, has_aux=True)(x)
    return Derivatives(value, slope, 0.5 * (hessian + hessian.T))
