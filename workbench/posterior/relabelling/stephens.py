"""Stephens' algorithm: the classification probabilities of the draws as close as can be to their mean.

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

# One draw's probabilities, which the algorithm begins at, are not let fall below this: no point is lost to a component
# for good. Means over the draws are taken as they are.
SMOOTHED = 1e-6


def stephens(mixtures: Mixture, log_joint: np.ndarray, problem: Problem) -> np.ndarray:
    """Least Kullback-Leibler divergence `sum_n sum_k p_nk ln(p_nk / q_nk)`, q the mean of all relabelled p. [R, S, K]

    Neither of its two steps raises the sum over the draws, so it ends at a local minimum.
    """
    draws = in_line(mixtures, log_joint, problem)
    member = responsibilities(draws.mixtures, draws.x)

    def costs_given(orders: Array) -> Array:
        return _divergences(member, jnp.mean(relabelled(member, orders), 0))

    start = jnp.maximum(member[draws.best], SMOOTHED)
    return np.asarray(settle(costs_given, _divergences(member, start))).reshape(draws.shape)


@jax.jit
def _divergences(member: Array, mean: Array) -> Array:
    """Divergence of component j from the mean in place k, but for what is the same in every place. [S, K, K]"""
    # A mean is zero only where every draw is: that draws nothing to its logarithm.
    logs = jnp.log(jnp.maximum(mean, np.finfo(mean.dtype).tiny))
    return -jnp.einsum("nk,snj->skj", logs, member)
