"""The chart: real coordinates of a mixture, in which gradient methods move."""

from typing import NamedTuple

import jax.numpy as jnp
from jax import Array

from workbench.charts.base import Coordinates, ScaleCoordinates, WeightCoordinates
from workbench.charts.scales import SCALES
from workbench.charts.weights import WEIGHTS
from workbench.engine.rows import Rows
from workbench.errors import InputError
from workbench.mixture import Covariance, Mixture
from workbench.problem import Problem


class Chart(NamedTuple):
    """Coordinates of the weights, the means themselves, and coordinates of the covariances, in working units.

    Working units make step sizes mean the same whatever the units of the data. Charts differ in where a gradient
    points and in how a step bends, never in the objective.
    """

    rows: Rows
    covariance: Covariance
    weights: WeightCoordinates
    scales: ScaleCoordinates

    @classmethod
    def of(cls, problem: Problem, weights: str = "softmax", scales: str = "log_cholesky") -> "Chart":
        """The chart of a problem, by the names of its parts.

        Raises:
            InputError: there is no such part; the message lists those there are.
        """
        if weights not in WEIGHTS:
            raise InputError(f"weights: unknown coordinates {weights!r}; allowed: {', '.join(WEIGHTS)}")
        if scales not in SCALES:
            raise InputError(f"scales: unknown coordinates {scales!r}; allowed: {', '.join(SCALES)}")
        return cls(problem.rows, problem.covariance, WEIGHTS[weights], SCALES[scales])

    @property
    def covers(self) -> bool:
        """Whether every point of finite numbers is a mixture, so that no step can leave the feasible set."""
        return self.weights.covers and self.scales.covers

    def unconstrain(self, mixture: Mixture) -> Coordinates:
        """Coordinates of a mixture with positive weights."""
        working = self.rows.to_working(mixture)
        scales = self.scales.unconstrain(working.scales, self.covariance)
        return Coordinates(self.weights.unconstrain(working.weights), working.means, scales)

    def constrain(self, coordinates: Coordinates) -> Mixture:
        """The mixture at these coordinates; inverse of `unconstrain`.

        Where the chart does not cover and the point is no mixture, a weight is negative or the scales are not finite.
        """
        scales = self.scales.constrain(coordinates.scales, self.covariance)
        weights = self.weights.constrain(coordinates.weights)
        return self.rows.from_working(Mixture(weights, coordinates.means, scales, self.covariance))


def is_feasible(mixture: Mixture) -> Array:
    """Whether what a chart gave is a mixture: no weight below zero, every covariance positive definite. []"""
    return jnp.all(mixture.weights >= 0) & jnp.all(jnp.isfinite(mixture.scales))
