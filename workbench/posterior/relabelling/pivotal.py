"""Pivotal reordering: the parameters of every draw are as close as possible to those of one draw, the pivot.

Marin, Mengersen & Robert (2005), "Bayesian modelling and inference on mixtures of distributions", Handbook of
Statistics 25, take the order of largest scalar product with the pivot, the draw of highest log_joint. Lengths do not
depend on the order, so it is also the order of least Euclidean distance.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from workbench.mixture import Mixture
from workbench.posterior.relabelling.assignment import best_orders
from workbench.posterior.relabelling.base import in_line
from workbench.problem import Problem


def pivotal(mixtures: Mixture, log_joint: np.ndarray, problem: Problem) -> np.ndarray:
    """Orders closest to the pivot in weights, means and deviations, in standard deviations of the data. [R, S, K]"""
    draws = in_line(mixtures, log_joint, problem)
    points = _coordinates(draws.mixtures, jnp.std(draws.x, 0))
    return np.asarray(best_orders(_distances(points, points[draws.best]))).reshape(draws.shape)


@jax.jit
def _coordinates(mixtures: Mixture, units: Array) -> Array:
    """Weight, means and standard deviations of each component. [S, K, 1 + 2 D]"""
    trils = jax.vmap(lambda mixture: mixture.scale_trils)(mixtures)
    deviations = jnp.sqrt(jnp.sum(trils**2, -1))  # [S, K, D]
    return jnp.concatenate([mixtures.weights[..., None], mixtures.means / units, deviations / units], -1)


@jax.jit
def _distances(points: Array, pivot: Array) -> Array:
    """Squared distance of component j from the pivot's k. [S, K, K]"""
    return jnp.sum((points[:, None] - pivot[:, None]) ** 2, -1)
