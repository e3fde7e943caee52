"""Value, gradient and exact Hessian of a function of coordinates, computed together."""

from collections.abc import Callable
from typing import NamedTuple

import jax
from jax import Array


class Derivatives(NamedTuple):
    """The value and the derivatives of a function at a point."""

    value: Array  # []
    gradient: Array  # [P]
    hessian: Array  # [P, P]   symmetric to the last bit


def derivatives(function: Callable[[Array], Array], x: Array) -> Derivatives:
    """The derivatives of a function at x [P], by forward mode over its gradient in all directions at once."""

    def gradient(y: Array) -> tuple[Array, tuple[Array, Array]]:
        value, slope = jax.value_and_grad(function)(y)
        return slope, (value, slope)

    hessian, (value, slope) = jax.jacfwd(gradient, has_aux=True)(x)
    return Derivatives(value, slope, 0.5 * (hessian + hessian.T))
