"""The evidence: the probability of the points under the prior, with every parameter integrated out."""

import jax
import jax.numpy as jnp
from jax import Array

from workbench.mixture import ConjugatePrior, Mixture, one_pass
from workbench.mixture.prior.update import log_marginal_likelihood, update
from workbench.posterior import exact_posterior
from workbench.posterior.enumeration import MOST_ALLOCATIONS
from workbench.problem import Problem
from workbench.selection.candidate import Candidate
from workbench.selection.score import Score


def evidence(candidate: Candidate) -> Score:
    """`ln P(x | K)`, exact where it can be summed.

    The prior is the same under every order of the components and the integral runs over all of it, so that no factor
    K! is owed.
    """
    problem = candidate.problem
    if not problem.prior.proper:
        return Score.missing("there is no evidence without a proper prior; give one, as --set prior.family=conjugate")
    if not isinstance(problem.prior, ConjugatePrior):
        return Score.missing("exact under the conjugate prior only")
    if problem.components == 1:
        return Score.of(float(_of_one(problem)), 0.0, ["exact"])
    if problem.components**problem.num_points <= MOST_ALLOCATIONS:
        return Score.of(exact_posterior(problem).log_evidence, 0.0, ["exact"])
    return Score.missing(f"more than {MOST_ALLOCATIONS} allocations to sum over")


@jax.jit
def _of_one(problem: Problem) -> Array:
    """Of a single Gaussian, in closed form: all points are its own, whatever it is, and a pass sums them up. []"""
    h, family, rows, d = problem.hyperparameters, problem.covariance, problem.rows, problem.num_dimensions
    standard = Mixture(jnp.ones(1), jnp.zeros((1, d)), family.broadcast(jnp.eye(d), 1), family)
    mixture = rows.from_working(standard)
    statistics = one_pass(mixture, rows)[1]
    return log_marginal_likelihood(update(statistics, mixture.means, h, family), h, family)
