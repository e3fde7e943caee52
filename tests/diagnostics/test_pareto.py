"""Tests of Pareto-smoothed importance sampling, against ArviZ."""

import numpy as np
import pytest
from arviz_stats.base import array_stats
from scipy.special import logsumexp

from workbench.diagnostics.pareto import smoothed_log_weights

# Log ratios of light and heavy tails: k is about -1 for uniform ratios, and the multiplier for exponential logarithms.
TAILS = {
    "uniform": lambda rng, shape: np.log(rng.uniform(size=shape)),
    "normal": lambda rng, shape: rng.normal(size=shape),
    "light": lambda rng, shape: 0.2 * rng.exponential(size=shape),
    "heavy": lambda rng, shape: 0.9 * rng.exponential(size=shape),
    "few values": lambda rng, shape: rng.integers(0, 400, size=shape) / 50.0,
}


@pytest.mark.parametrize("efficiency", [1.0, 0.3])
@pytest.mark.parametrize("draws", [40, 1000, 4001])
@pytest.mark.parametrize("tail", TAILS)
def test_smoothed_weights_are_those_of_arviz(tail: str, draws: int, efficiency: float) -> None:
    log_ratios = TAILS[tail](np.random.default_rng(3), (5, draws))
    log_weights, shapes = smoothed_log_weights(log_ratios, efficiency)
    with np.errstate(divide="ignore", invalid="ignore"):
        expected, expected_shapes = array_stats.psislw(-log_ratios, r_eff=efficiency, axis=-1)
    # The same operations in almost the same order: 1e-12 leaves room for the order of sums.
    np.testing.assert_allclose(shapes, expected_shapes, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(np.sort(log_weights), np.sort(expected), rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(logsumexp(log_weights, axis=1), 0.0, atol=1e-12)


@pytest.mark.parametrize("draws", [8, 400])
def test_a_tail_without_a_distribution_is_not_smoothed(draws: int) -> None:
    log_ratios = np.zeros((1, draws)) if draws > 25 else np.random.default_rng(0).normal(size=(1, draws))
    log_weights, shapes = smoothed_log_weights(log_ratios, 1.0)
    assert np.all(np.isposinf(shapes))
    np.testing.assert_allclose(log_weights, log_ratios - logsumexp(log_ratios), atol=1e-14)


def test_the_shape_is_that_of_the_tail() -> None:
    # Ratios exp(k E) with E exponential are Pareto with shape k. The prior draws k to 1/2 by 10 of the 300 or so draws
    # in the tail, .02 here; .15 is three standard errors (1 + k) / sqrt(300) on top of that.
    rng = np.random.default_rng(7)
    _, shapes = smoothed_log_weights(0.3 * rng.exponential(size=(20, 10_000)), 1.0)
    assert np.mean(shapes) == pytest.approx(0.3, abs=0.15)
