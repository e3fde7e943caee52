from collections.abc import Callable

import jax
import numpy as np
import pytest
from scipy.special import logsumexp

from workbench.diagnostics import heldout_log_density
from workbench.diagnostics.predictive import DRAWS_USED
from workbench.mixture import Mixture

# Two sums of a few hundred terms in float64.
ROUNDING = 1e-12


@pytest.fixture(scope="module")
def heldout() -> np.ndarray:
    return np.random.default_rng(5).normal(size=(15, 2)) * [2.0, 9.0] + [3.0, 70.0]


@pytest.fixture(scope="module")
def sample(points: np.ndarray, random_mixture: Callable[..., Mixture]) -> list[Mixture]:
    return [random_mixture(points, 3, "full", seed) for seed in range(7)]


def _stack(mixtures: list[Mixture]) -> Mixture:
    return jax.tree.map(lambda *leaves: np.stack(leaves), *mixtures)


def test_a_point_estimate_scores_its_mean_log_density(sample, heldout, component_log_joint):
    expected = logsumexp(component_log_joint(sample[0], heldout), axis=1)
    found = heldout_log_density(_stack(sample[:1]), heldout)
    assert found.log_density == pytest.approx(expected.mean(), rel=ROUNDING)
    assert found.standard_error == pytest.approx(expected.std(ddof=1) / np.sqrt(15), rel=ROUNDING)


def test_a_sample_scores_the_log_of_its_mean_density(sample, heldout, component_log_joint):
    densities = [logsumexp(component_log_joint(m, heldout), axis=1) for m in sample]
    expected = logsumexp(densities, axis=0) - np.log(len(sample))
    found = heldout_log_density(_stack(sample), heldout)
    assert found.log_density == pytest.approx(expected.mean(), rel=ROUNDING)
    assert found.standard_error == pytest.approx(expected.std(ddof=1) / np.sqrt(15), rel=ROUNDING)


def test_a_sample_of_equal_draws_scores_as_one_of_them(sample, heldout):
    once = heldout_log_density(_stack(sample[:1]), heldout)
    assert heldout_log_density(_stack(sample[:1] * 7), heldout) == pytest.approx(once, rel=ROUNDING)


def test_points_far_out_do_not_underflow(sample):
    far = np.array([[1e6, -1e6]])
    assert -np.inf < heldout_log_density(_stack(sample[:1]), np.tile(far, (15, 1))).log_density < -1e6


def test_one_held_out_point_has_a_score_and_no_error(sample, heldout):
    found = heldout_log_density(_stack(sample[:1]), heldout[:1])
    assert np.isfinite(found.log_density)
    assert np.isnan(found.standard_error)


def test_of_many_draws_those_used_are_spread_over_the_whole_sample(sample, heldout):
    # One mixture fills the first half of the sample, another the second: both must count by half.
    draws = 2 * DRAWS_USED
    halves = _stack(sample[:2])
    many = jax.tree.map(lambda leaf: np.repeat(leaf, draws // 2, axis=0), halves)
    expected = heldout_log_density(halves, heldout)
    assert heldout_log_density(many, heldout) == pytest.approx(expected, rel=ROUNDING)
