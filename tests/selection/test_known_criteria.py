"""Criteria over K where components of rows are known: by formulas in NumPy, sums over numberings, and equal folds."""

from collections.abc import Callable
from itertools import permutations
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import logsumexp

from workbench.data import Dataset
from workbench.data.known import UNKNOWN, Known, fewest_components
from workbench.experiment import Experiment
from workbench.mixture import ConjugatePrior, Mixture
from workbench.mixture.filled import COMPONENTS
from workbench.posterior import exact_posterior
from workbench.problem import Problem
from workbench.selection import nesting
from workbench.selection.asked import setting_of, with_components
from workbench.selection.candidate import Candidate, Fit
from workbench.selection.fit_criteria import _part_of, bic, heldout, icl
from workbench.selection.posterior import Missing, Posterior, has_exact_evidence
from workbench.selection.posterior_criteria import evidence, log_likelihoods, log_numberings, waic

K = 2
Points = np.ndarray


@pytest.fixture(scope="module")
def data() -> Dataset:
    """Two groups of 30 points, of which every fifth has a known class; the second group comes first."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(60, 1)) + np.where(np.arange(60) < 30, 4.0, 0.0)[:, None]
    known = np.where(np.arange(60) % 5 == 0, np.where(np.arange(60) < 30, "high", "low"), "")
    return Dataset("d", x, ("a",), None, "", "", known=known)


def numbers(data: Dataset) -> Points:
    """0 is `high`, and 1 `low`. [N]"""
    assert data.known is not None
    return np.asarray([{"": UNKNOWN, "high": 0, "low": 1}[name] for name in data.known.tolist()])


def experiment_of(data: Dataset) -> Experiment:
    given: dict[str, Any] = {
        "restarts": 4,
        "data": {"dataset": "galaxies"},
        "model": {"components": K},
        "methods": {"em": {"method": "em", "tolerance": 1e-13}},
    }
    return with_components(Experiment.model_validate(given), K, data)


@pytest.fixture(scope="module")
def candidate(data: Dataset, after_em: Callable[..., Mixture]) -> Candidate:
    """The end of EM and made-up draws about it."""
    experiment = experiment_of(data)
    problem = experiment.problem(data)
    end = after_em(problem, 500)
    rng, shape = np.random.default_rng(1), (2, 50)
    repeated = jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (*shape, *leaf.shape)), end)
    means = repeated.means + 0.1 * rng.normal(size=repeated.means.shape)
    draws = Mixture(repeated.weights, means, repeated.scales, repeated.covariance)
    fit = Fit(end, float(problem.log_likelihood(end)), (), jax.tree.map(lambda leaf: np.asarray(leaf)[None], end))
    posterior = Posterior("made up", draws, 1.0, None, True, "")
    return Candidate(experiment, data, problem, fit, posterior, Missing("none"))


def joint(mixture: Mixture, x: Points, component_log_joint: Any) -> Points:
    return np.asarray(component_log_joint(mixture, x))


def test_a_known_row_counts_by_its_own_component_and_is_no_doubt(
    data: Dataset, candidate: Candidate, component_log_joint: Any
) -> None:
    assert isinstance(candidate.fit, Fit)
    own, each = numbers(data), joint(candidate.fit.mixture, data.x, component_log_joint)
    total = logsumexp(each, axis=1)
    terms = np.where(own == UNKNOWN, total, each[np.arange(60), np.maximum(own, 0)])
    expected = np.sum(terms) - 0.5 * np.log(60) * 5
    assert bic(candidate).value == pytest.approx(expected, rel=1e-10)
    doubt = np.where(own == UNKNOWN, np.max(each, axis=1) - total, 0.0)
    assert icl(candidate).value == pytest.approx(expected + np.sum(doubt), rel=1e-10)


def test_draws_are_judged_by_the_terms_of_the_likelihood(
    data: Dataset, candidate: Candidate, component_log_joint: Any
) -> None:
    assert isinstance(candidate.posterior, Posterior)
    draws, own = candidate.posterior.draws, numbers(data)
    (block,) = log_likelihoods(draws, data.x, own)  # [N, R, S]
    one = jax.tree.map(lambda leaf: leaf[1, 7], draws)
    each = joint(one, data.x, component_log_joint)
    terms = np.where(own == UNKNOWN, logsumexp(each, axis=1), each[np.arange(60), np.maximum(own, 0)])
    np.testing.assert_allclose(block[:, 1, 7], terms, rtol=1e-10)
    assert np.sum(terms) == pytest.approx(float(candidate.problem.log_likelihood(one)), rel=1e-12)
    flat = block.reshape(60, -1)
    density = logsumexp(flat, axis=1) - np.log(flat.shape[1])
    assert waic(candidate).value == pytest.approx(np.sum(density - np.var(flat, axis=1, ddof=1)), rel=1e-10)


def test_the_evidence_is_that_of_which_rows_belong_together() -> None:
    prior = ConjugatePrior(mean_location=(0.0,), mean_shrinkage=0.3, degrees_of_freedom=4.0, scatter=((1.5,),))
    x, classes = np.asarray([-3.1, -2.2, 0.3, 0.9, 2.6, 3.3]), np.asarray([0, 0, -1, 1, -1, 1])
    for k in (2, 3):
        problem = Problem(x, k, "full", prior, label_known=classes)
        assert has_exact_evidence(problem)
        # Numbers as such: a table whose classes are 1 and 2 would be one that counts from 1.
        owns = [Known(np.where(classes < 0, -1, np.take(order, classes))) for order in permutations(range(k), 2)]
        each = [exact_posterior(Problem(x, k, "full", prior, label_known=own)).log_evidence for own in owns]
        made = Candidate(None, None, problem, Missing(""), Missing(""), Missing(""))  # type: ignore[arg-type]
        assert evidence(made).value == pytest.approx(logsumexp(each), rel=1e-12)
        assert log_numberings(problem) == pytest.approx(np.log(2 if k == 2 else 6))
    assert log_numberings(Problem(x, 2, "full", prior)) == 0.0


def test_the_evidence_of_one_component_is_exact_if_no_cell_is_missing() -> None:
    x = np.random.default_rng(0).normal(size=(30, 2))
    assert has_exact_evidence(Problem(x, 1, prior="conjugate", missing="marginal"))
    x[4, 1] = np.nan
    assert not has_exact_evidence(Problem(x, 1, prior="conjugate", missing="marginal"))


def test_a_part_without_a_class_keeps_the_numbers_of_the_others(data: Dataset, candidate: Candidate) -> None:
    assert data.known is not None
    low = data.some(data.known != "high")
    part = _part_of(candidate, low)
    assert part.known is not None
    np.testing.assert_array_equal(part.known.components, numbers(low))
    assert part.rows.tree_flatten()[1][0] == len(low.x)
    nothing = Known(np.asarray([0, 2, -1])).numbered(np.asarray(["", "2"]))
    np.testing.assert_array_equal(nothing.components, [-1, 2])


def test_the_fewest_components_are_those_that_rows_are_known_to_come_from(data: Dataset) -> None:
    assert data.known is not None and fewest_components(data.known) == 2
    assert fewest_components(np.asarray(["0", "", "4"])) == 5 and fewest_components(np.asarray(["", ""])) == 0
    assert "60 points in 1 column, 12 rows of known component; full" in setting_of(experiment_of(data), data)


@pytest.mark.parametrize("family", ["full", "tied"])
def test_a_nested_problem_knows_the_same_rows(
    family: str, points: Points, random_mixture: Callable[..., Mixture]
) -> None:
    known = np.where(np.arange(len(points)) % 4 == 0, np.arange(len(points)) % 3, UNKNOWN)
    problem = Problem(points, 3, family, ConjugatePrior(), label_known=known).padded(64)
    nested = problem.nested_in(COMPONENTS)
    mixture = random_mixture(points, 3, family, 1)
    whole = jax.tree.map(lambda leaf: leaf[0], nesting.padded(jax.tree.map(lambda leaf: leaf[None], mixture), problem))
    plain = Problem(points, 3, family, ConjugatePrior(), label_known=known)
    assert float(nested.log_likelihood(whole)) == pytest.approx(float(plain.log_likelihood(mixture)), rel=1e-12)
    ours, theirs = jax.jit(nested.em_step)(whole)[0], jax.jit(plain.em_step)(mixture)[0]
    if family != "tied":  # the means of inactive components count in its M-step
        np.testing.assert_allclose(ours.means[:3], theirs.means, rtol=1e-9)
        np.testing.assert_allclose(ours.scales[:3], theirs.scales, rtol=1e-9, atol=1e-12)


@pytest.mark.slow
def test_folds_score_the_rows_left_out_by_their_density(data: Dataset, candidate: Candidate) -> None:
    score = heldout(candidate)
    assert score.value is not None and score.terms is not None and score.terms.shape == (60,)
    free = candidate.experiment.problem(Dataset("d", data.x, ("a",), None, "", ""))
    # Groups are far apart, so that fits with and without known rows differ little.
    assert abs(np.mean(score.terms) - float(free.log_likelihood(candidate.fit.mixture)) / 60) < 0.2  # type: ignore[union-attr]
