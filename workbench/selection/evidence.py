"""The evidence: the probability of the points under the prior, with every parameter integrated out."""

import jax
import jax.numpy as jnp
from jax import Array

from workbench.mixture import ConjugatePrior, Mixture, one_pass
from workbench.mixture.prior.update import log_marginal_likelihood, update
from workbench.posterior import exact_posterior
from workbench.posterior.enumeration import MOST_ALLOCATIONS
from workbench.problem import Problem
from workbench.selection.candidate import Candidate, Missing
from workbench.selection.score import Score


def evidence(candidate: Candidate) -> Score:
    """`ln P(x | K)`: exact under the conjugate prior where K is 1 or all allocations can be summed, sampled elsewhere.

    The prior is the same under every order of the components and both ways integrate over all of it, so that no factor
    K! is owed; a formula at one mode (Chib 1995) would owe it.
    """
    problem, posterior = candidate.problem, candidate.posterior
    if isinstance(problem.prior, ConjugatePrior):
        if problem.components == 1:
            return Score.of(float(_of_one(problem)), 0.0, ["exact"])
        if problem.components**problem.num_points <= MOST_ALLOCATIONS:
            return Score.of(exact_posterior(problem).log_evidence, 0.0, ["exact"])
    if isinstance(posterior, Missing):
        return Score.missing(posterior.why)
    if posterior.evidence is None:
        return Score.missing("the sampler tells no evidence")
    return Score.of(*posterior.evidence, posterior.notes)


@jax.jit
def _of_one(problem: Problem) -> Array:
    """Of a single Gaussian, in closed form: all points are its own, whatever it is, and a pass sums them up. []"""
    h, family, rows, d = problem.hyperparameters, problem.covariance, problem.rows, problem.num_dimensions
    standard = Mixture(jnp.ones(1), jnp.zeros((1, d)), family.broadcast(jnp.eye(d), 1), family)
    mixture = rows.from_working(standard)
    statistics = one_pass(mixture, rows)[1]
    return log_marginal_likelihood(update(statistics, mixture.means, h, family), h, family)
