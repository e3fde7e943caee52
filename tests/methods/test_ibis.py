"""IBIS: its evidence is right, its draws come from the posterior, and it reports runs that do not see all points."""

import jax
import numpy as np
import pytest

from workbench.diagnostics import pooled_evidence
from workbench.engine.keys import named_key
from workbench.errors import InputError
from workbench.loop.run import run
from workbench.loop.trace import Trace
from workbench.methods import IBIS
from workbench.mixture import COVARIANCES, ConjugatePrior, IndependentPrior
from workbench.posterior import exact_posterior
from workbench.problem import Problem
from workbench.selection.nesting import run_nested
from workbench.selection.posterior import exact_evidence
from workbench.starts import RandomPoints, draw_starts

# Two groups in the plane and a point between them.
X = np.array([[-2.3, 0.1], [-1.9, -0.4], [-1.5, 0.5], [-1.2, 0.0], [0.1, 1.0], [1.4, -0.2], [1.8, 0.3], [2.2, -0.1]])
PRIOR = ConjugatePrior(concentration=1.0, mean_shrinkage=0.2, degrees_of_freedom=5.0)


def ran(problem: Problem, method: IBIS, seed: int = 0) -> Trace:
    starts = draw_starts(RandomPoints(), problem, method.num_chains, 0)
    return run(method, problem, starts, named_key(seed, "ibis"))


@pytest.mark.slow
@pytest.mark.parametrize("covariance", sorted(COVARIANCES))
def test_evidence_and_densities_are_those_of_the_enumeration(covariance: str) -> None:
    problem = Problem(X, 2, covariance, PRIOR)
    exact = exact_posterior(problem, at=X)
    trace = ran(problem, IBIS(num_samples=500, num_chains=8))
    assert trace.log_evidence is not None and np.all(trace.ok)
    found = pooled_evidence(np.asarray(trace.log_evidence))
    # Five standard errors over eight runs; and they are no excuse.
    assert abs(found.log_evidence - exact.log_evidence) < 5 * found.standard_error
    assert found.standard_error < 0.05
    densities = np.exp(jax.vmap(jax.vmap(lambda mixture: mixture.log_density(X)))(trace.answer))  # [R, S, N]
    of_runs = np.asarray(densities).mean(1)
    error = of_runs.std(0, ddof=1) / np.sqrt(len(of_runs))
    assert np.all(np.abs(of_runs.mean(0) - exact.density) < 5 * error)


@pytest.mark.slow
def test_a_component_alone_has_no_chance_to_be_wrong_nested_or_not() -> None:
    problem = Problem(X, 1, "full", PRIOR)
    method = IBIS(num_samples=20, num_chains=2)
    starts = draw_starts(RandomPoints(), problem, 2, 0)
    for trace in (ran(problem, method), run_nested(method, problem, starts, named_key(0, "ibis"))):
        # Every particle has the same weight at every point: the evidence is exact.
        np.testing.assert_allclose(trace.log_evidence, exact_evidence(problem), rtol=1e-11)


@pytest.mark.slow
def test_a_run_that_has_not_seen_all_points_says_so_and_tells_no_evidence() -> None:
    x = np.concatenate([X, X + 30.0, X - 30.0])
    trace = ran(Problem(x, 3, "full", PRIOR), IBIS(num_warmup=1, num_samples=50, ess_share=0.9))
    assert not np.all(trace.ok) and np.any(np.isnan(np.asarray(trace.log_evidence)))


@pytest.mark.slow
def test_sides_too_large_to_write_out_are_no_different() -> None:
    x = np.random.default_rng(0).normal(size=(40, 9))
    problem = Problem(x, 1, "full", ConjugatePrior())
    trace = ran(problem, IBIS(num_samples=16, num_chains=2))
    np.testing.assert_allclose(trace.log_evidence, exact_evidence(problem), rtol=1e-9)


def test_another_prior_is_refused() -> None:
    with pytest.raises(InputError, match="IBIS needs the conjugate prior"):
        IBIS().check(Problem(X, 2, "full", IndependentPrior()))
