import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import minimize_scalar
from scipy.stats import norm

from workbench.geometry.rate import em_step, fits, slope


def test_a_step_never_lowers_the_likelihood_and_rests_at_its_maximum() -> None:
    x = np.random.default_rng(0).normal(size=200) + 0.3

    def minus_log_likelihood(theta: float) -> float:
        return -float(np.sum(np.log(0.7 * norm.pdf(x, theta) + 0.3 * norm.pdf(x, -theta))))

    theta, values = jnp.asarray(1.0), []
    for _ in range(200):
        values.append(-minus_log_likelihood(float(theta)))
        theta = em_step(theta, jnp.asarray(x), jnp.asarray(0.7))
    # Rounding of a sum of 200 terms.
    assert np.all(np.diff(values) > -1e-10)
    best = minimize_scalar(minus_log_likelihood, bounds=(-2, 2), method="bounded", options={"xatol": 1e-9})
    # The square root of the rounding of a function near its minimum.
    assert float(theta) == pytest.approx(best.x, abs=1e-6)


def test_a_slope_is_that_of_an_exact_power_with_the_error_of_its_weights() -> None:
    n = np.array([100, 1000, 10000])
    found = slope(n, 3.0 * n**-0.25, 0.3 * n**-0.25)
    assert found.value == pytest.approx(-0.25, abs=1e-12)
    # Ordinary least squares with an error of 0.1 in each of three points, ln(10) apart.
    assert found.standard_error == pytest.approx(0.1 / (np.log(10) * np.sqrt(2)))


def test_equal_keys_give_equal_fits_and_replications_differ() -> None:
    few, many = (fits(jax.random.key(3), 0.7, 100, 2) for _ in range(2))
    np.testing.assert_array_equal(few.theta, many.theta)
    assert np.all(few.converged) and few.theta[0] != few.theta[1]


def test_equal_weights_heal_at_half_the_rate_of_unequal_ones() -> None:
    """To three standard errors of 100 replications."""
    n = np.array([250, 4000])
    for weight, expected in ((0.5, -0.25), (0.7, -0.5)):
        errors = [np.abs(fits(jax.random.key(i), weight, int(size), 100).theta) for i, size in enumerate(n)]
        means = np.array([np.mean(e) for e in errors])
        spread = np.array([np.std(e, ddof=1) / 10 for e in errors])
        found = slope(n, means, spread)
        assert abs(found.value - expected) < 3 * found.standard_error
        assert found.standard_error < 0.06
