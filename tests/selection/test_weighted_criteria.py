"""Criteria over K on rows with weights: those of the rows repeated, N being the sum of the weights."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.typing import NDArray

from workbench.data import Dataset
from workbench.experiment import Experiment
from workbench.mixture import Mixture
from workbench.selection.asked import setting_of, with_components
from workbench.selection.candidate import Candidate, climbed
from workbench.selection.fit_criteria import aic, bic, heldout, icl
from workbench.selection.posterior import Missing, Posterior
from workbench.selection.posterior_criteria import loo, waic
from workbench.selection.score import Score

pytestmark = pytest.mark.slow

K = 2


def data() -> tuple[Dataset, Dataset]:
    """Weighted rows, and the rows repeated: two groups of 30 observations."""
    rng = np.random.default_rng(0)
    x = np.round(np.concatenate([rng.normal(size=(20, 1)), rng.normal(5.0, 1.0, size=(20, 1))]), 1)
    weights = 1.0 + np.bincount(rng.integers(0, 40, 20), minlength=40)
    weighted = Dataset("w", x, ("a",), None, "", "", weights=weights)
    return weighted, Dataset("r", np.repeat(x, weights.astype(int), axis=0), ("a",), None, "", "")


def draws(problem_means: NDArray[np.float64]) -> Posterior:
    """Two chains of made-up draws about a fit."""
    rng, shape = np.random.default_rng(1), (2, 200)
    means = problem_means + 0.1 * rng.normal(size=(*shape, K, 1))
    mixtures = Mixture.from_covariances([0.5, 0.5], [[0.0], [1.0]], [[[1.0]], [[1.0]]])
    repeated = jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (*shape, *leaf.shape)), mixtures)
    moved = Mixture(repeated.weights, jnp.asarray(means), repeated.scales, repeated.covariance)
    return Posterior("made up", moved, 1.0, None, True, "")


def candidate_of(train: Dataset) -> Candidate:
    experiment = Experiment.model_validate(
        {
            "restarts": 4,
            "data": {"dataset": "galaxies"},
            "model": {"components": K},
            "starts": {"rule": "kmeans"},
            "methods": {"em": {"method": "em", "tolerance": 1e-13}},
        }
    )
    experiment = with_components(experiment, K, train)
    problem = experiment.problem(train)
    fit = climbed(experiment, problem)
    assert not isinstance(fit, Missing)
    centre = np.asarray(fit.mixture.canonical().means)
    return Candidate(experiment, train, problem, fit, draws(centre), Missing("none"))


@pytest.fixture(scope="module")
def candidates() -> tuple[Candidate, Candidate]:
    weighted, repeated = map(candidate_of, data())
    return weighted, repeated


@pytest.mark.parametrize("criterion", [aic, bic, icl, heldout, waic, loo])
def test_a_criterion_of_weighted_rows_is_that_of_the_repeated_rows(
    criterion: object, candidates: tuple[Candidate, Candidate]
) -> None:
    ours, theirs = (criterion(each) for each in candidates)  # type: ignore[operator]
    assert isinstance(ours, Score) and ours.value is not None
    # Climbs end within the tolerance of 1e-13 of their height, and PSIS sorts equal weights in another order.
    assert ours.value == pytest.approx(theirs.value, abs=1e-6)
    for field in ("standard_error", "monte_carlo_error"):
        one, other = getattr(ours, field), getattr(theirs, field)
        assert (one is None) == (other is None)
        assert one is None or one == pytest.approx(other, rel=1e-6)
    stored = Score.from_dict(ours.to_dict())
    worse = Score.of_terms(stored.terms - 0.1, weights=stored.weights) if stored.terms is not None else None
    if worse is not None and (difference := stored.above(worse)) is not None:
        assert difference.below == pytest.approx(0.1 * 60)  # N observations


def test_the_request_says_that_rows_are_weighted() -> None:
    weighted, repeated = data()
    experiment = candidate_of(weighted).experiment
    assert "40 weighted rows (N = 60) in 1 column" in setting_of(experiment, weighted)
    assert "60 points in 1 column" in setting_of(experiment, repeated)


def test_weighted_rows_with_missing_cells_are_judged_as_the_rows_repeated() -> None:
    rng = np.random.default_rng(3)
    x = rng.normal(size=(60, 2)) + 6.0 * np.repeat([[0.0], [1.0]], 30, axis=0)
    x[:12, 0], x[12:20, 1] = np.nan, np.nan
    weights = rng.integers(1, 3, 60).astype(float)
    weighted = Dataset("w", x, ("a", "b"), None, "", "", missing="marginal", weights=weights)
    repeated = Dataset("r", np.repeat(x, weights.astype(int), axis=0), ("a", "b"), None, "", "", missing="marginal")
    ours, theirs = candidate_of(weighted), candidate_of(repeated)
    for criterion in (bic, icl, heldout):
        assert criterion(ours).value == pytest.approx(criterion(theirs).value, abs=1e-6)
