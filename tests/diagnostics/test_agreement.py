from itertools import permutations

import numpy as np
import pytest
from sklearn.metrics import adjusted_rand_score

from workbench.data import Truth
from workbench.diagnostics import adjusted_rand_index, matched_error
from workbench.mixture import Mixture

# Sums of a few integers below 1e6, divided: a handful of roundings.
ROUNDING = 1e-12


@pytest.mark.parametrize("seed", range(20))
def test_adjusted_rand_index_equals_that_of_scikit_learn(seed):
    rng = np.random.default_rng(seed)
    labels = rng.integers(rng.integers(1, 6), size=rng.integers(2, 60))
    # From unrelated to nearly equal.
    predicted = np.where(rng.random(len(labels)) < rng.random(), labels, rng.integers(4, size=len(labels)))
    expected = adjusted_rand_score(labels, predicted)
    assert adjusted_rand_index(labels, predicted) == pytest.approx(expected, abs=ROUNDING)


@pytest.mark.parametrize(
    ("labels", "predicted"),
    [
        ([0, 0, 0, 0], [0, 0, 0, 0]),
        ([0, 1, 2, 3], [3, 2, 1, 0]),
        ([0, 0, 0, 0], [0, 1, 2, 3]),
        ([0, 0, 1, 1], [0, 1, 0, 1]),
    ],
)
def test_adjusted_rand_index_of_degenerate_partitions_equals_that_of_scikit_learn(labels, predicted):
    expected = adjusted_rand_score(labels, predicted)
    assert adjusted_rand_index(np.asarray(labels), np.asarray(predicted)) == pytest.approx(expected, abs=ROUNDING)


def test_adjusted_rand_index_is_one_for_renamed_labels_and_symmetric():
    rng = np.random.default_rng(0)
    labels = rng.integers(3, size=50)
    words = np.asarray(["versicolor", "setosa", "virginica"])[labels]
    other = rng.integers(4, size=50)
    assert adjusted_rand_index(words, labels) == 1.0
    assert adjusted_rand_index(words, other) == pytest.approx(adjusted_rand_index(other, words), abs=ROUNDING)


@pytest.fixture(scope="module")
def truth() -> Truth:
    """Four components in three dimensions, each with another spread."""
    rng = np.random.default_rng(1)
    factors = rng.normal(size=(4, 3, 3)) + 2 * np.eye(3)
    return Truth(np.array([0.1, 0.2, 0.3, 0.4]), 5 * rng.normal(size=(4, 3)), factors @ factors.transpose(0, 2, 1))


def _with_means(truth: Truth, means: np.ndarray) -> Mixture:
    return Mixture.from_covariances(truth.weights, means, truth.covariances)


def _deviations(truth: Truth) -> np.ndarray:
    return np.sqrt([np.trace(c) / len(c) for c in truth.covariances])


@pytest.mark.parametrize("order", list(permutations(range(4)))[::5])
def test_matched_error_is_zero_at_the_truth_in_any_order(truth, order):
    assert matched_error(_with_means(truth, truth.means).permute(np.asarray(order)), truth) == 0.0


@pytest.mark.parametrize("seed", range(5))
def test_matched_error_is_the_smallest_over_all_matchings(truth, seed):
    rng = np.random.default_rng(seed)
    means = truth.means[rng.permutation(4)] + 4 * rng.normal(size=(4, 3))
    candidates = [
        np.sqrt(np.mean(np.sum((means[list(order)] - truth.means) ** 2, 1) / _deviations(truth) ** 2))
        for order in permutations(range(4))
    ]
    # Sums of a dozen terms.
    assert matched_error(_with_means(truth, means), truth) == pytest.approx(min(candidates), rel=1e-12)


def test_matched_error_is_one_where_every_mean_is_one_standard_deviation_off(truth):
    rng = np.random.default_rng(2)
    direction = rng.normal(size=(4, 3))
    direction /= np.linalg.norm(direction, axis=1, keepdims=True)
    means = truth.means + _deviations(truth)[:, None] * direction
    assert matched_error(_with_means(truth, means), truth) == pytest.approx(1.0, rel=1e-12)


def test_matched_error_does_not_depend_on_the_unit(truth):
    means = truth.means + 0.1
    other = truth.rescale(np.zeros(3), np.full(3, 1000.0))
    in_unit = matched_error(_with_means(truth, means), truth)
    assert matched_error(_with_means(other, means / 1000), other) == pytest.approx(in_unit, rel=1e-12)


def test_matched_error_is_infinite_where_the_numbers_of_components_differ(truth):
    fewer = Mixture.from_covariances([0.5, 0.5], truth.means[:2], truth.covariances[:2])
    assert matched_error(fewer, truth) == np.inf
