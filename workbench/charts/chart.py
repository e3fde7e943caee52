"""The chart: real coordinates of a mixture, in which gradient methods take their steps, with derivatives in them."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from workbench.charts.coordinates import SCALES, WEIGHTS, Coordinates, ScaleCoordinates, WeightCoordinates
from workbench.engine.rows import Rows
from workbench.errors import InputError
from workbench.mixture import Covariance, Mixture
from workbench.problem import Problem


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


class Chart(NamedTuple):
    """Coordinates of the weights, the means themselves, and coordinates of the covariances, in working units.

    In working units a step size has the same meaning for all units of the data. Charts differ in the direction of the
    gradient and in the curve along which a step moves the mixture, but not in the objective.
    """

    rows: Rows
    covariance: Covariance
    weights: WeightCoordinates
    scales: ScaleCoordinates

    @classmethod
    def of(cls, problem: Problem, weights: str = "softmax", scales: str = "log_cholesky") -> "Chart":
        """The chart of a problem with the named coordinates.

        Raises:
            InputError: a name is unknown; the message lists the known ones.
        """
        if weights not in WEIGHTS:
            raise InputError(f"weights: unknown coordinates {weights!r}; allowed: {', '.join(WEIGHTS)}")
        if scales not in SCALES:
            raise InputError(f"scales: unknown coordinates {scales!r}; allowed: {', '.join(SCALES)}")
        return cls(problem.rows, problem.covariance, WEIGHTS[weights], SCALES[scales])

    @property
    def covers(self) -> bool:
        """Whether every point with finite coordinates is a mixture, so that no step can leave the feasible set."""
        return self.weights.covers and self.scales.covers

    def unconstrain(self, mixture: Mixture) -> Coordinates:
        """Coordinates of a mixture with positive weights."""
        working = self.rows.to_working(mixture)
        scales = self.scales.unconstrain(working.scales, self.covariance)
        return Coordinates(self.weights.unconstrain(working.weights), working.means, scales)

    def constrain(self, coordinates: Coordinates) -> Mixture:
        """The mixture at these coordinates; inverse of `unconstrain`.

        If `covers` is False and the point is no mixture, a weight is negative or the scales are not finite.
        """
        scales = self.scales.constrain(coordinates.scales, self.covariance)
        weights = self.weights.constrain(coordinates.weights)
        return self.rows.from_working(Mixture(weights, coordinates.means, scales, self.covariance))


def is_feasible(mixture: Mixture) -> Array:
    """Whether the result of `Chart.constrain` is a mixture: weights non-negative, covariances positive definite. []"""
    return jnp.all(mixture.weights >= 0) & jnp.all(jnp.isfinite(mixture.scales))
