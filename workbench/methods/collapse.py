"""The test for a climb that has run into a singularity of the likelihood, where further steps are useless."""

import jax
import jax.numpy as jnp
from jax import Array

from workbench.mixture import Mixture
from workbench.problem import Problem
from workbench.soundness import NARROWEST


def is_usable(mixture: Mixture, problem: Problem) -> Array:
    """Whether all parameters are finite and no component is narrower than `NARROWEST` in working units. []"""
    finite = jnp.all(jnp.array([jnp.all(jnp.isfinite(leaf)) for leaf in jax.tree.leaves(mixture)]))
    inverse = mixture.covariance.whitener(problem.rows.to_working(mixture).scales)
    # The Frobenius norm of L^-1 is the reciprocal of the smallest width, to within a factor of sqrt(D).
    axes = (-2, -1) if mixture.covariance.has_correlations else ()
    steepest = jnp.max(jnp.sqrt(jnp.sum(inverse**2, axis=axes)))
    return finite & (steepest < 1.0 / NARROWEST)
