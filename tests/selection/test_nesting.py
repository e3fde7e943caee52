"""A problem nested in one of more components: the same likelihood, modes, posterior and evidence."""

from collections.abc import Callable

import jax
import numpy as np
import pytest

from workbench.diagnostics import mixing_of, pooled_evidence
from workbench.engine.keys import named_key
from workbench.loop.run import run
from workbench.methods import EM, Gibbs, TemperedSMC
from workbench.methods.parts import EndsOnly
from workbench.mixture import COVARIANCES, ConjugatePrior, FlatPrior, Mixture
from workbench.mixture.filled import first_components
from workbench.posterior import exact_posterior
from workbench.problem import Problem
from workbench.selection import nesting
from workbench.selection.nesting import COMPONENTS, is_nested, run_nested
from workbench.starts import RandomPoints, draw_starts

# Two groups and a point between them.
X = np.array([-2.3, -1.9, -1.5, -1.2, 0.1, 1.4, 1.8, 2.2])[:, None]
PRIOR = ConjugatePrior(mean_location=(0.0,), mean_shrinkage=0.2, degrees_of_freedom=4.0, scatter=((1.0,),))


@pytest.mark.parametrize("covariance", sorted(COVARIANCES))
def test_a_nested_mixture_has_the_log_joint_of_its_active_part_but_for_a_constant(
    covariance: str, problem_of: Callable[..., Problem], points: np.ndarray, random_mixture: Callable[..., Mixture]
) -> None:
    problem = problem_of(covariance, "conjugate")
    nested = problem.nested_in(COMPONENTS)
    parts = [random_mixture(points, 3, covariance, seed) for seed in (1, 2)]
    batch = jax.tree.map(lambda *leaves: np.stack(leaves), *parts)
    padded = nesting.padded(batch, problem)
    both = [jax.tree.map(lambda leaf, r=r: leaf[r], padded) for r in (0, 1)]
    for part, whole in zip(parts, both, strict=True):
        # Rounding of sums of 60 terms.
        assert float(nested.log_likelihood(whole)) == pytest.approx(float(problem.log_likelihood(part)), rel=1e-12)
    if not problem.covariance.is_shared:
        below = [float(nested.log_prior(w) - problem.log_prior(p)) for p, w in zip(parts, both, strict=True)]
        assert below[0] == pytest.approx(below[1], rel=1e-10)
    cut = first_components(padded, problem.components)
    for leaf, again in zip(jax.tree.leaves(batch), jax.tree.leaves(cut), strict=True):
        np.testing.assert_allclose(again, leaf, rtol=1e-13)


@pytest.mark.parametrize("prior", [FlatPrior(), PRIOR], ids=["flat", "conjugate"])
def test_one_column_is_solved_by_variances_and_given_back_as_it_was(prior: FlatPrior | ConjugatePrior) -> None:
    problem = Problem(X, 2, "full", prior)
    parts = draw_starts(RandomPoints(), problem, 3, 0)
    parts = Mixture(
        parts.weights, parts.means, parts.scales * np.array([0.5, 1.0, 2.0])[:, None, None, None], parts.covariance
    )
    larger, whole = nesting.nested(problem), nesting.padded(parts, problem)
    assert larger.covariance.name == whole.covariance.name == "diagonal"
    below = []
    for r in range(3):
        part, padded = (jax.tree.map(lambda leaf, r=r: leaf[r], each) for each in (parts, whole))
        assert float(larger.log_likelihood(padded)) == pytest.approx(float(problem.log_likelihood(part)), rel=1e-12)
        below.append(float(larger.log_prior(padded) - problem.log_prior(part)))
    # The prior is the same up to a constant, of the components that are left out.
    assert below == pytest.approx(3 * below[:1], rel=1e-10)
    again = nesting.restored(whole, problem)
    assert again.covariance == problem.covariance
    for leaf, given in zip(jax.tree.leaves(again), jax.tree.leaves(parts), strict=True):
        np.testing.assert_allclose(leaf, given, rtol=1e-13)


def test_only_small_problems_of_flat_weights_are_nested() -> None:
    small, x = Problem(X, 2, "full", PRIOR), np.random.default_rng(0).normal(size=(5000, 2))
    assert is_nested(Gibbs(), small) and is_nested(EndsOnly(inner=EM()), small)
    assert not is_nested(Gibbs(), Problem(x, 2, "full", ConjugatePrior()))
    assert not is_nested(Gibbs(), Problem(X, 2, "full", ConjugatePrior(concentration=2.0)))
    # A tied covariance is in the prior of the means that are left out.
    assert not is_nested(EndsOnly(inner=EM()), Problem(X, 2, "tied", ConjugatePrior()))
    assert is_nested(TemperedSMC(), Problem(X, 2, "tied", ConjugatePrior()))


@pytest.mark.slow
@pytest.mark.parametrize("prior", [FlatPrior(), ConjugatePrior()], ids=["flat", "conjugate"])
def test_em_climbs_to_the_same_modes(prior: FlatPrior | ConjugatePrior, problem_of: Callable[..., Problem]) -> None:
    problem = problem_of("full", prior.family)
    starts = draw_starts(RandomPoints(), problem, 4, 0)
    method, key = EndsOnly(inner=EM(tolerance=1e-13)), named_key(0, "em")
    plain, nested = run(method, problem, starts, key), run_nested(method, problem, starts, key)
    # The stopping rule is a share of log_joint, which holds another constant: they may end a step apart.
    np.testing.assert_allclose(nested.log_likelihood[:, -1], plain.log_likelihood[:, -1], atol=1e-6)


@pytest.mark.slow
def test_posterior_and_evidence_are_those_of_the_enumeration() -> None:
    problem = Problem(X, 2, "full", PRIOR)
    exact, starts = exact_posterior(problem, at=X), draw_starts(RandomPoints(), problem, 4, 0)
    gibbs = run_nested(Gibbs(num_samples=4000), problem, starts, named_key(0, "gibbs"))
    smc = run_nested(TemperedSMC(num_samples=500), problem, starts, named_key(0, "smc"))
    for trace in (gibbs, smc):
        assert trace.answer.weights.shape[-1] == 2
        mixing = mixing_of(trace, problem)
        assert mixing is not None
        flat = jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:]), trace.answer)
        densities = np.exp(jax.vmap(lambda m: m.log_density(X))(flat))  # [S, N]
        error = np.std(densities, axis=0) / np.sqrt(mixing.ess_min)
        # Five Monte-Carlo errors, by the smallest effective size of any functional.
        assert np.all(np.abs(densities.mean(0) - exact.density) < 5 * error)
    assert smc.log_evidence is not None
    found = pooled_evidence(np.asarray(smc.log_evidence))
    assert abs(found.log_evidence - exact.log_evidence) < 5 * found.half_width
    assert found.half_width < 0.1
