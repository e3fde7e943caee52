"""Stephens' algorithm: the classification probabilities of the draws are as close as possible to their mean.

Stephens (2000), "Dealing with label switching in mixture models", JRSS B 62, algorithm 2.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from workbench.mixture import Mixture
from workbench.posterior.relabelling.assignment import settle
from workbench.posterior.relabelling.base import in_line, relabelled, responsibilities
from workbench.problem import Problem

# Smallest probability in the first reference, which is a single draw, so that it excludes no component for a point.
# Means over the draws are not bounded.
SMOOTHED = 1e-6


def stephens(mixtures: Mixture, log_joint: np.ndarray, problem: Problem) -> np.ndarray:
    """Orders of least divergence `sum_n sum_k p_nk ln(p_nk / q_nk)`, with q the mean of all relabelled p. [R, S, K]

    Neither of the two steps of a round raises the sum over the draws, so the algorithm ends at a local minimum.
    """
    draws = in_line(mixtures, log_joint, problem)
    member = responsibilities(draws.mixtures, draws.x)

    def costs_given(orders: Array) -> Array:
        return _divergences(member, jnp.mean(relabelled(member, orders), 0))

    start = jnp.maximum(member[draws.best], SMOOTHED)
    return np.asarray(settle(costs_given, _divergences(member, start))).reshape(draws.shape)


@jax.jit
def _divergences(member: Array, mean: Array) -> Array:
    """Divergence of component j from the mean in place k, up to terms that do not depend on the place. [S, K, K]"""
    # A mean is zero only if every draw is, and its logarithm then has the factor zero.
    logs = jnp.log(jnp.maximum(mean, np.finfo(mean.dtype).tiny))
    return -jnp.einsum("nk,snj->skj", logs, member)
