"""The held-out log predictive density, which scores point estimates and posterior samples alike."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.scipy.special import logsumexp

from workbench.data import finite_points
from workbench.diagnostics.thinning import thinned
from workbench.mixture import Mixture

# Draws used, spread evenly over all chains. More draws change the score by far less than its error.
DRAWS_USED = 1000


class Predictive(NamedTuple):
    """Mean log predictive density per held-out point, in nats, and its standard error over the points."""

    log_density: float
    standard_error: float


def heldout_log_density(mixtures: Mixture, heldout: np.ndarray) -> Predictive:
    """`mean_n ln (1/S sum_s P(x_n | mixture_s))` over held-out points [N, D], for one mixture or leaves [S, ...].

    A point estimate is a sample of size one (S = 1). The standard error is that of a mean of N independent terms.

    Raises:
        InputError: the points are not finite or have the wrong number of columns (`finite_points`).
    """
    kept = jax.tree.map(jnp.asarray, thinned(mixtures, DRAWS_USED))
    points = finite_points(heldout, kept.num_dimensions, "heldout")
    scores = np.asarray(_pointwise(kept, jnp.asarray(points)))
    error = np.std(scores, ddof=1) / np.sqrt(len(scores)) if len(scores) > 1 else np.nan
    return Predictive(float(np.mean(scores)), float(error))


@jax.jit
def _pointwise(mixtures: Mixture, x: Array) -> Array:
    """Log predictive density of every point. [N]"""
    densities = jax.lax.map(lambda mixture: mixture.log_density(x), mixtures)  # [S, N]
    return logsumexp(densities, axis=0) - jnp.log(len(densities))
