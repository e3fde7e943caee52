"""Gamma numbers that are drawn together have the gamma distribution, for every shape."""

import jax
import numpy as np
import pytest
from scipy import stats

from workbench.methods.population import log_gamma_draws


@pytest.mark.parametrize("shape", [0.05, 0.5, 1.0, 1.5, 7.0, 400.0])
def test_draws_have_the_distribution_of_their_shape(shape: float) -> None:
    draws = np.exp(np.asarray(log_gamma_draws(jax.random.key(7), np.full((100, 1000), shape))))
    # 1e-3: wrong in one of a thousand keys, and this one is fixed.
    assert stats.kstest(draws.ravel(), stats.gamma(shape).cdf).pvalue > 1e-3


def test_draws_of_different_shapes_do_not_know_of_each_other() -> None:
    shapes = np.repeat([0.3, 1.0, 20.0], 30000).reshape(3, -1)
    draws = np.exp(np.asarray(log_gamma_draws(jax.random.key(1), shapes)))
    # Five standard errors of a mean, and of a correlation.
    assert np.all(np.abs(draws.mean(1) - shapes[:, 0]) < 5 * np.sqrt(shapes[:, 0] / 30000))
    assert np.all(np.abs(np.corrcoef(draws) - np.eye(3)) < 5 / np.sqrt(30000))


def test_a_single_number_is_drawn() -> None:
    assert np.isfinite(log_gamma_draws(jax.random.key(0), np.asarray([2.0]))).all()
