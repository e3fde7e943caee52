"""Charts: unconstrained coordinates of a mixture, in which gradient methods move freely."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from workbench.mixture import Covariance, Mixture, Rows


class Coordinates(NamedTuple):
    """A point of the chart; every array of finite numbers is a mixture."""

    logits: Array  # [K]   weights = softmax(logits)
    means: Array  # [K, D]   in working units
    scales: Array  # log-Cholesky entries or log standard deviations, in working units


class LogCholesky(NamedTuple):
    """Softmax logits, means, and log-Cholesky covariances, in the working units of the data.

    Permuting components permutes the coordinates. The logits have one direction too many, along which the
    mixture does not change. Working units make step sizes mean the same whatever the units of the data.
    """

    rows: Rows
    covariance: Covariance

    def unconstrain(self, mixture: Mixture) -> Coordinates:
        """Coordinates of a mixture with positive weights."""
        working = self.rows.to_working(mixture)
        free = self.covariance.unconstrain(working.scales)
        return Coordinates(jnp.log(working.weights), working.means, free)

    def constrain(self, coordinates: Coordinates) -> Mixture:
        """The mixture at these coordinates; inverse of `unconstrain`."""
        scales = self.covariance.constrain(coordinates.scales)
        weights = jax.nn.softmax(coordinates.logits)
        return self.rows.from_working(Mixture(weights, coordinates.means, scales, self.covariance))
