"""The chart: real coordinates of a mixture, in which gradient methods take their steps, with derivatives in them."""

from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from workbench.charts.coordinates import SCALES, WEIGHTS, Coordinates, ScaleCoordinates, WeightCoordinates
from workbench.engine.rows import Rows
from workbench.errors import InputError
from workbench.mixture import Covariance, Mixture
from workbench.mixture.background import Background
from workbench.mixture.fixed import Held, free_part
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
    held: Held | None = None  # parameters that are fixed have no coordinates
    background: Background | None = None  # its box, where the problem has one

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
        parts = WEIGHTS[weights], SCALES[scales]
        return cls(problem.rows, problem.covariance, *parts, problem.held, problem.background)

    @property
    def covers(self) -> bool:
        """Whether every point with finite coordinates is a mixture, so that no step can leave the feasible set."""
        return self.weights.covers and self.scales.covers

    def unconstrain(self, mixture: Mixture) -> Coordinates:
        """Coordinates of a mixture with positive weights."""
        working = self.rows.to_working(mixture)
        if self.held is not None:
            return self._free(working, self.held)
        scales = self.scales.unconstrain(working.scales, self.covariance)
        outside = (
            None if mixture.background is None else jnp.log(mixture.background.weight) - mixture.background.log_rest
        )
        return Coordinates(self.weights.unconstrain(working.weights), working.means, scales, outside)

    def constrain(self, coordinates: Coordinates) -> Mixture:
        """The mixture at these coordinates; inverse of `unconstrain`.

        If `covers` is False and the point is no mixture, a weight is negative or the scales are not finite.
        """
        if self.held is not None:
            return self._with_fixed(coordinates, self.held)
        scales = self.scales.constrain(coordinates.scales, self.covariance)
        weights = self.weights.constrain(coordinates.weights)
        mixture = self.rows.from_working(Mixture(weights, coordinates.means, scales, self.covariance))
        if coordinates.background is None or self.background is None:
            return mixture
        return replace(mixture, background=self.background.weighing(jax.nn.sigmoid(coordinates.background)))

    def _free(self, working: Mixture, held: Held) -> Coordinates:
        """Coordinates of the free parameters; those of the weights are of their shares of what is left for them."""
        weights = free_part(working.weights, held.free_weights)
        weights = self.weights.unconstrain(weights / jnp.sum(weights)) if weights.size else weights
        if self.covariance.is_shared:
            scales = self.scales.unconstrain(working.scales, self.covariance)
            scales = scales if np.any(held.free_scales) else scales[:0]
        else:
            scales = self.scales.unconstrain(free_part(working.scales, held.free_scales), self.covariance)
        return Coordinates(weights, free_part(working.means, held.free_means), scales)

    def _with_fixed(self, coordinates: Coordinates, held: Held) -> Mixture:
        """The mixture of the free parameters at these coordinates and the fixed ones."""
        (k, d), family = held.means.shape, self.covariance
        blank = Mixture(jnp.full(k, 1.0 / k), jnp.zeros((k, d)), family.broadcast(jnp.eye(d), k), family)
        blank = jax.tree.map(lambda leaf: leaf.astype(coordinates.means.dtype), blank)
        weights, means, scales = blank.weights, blank.means, blank.scales
        if np.any(held.free_weights):
            weights = weights.at[np.flatnonzero(held.free_weights)].set(self.weights.constrain(coordinates.weights))
        means = means.at[np.flatnonzero(held.free_means)].set(coordinates.means)
        if np.any(held.free_scales):
            own = self.scales.constrain(coordinates.scales, family)
            scales = own if family.is_shared else scales.at[np.flatnonzero(held.free_scales)].set(own)
        return held.settle(self.rows.from_working(Mixture(weights, means, scales, family)))


def is_feasible(mixture: Mixture) -> Array:
    """Whether the result of `Chart.constrain` is a mixture: weights non-negative, covariances positive definite. []"""
    return jnp.all(mixture.weights >= 0) & jnp.all(jnp.isfinite(mixture.scales))
