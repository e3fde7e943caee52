"""Each criterion against another route to the same number."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from scipy.special import logsumexp
from scipy.stats import norm

from workbench.data import Dataset
from workbench.diagnostics.predictive import Evidence
from workbench.engine.keys import named_key
from workbench.experiment import Experiment, parse_experiment
from workbench.loop.run import run
from workbench.methods import Gibbs, TemperedSMC
from workbench.mixture import COVARIANCES, ConjugatePrior
from workbench.posterior import exact_posterior
from workbench.problem import Problem
from workbench.selection import CRITERIA
from workbench.selection.candidate import Candidate, Fit, all_climbed, climbed
from workbench.selection.fit_criteria import FOLDS, folds, heldout
from workbench.selection.posterior import Missing, Posterior
from workbench.selection.posterior import sampled as sampled_by
from workbench.selection.posterior_criteria import log_likelihoods, waic
from workbench.starts import draw_starts

# Two groups and a point between them.
X = np.array([-2.3, -1.9, -1.5, -1.2, 0.1, 1.4, 1.8, 2.2])[:, None]

# Stated in full, so that it is the same without one of the points.
PRIOR = {
    "family": "conjugate",
    "concentration": 1.5,
    "mean_location": [0.0],
    "mean_shrinkage": 0.2,
    "degrees_of_freedom": 4.0,
    "scatter": [[1.0]],
}

# Compiles many programs.
pytestmark = pytest.mark.slow


def experiment_of(components: int, covariance: str = "full", **changes: Any) -> Experiment:
    """Of data that the tests give themselves."""
    values: dict[str, Any] = {
        "restarts": 2,
        "data": {"dataset": "faithful"},
        "model": {"components": components, "covariance": covariance},
        "starts": {"rule": "random_points"},
        "methods": {"em": {}},
    }
    return parse_experiment(values | changes, "here")


def points(x: np.ndarray) -> Dataset:
    return Dataset("points", x, tuple(f"x{d}" for d in range(x.shape[1])), None, "", "")


def fitted(experiment: Experiment, train: Dataset) -> Candidate:
    """A candidate that is climbed and not sampled."""
    problem = experiment.problem(train)
    nothing = Missing("not sampled")
    return Candidate(experiment, train, problem, climbed(experiment, problem), nothing, nothing)


@pytest.fixture(scope="module")
def sampled() -> Candidate:
    """Two components under a stated prior, sampled long enough."""
    experiment = experiment_of(2, prior=PRIOR)
    candidate = fitted(experiment, points(X))
    gibbs = Gibbs(num_warmup=200, num_samples=5000, num_chains=4)
    starts = draw_starts(experiment.starts, candidate.problem, 4, seed=0)
    trace = run(gibbs, candidate.problem, starts, named_key(0, "gibbs"))
    return replace(candidate, posterior=Posterior.of("gibbs", trace, candidate.problem, experiment.soundness))


@pytest.fixture(scope="module")
def unsampled() -> Candidate:
    """One component under the flat prior, which has no posterior."""
    candidate = fitted(experiment_of(1), points(X))
    assert isinstance(candidate.fit, Fit)
    # Without a posterior nothing begins anywhere.
    posterior, particles = sampled_by(candidate.experiment, candidate.problem, candidate.fit.ends)
    return replace(candidate, posterior=posterior, particles=particles)


@pytest.fixture(scope="module")
def exact_loo() -> np.ndarray:
    """ln P(x_n | all others), exactly: the predictive density of the posterior of the others. [N]"""
    prior = experiment_of(2, prior=PRIOR).prior
    others = [exact_posterior(Problem(np.delete(X, n, 0), 2, "full", prior), at=X[n : n + 1]) for n in range(len(X))]
    return np.log([found.density[0] for found in others])


@pytest.mark.slow
def test_bic_of_old_faithful_is_that_of_mclust() -> None:
    # Mclust(faithful) prints: EEE, 3 components, log-likelihood -1126.326, df 11, BIC -2314.316. It stops when the
    # log-likelihood rises by less than 1e-5 of itself, which is 0.02 in BIC; EM here climbs to the top.
    experiment = experiment_of(3, "tied", restarts=16, starts={"rule": "kmeans++"})
    faithful = fitted(experiment, experiment.data.load(0, Path())[0])
    assert faithful.num_parameters == 11
    assert 2 * value("bic", faithful) == pytest.approx(-2314.316, abs=0.03)


def test_icl_takes_from_bic_the_surprise_of_the_most_probable_components(
    sampled: Candidate, component_log_joint: Callable[..., np.ndarray]
) -> None:
    assert isinstance(sampled.fit, Fit)
    joint = component_log_joint(sampled.fit.mixture, X)
    surprise = float(np.sum(joint.max(1) - logsumexp(joint, axis=1)))
    assert surprise < -1e-3
    # Rounding of eight terms.
    assert value("icl", sampled) - value("bic", sampled) == pytest.approx(surprise, abs=1e-12)


def test_information_criteria_take_from_the_log_likelihood_the_price_of_the_parameters(
    sampled: Candidate, reference_log_likelihood: Callable[..., float]
) -> None:
    assert isinstance(sampled.fit, Fit)
    # A weight, two means and two variances.
    assert sampled.num_parameters == sampled.fit.mixture.num_parameters == 5
    best = reference_log_likelihood(sampled.fit.mixture, X)
    assert value("aic", sampled) == pytest.approx(best - 5, rel=1e-12)
    assert value("bic", sampled) == pytest.approx(best - 2.5 * np.log(len(X)), rel=1e-12)


def test_one_gaussian_is_cross_validated_by_its_own_mean_and_variance(unsampled: Candidate) -> None:
    score = heldout(unsampled)
    assert score.terms is not None
    for inside, left_out in folds(len(X), 0):
        expected = norm(np.mean(X[inside]), np.std(X[inside])).logpdf(X[left_out, 0])
        # EM of one component ends in one step, at rounding.
        np.testing.assert_allclose(score.terms[left_out], expected, rtol=1e-10)
    assert score.value == pytest.approx(np.sum(score.terms))
    assert score.standard_error == pytest.approx(np.sqrt(len(X)) * np.std(score.terms, ddof=1))


@pytest.mark.parametrize("num_points", [2, 9, 10, 82, 100])
def test_every_point_is_left_out_once_and_all_fits_see_equally_many(num_points: int) -> None:
    parts = folds(num_points, 5)
    assert sorted(np.concatenate([left_out for _, left_out in parts])) == list(range(num_points))
    assert {len(inside) for inside, _ in parts} == {num_points - -(-num_points // min(FOLDS, num_points))}
    assert all(not set(inside) & set(left_out) for inside, left_out in parts)


def test_psis_loo_is_the_exact_leave_one_out_of_refitting(sampled: Candidate, exact_loo: np.ndarray) -> None:
    assert isinstance(sampled.posterior, Posterior)
    (block,) = log_likelihoods(sampled.posterior.draws, X)  # [N, R, S]
    weights = np.exp(-block).reshape(len(X), -1)
    effective = sampled.posterior.efficiency * weights.shape[1]
    error = np.std(weights, axis=1) / np.mean(weights, axis=1) / np.sqrt(effective)  # [N]
    score = CRITERIA["loo"].score(sampled)
    assert score.terms is not None
    # Within z = 4 Monte-Carlo errors of the mean of the weights, which are small enough to tell anything.
    assert np.all(np.abs(score.terms - exact_loo) < 4 * error)
    assert np.median(error) < 0.03
    assert score.notes == ()


def test_waic_is_near_leave_one_out_and_says_where_it_is_not(sampled: Candidate, exact_loo: np.ndarray) -> None:
    score = waic(sampled)
    # They agree to first order in 1/N (Watanabe 2010); with eight points, a tenth of a nat each.
    np.testing.assert_allclose(score.terms, exact_loo, atol=0.1)


def test_waic_is_the_exact_predictive_density_less_the_variances(sampled: Candidate) -> None:
    assert isinstance(sampled.posterior, Posterior)
    (block,) = log_likelihoods(sampled.posterior.draws, X)  # [N, R, S]
    variances = np.var(block.reshape(len(X), -1), axis=1, ddof=1)
    terms = waic(sampled).terms
    assert terms is not None
    density = exact_posterior(sampled.problem).density
    # Four errors of a mean of some 2,000 effective draws of relative deviation 0.4.
    np.testing.assert_allclose(terms + variances, np.log(density), atol=0.035)


def test_points_are_scored_alike_however_they_are_cut(sampled: Candidate, monkeypatch: pytest.MonkeyPatch) -> None:
    assert isinstance(sampled.posterior, Posterior)
    (whole,) = log_likelihoods(sampled.posterior.draws, X)
    monkeypatch.setattr("workbench.selection.posterior_criteria.HELD", 3 * whole[0].size)
    blocks = list(log_likelihoods(sampled.posterior.draws, X))
    assert [len(block) for block in blocks] == [3, 3, 2]
    np.testing.assert_allclose(np.concatenate(blocks), whole, rtol=1e-12)


def test_a_point_that_the_draws_cannot_reach_is_warned_of(sampled: Candidate) -> None:
    assert isinstance(sampled.posterior, Posterior)
    # Another problem's points: one of them in the far tail of every draw.
    far = replace(sampled, problem=Problem(np.append(X, [[9.0]], axis=0), 2, "full", sampled.problem.prior))
    loo = CRITERIA["loo"].score(far)
    assert loo.notes == ("1 of 9 points (11%) have a Pareto k above 0.7",)
    # The importance weights of that point cannot be trusted, so the sum is not eligible.
    assert loo.value is None and loo.rejected is not None and loo.why == "Pareto k too large"
    assert any("variance above 0.4" in note for note in waic(far).notes)


@pytest.mark.parametrize(
    "family", [pytest.param(name, marks=[] if name == "full" else pytest.mark.slow) for name in sorted(COVARIANCES)]
)
def test_evidence_of_one_component_is_that_of_the_enumeration(family: str) -> None:
    x = np.random.default_rng(1).normal(size=(6, 2)) * [3.0, 40.0] + [100.0, -5.0]
    experiment = experiment_of(1, family, prior={"family": "conjugate"})
    problem, nothing = Problem(x, 1, family, ConjugatePrior()), Missing("not sampled")
    candidate = Candidate(experiment, points(x), problem, Missing("not climbed"), nothing, nothing)
    # Rounding: statistics about the data's mean here, about the prior's location there.
    assert value("evidence", candidate) == pytest.approx(exact_posterior(problem).log_evidence, rel=1e-11)


@pytest.mark.slow
def test_tempered_smc_tells_the_evidence_of_the_enumeration(sampled: Candidate) -> None:
    problem = sampled.problem
    smc = TemperedSMC(num_samples=500)
    starts = draw_starts(sampled.experiment.starts, problem, 4, seed=0)
    trace = run(smc, problem, starts, named_key(0, "smc"))
    found = Posterior.of("tempered_smc", trace, problem, sampled.experiment.soundness).evidence
    assert found is not None
    exact = exact_posterior(problem).log_evidence
    # The enumeration is what the criterion takes where it can; four standard errors of four runs, which are a little
    # more than normal ones.
    assert value("evidence", sampled) == exact
    assert abs(found.log_evidence - exact) < 5 * found.standard_error
    assert found.standard_error < 0.1


def test_evidence_is_sampled_where_it_cannot_be_summed(sampled: Candidate, monkeypatch: pytest.MonkeyPatch) -> None:
    assert isinstance(sampled.posterior, Posterior)
    monkeypatch.setattr("workbench.selection.posterior.MOST_ALLOCATIONS", 1)
    told = sampled.posterior._replace(evidence=Evidence(-20.0, 0.1, runs=4, largest_share=0.3))
    score = CRITERIA["evidence"].score(replace(sampled, particles=told))
    # The 84.13 % quantile of Student's t of three degrees is 1.1969.
    assert (score.value, score.standard_error) == (-20.0, pytest.approx(0.11969, rel=1e-4))
    untold = CRITERIA["evidence"].score(replace(sampled, particles=sampled.posterior))
    assert "no evidence" in untold.notes[0]


def test_one_run_that_outweighs_the_others_leaves_no_evidence(
    sampled: Candidate, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert isinstance(sampled.posterior, Posterior)
    monkeypatch.setattr("workbench.selection.posterior.MOST_ALLOCATIONS", 1)
    told = sampled.posterior._replace(evidence=Evidence(-20.0, 0.1, runs=4, largest_share=0.3))
    carried = told._replace(evidence=Evidence(-20.0, 0.9, runs=4, largest_share=0.9))
    score = CRITERIA["evidence"].score(replace(sampled, particles=carried))
    assert (score.value, score.rejected, score.why) == (None, -20.0, "one run carries the mean")
    # Estimates of runs have no bias however their particles mix: their spread tells the error.
    unmixed = CRITERIA["evidence"].score(replace(sampled, particles=told._replace(agrees=False, message="R-hat 1.5")))
    assert unmixed.value == -20.0 and unmixed.notes[0].endswith("R-hat 1.5")


def test_what_rests_on_draws_that_disagree_is_not_eligible(sampled: Candidate) -> None:
    assert isinstance(sampled.posterior, Posterior)
    disagreeing = replace(sampled, posterior=sampled.posterior._replace(agrees=False, message="R-hat 1.50"))
    for name in ("waic", "loo"):
        score, trusted = CRITERIA[name].score(disagreeing), CRITERIA[name].score(sampled)
        assert score.value is score.terms is score.standard_error is None
        assert score.rejected == trusted.value
        assert score.notes[0] == "gibbs: R-hat 1.50"


def test_without_a_proper_prior_what_needs_a_posterior_has_no_value_and_says_why(unsampled: Candidate) -> None:
    for name in ("waic", "loo", "evidence"):
        score = CRITERIA[name].score(unsampled)
        assert score.value is None
        assert "proper prior" in score.notes[0]


def test_without_a_sound_fit_what_needs_one_has_no_value_and_says_why(
    unsampled: Candidate, monkeypatch: pytest.MonkeyPatch
) -> None:
    unsound = Missing("none of 2 starts of em ends in a sound mixture")
    monkeypatch.setattr(
        "workbench.selection.fit_criteria.all_climbed", lambda _, problems, fit: len(problems) * [unsound]
    )
    monkeypatch.setattr("workbench.selection.fit_criteria.climbed", lambda *_: unsound)
    for name in ("aic", "bic", "icl", "heldout"):
        score = CRITERIA[name].score(replace(unsampled, fit=unsound))
        assert score.value is None
        assert unsound.why in score.notes[0]


def test_starts_that_all_collapse_give_no_fit() -> None:
    # A rule that asks for more points than there are.
    experiment = experiment_of(1, soundness={"min_relative_size": 100.0})
    fit = climbed(experiment, experiment.problem(points(X)))
    assert fit == Missing("none of 2 starts of em ends in a sound mixture")


def test_a_fold_that_cannot_be_fitted_leaves_no_value(unsampled: Candidate, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "workbench.selection.fit_criteria.all_climbed", lambda _, problems, fit: len(problems) * [unsampled.fit]
    )
    # Without the one point that differs the column is constant.
    score = heldout(replace(unsampled, train=points(np.array([[1.0], [1.0], [1.0], [2.0]]))))
    assert score.value is None
    assert "without fold" in score.notes[0]


@pytest.mark.parametrize("works", ["more starts", "the fit to all points"])
def test_one_fold_without_a_sound_start_does_not_blank_the_score(
    works: str, unsampled: Candidate, monkeypatch: pytest.MonkeyPatch
) -> None:
    unsound, tried = Missing("none of 2 starts of em ends in a sound mixture"), []

    def all_but_the_third(experiment: Experiment, problems: Sequence[Problem], _: Fit | Missing) -> list[Fit | Missing]:
        return [unsound if n == 3 else climbed(experiment, problem) for n, problem in enumerate(problems, 1)]

    def climb(experiment: Experiment, problem: Problem, starts: Any = None) -> Fit | Missing:
        tried.append((experiment.restarts, starts is None))
        return climbed(experiment, problem, starts) if len(tried) == len(expected) else unsound

    expected = [(8, True)] if works == "more starts" else [(8, True), (2, False)]
    plain = CRITERIA["heldout"].score(unsampled)
    monkeypatch.setattr("workbench.selection.fit_criteria.all_climbed", all_but_the_third)
    monkeypatch.setattr("workbench.selection.fit_criteria.climbed", climb)
    score = heldout(unsampled)
    assert score.value is not None and score.terms is not None and len(score.terms) == len(X)
    assert tried == expected
    assert len(score.notes) == 1 and score.notes[0].startswith("fold 3: none of 2 starts")
    # One component has one optimum, which every start finds.
    assert score.value == pytest.approx(plain.value, rel=1e-9)


def test_a_fold_is_climbed_from_the_ends_of_the_climb_to_all_points(
    sampled: Candidate, monkeypatch: pytest.MonkeyPatch
) -> None:
    experiment, fit = sampled.experiment, sampled.fit
    assert isinstance(fit, Fit)
    ends = np.asarray(sampled.problem.log_joint(jax.tree.map(lambda leaf: leaf[0], fit.ends)))
    assert ends == pytest.approx(float(sampled.problem.log_joint(fit.mixture)), rel=1e-12)
    problem, begun = experiment.problem(points(X[:-1])), []

    def climb(experiment: Experiment, problem: Problem, starts: Any = None) -> Fit | Missing:
        begun.append(starts)
        return climbed(experiment, problem, starts)

    monkeypatch.setattr("workbench.selection.candidate.is_nested", lambda *_: False)
    monkeypatch.setattr("workbench.selection.candidate.climbed", climb)
    all_climbed(experiment, [problem], fit)
    all_climbed(experiment, [problem], Missing("none"))
    own = draw_starts(experiment.starts, problem, 2, experiment.seed).means
    # Both starts, and as many ends as there are starts; both starts alone where there is no end.
    np.testing.assert_array_equal(begun[0].means[:2], own)
    np.testing.assert_array_equal(begun[0].means[2:], np.resize(fit.ends.means, (2, 2, 1)))
    np.testing.assert_array_equal(begun[1].means, own)


def value(name: str, candidate: Candidate) -> float:
    found = CRITERIA[name].score(candidate).value
    assert found is not None
    return found
