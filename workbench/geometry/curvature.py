"""Gradient and exact Hessian of the objective in the coordinates of a chart, and the parameter of each coordinate."""

from functools import partial
from typing import Any, NamedTuple, Protocol

import jax
import numpy as np
from jax import Array
from jax.flatten_util import ravel_pytree

from workbench.charts import Chart, derivatives
from workbench.mixture import Mixture
from workbench.problem import Problem


class Coordinated(Protocol):
    """The interface of a chart: maps between mixtures and a pytree of unconstrained arrays, in both directions."""

    def unconstrain(self, mixture: Mixture) -> Any:
        """Coordinates of a mixture."""

    def constrain(self, coordinates: Any) -> Mixture:
        """The mixture at these coordinates."""


class Curvature(NamedTuple):
    """Derivatives of `log_joint` at a mixture, in the P raveled coordinates of a chart, in the order of `raveled`."""

    log_joint: Array  # []
    gradient: Array  # [P]
    hessian: Array  # [P, P]   symmetric to the last bit


def curvature(problem: Problem, mixture: Mixture, chart: Coordinated) -> Curvature:
    """Value, gradient and exact Hessian of `log_joint`.

    It applies forward mode to the gradient of the one pass, which is the work of P + 1 passes in one sweep over the
    rows. The function is pure, so that it can be compiled and batched over mixtures; `curvature_at` is compiled.
    """
    u, constrain = raveled(mixture, chart)

    return Curvature(*derivatives(lambda v: problem.log_joint(constrain(v)), u))


@partial(jax.jit, static_argnames=("weights", "scales"))
def curvature_at(
    problem: Problem, mixture: Mixture, weights: str = "log_ratio", scales: str = "log_cholesky"
) -> Curvature:
    """`curvature`, compiled, in a named chart; the default chart has no redundant direction."""
    return curvature(problem, mixture, Chart.of(problem, weights=weights, scales=scales))


def raveled(mixture: Mixture, chart: Coordinated) -> tuple[Array, Any]:
    """The coordinates [P] of a mixture, and the function from such a vector to its mixture."""
    u, unravel = ravel_pytree(chart.unconstrain(mixture))
    return u, lambda v: chart.constrain(unravel(v))


class Places(NamedTuple):
    """The parameter and the component of each raveled coordinate."""

    parameter: np.ndarray  # [P]   0: weights, 1: means, 2: scales
    component: np.ndarray  # [P]   k, or -1 if all components share it


PARAMETERS = ("weights", "means", "scales")


def places(mixture: Mixture, chart: Coordinated) -> Places:
    """The parameter and the component of each coordinate, in the order of `raveled`."""
    coordinates = chart.unconstrain(mixture)

    def components(name: int, leaf: np.ndarray) -> np.ndarray:
        if name == PARAMETERS.index("scales") and mixture.covariance.is_shared:
            return np.full(leaf.shape, -1)
        first = np.arange(leaf.shape[0])
        return np.broadcast_to(first.reshape(-1, *[1] * (leaf.ndim - 1)), leaf.shape)

    leaves = [np.asarray(leaf) for leaf in jax.tree.leaves(coordinates)]
    parameter = [np.full(leaf.size, i) for i, leaf in enumerate(leaves)]
    component = [components(i, leaf).ravel() for i, leaf in enumerate(leaves)]
    return Places(np.concatenate(parameter), np.concatenate(component))
