"""The evidence in closed form, for one component or for so few points that all allocations can be summed."""

import jax
import jax.numpy as jnp
from jax import Array

from workbench.engine.one_pass import one_pass
from workbench.mixture import ConjugatePrior, Mixture
from workbench.mixture.prior.update import log_marginal_likelihood, update
from workbench.posterior import exact_posterior
from workbench.posterior.enumeration import MOST_ALLOCATIONS
from workbench.problem import Problem


def has_exact_evidence(problem: Problem) -> bool:
    """Whether the prior is conjugate, and K is 1 or all K^N allocations can be summed."""
    conjugate = isinstance(problem.prior, ConjugatePrior)
    return conjugate and (problem.components == 1 or problem.components**problem.num_points <= MOST_ALLOCATIONS)


def exact_evidence(problem: Problem) -> float:
    """`ln P(x | K)` of a problem for which `has_exact_evidence` holds."""
    return float(_of_one(problem)) if problem.components == 1 else exact_posterior(problem).log_evidence


@jax.jit
def _of_one(problem: Problem) -> Array:
    """The evidence of a single Gaussian, to which all points belong, from the sums of one pass. []"""
    h, family, rows, d = problem.hyperparameters, problem.covariance, problem.rows, problem.num_dimensions
    standard = Mixture(jnp.ones(1), jnp.zeros((1, d)), family.broadcast(jnp.eye(d), 1), family)
    mixture = rows.from_working(standard)
    statistics = one_pass(mixture, rows)[1]
    return log_marginal_likelihood(update(statistics, mixture.means, h, family), h, family)
