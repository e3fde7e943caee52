import functools
from dataclasses import replace

import jax
import numpy as np
import pytest

from workbench.charts import Chart
from workbench.engine.one_pass import one_pass
from workbench.geometry.curvature import complete_fisher, em_as_ascent, information
from workbench.geometry.rate import error_ratios, iterations_until, rates
from workbench.geometry.stationary import Kind, classify
from workbench.mixture import COVARIANCES
from workbench.starts import Given

_information = jax.jit(lambda p, m: information(p, m, Chart.of(p, weights="log_ratio")))
_as_ascent = jax.jit(em_as_ascent)

# The others compile their own programs, for seconds each.
FITTED = [
    ("full", "flat"),
    pytest.param("full", "conjugate", marks=pytest.mark.slow),
    pytest.param("tied", "flat", marks=pytest.mark.slow),
    pytest.param("diagonal", "flat", marks=pytest.mark.slow),
    pytest.param("spherical", "conjugate", marks=pytest.mark.slow),
]


@pytest.fixture(scope="module")
def optimum_of(problem_of, em_step):
    """A certified maximum of two components, by EM from stated means and Newton polishing."""

    @functools.cache
    def make(covariance, prior="flat"):
        problem = problem_of(covariance, prior, 2)
        spread = np.cov(problem.x, rowvar=False)
        given = {"full": [spread, spread], "tied": spread, "diagonal": [np.diag(spread)] * 2, "spherical": [90.0] * 2}
        start = Given(
            weights=[0.4, 0.6], means=[[-1, 10], [5, 110]], covariances=np.asarray(given[covariance]).tolist()
        )
        mixture = jax.tree.map(lambda leaf: leaf[0], start.draw(problem, 1, 0))
        for _ in range(300):
            mixture, _ = em_step(problem, mixture)
        nature = classify(problem, mixture)
        assert nature.kind == Kind.MAXIMUM
        return problem, nature.mixture

    return make


@pytest.mark.parametrize(("covariance", "prior"), FITTED)
def test_the_jacobian_of_em_is_what_the_informations_say(covariance, prior, optimum_of) -> None:
    """DM = I - I_com^-1 I_obs at a fixed point, to 1e-8: three derivatives, found each on its own."""
    known = _information(*optimum_of(covariance, prior))
    expected = np.eye(len(known.jacobian)) - np.linalg.solve(known.complete, known.observed)
    np.testing.assert_allclose(known.jacobian, expected, rtol=0, atol=1e-8)
    fractions = np.sort(np.linalg.eigvals(np.asarray(known.jacobian)).real)[::-1]
    # Eigenvalues of a matrix that is not symmetric lose a few digits more.
    np.testing.assert_allclose(rates(known).missing, fractions, rtol=0, atol=1e-7)
    assert np.all(rates(known).missing < 1) and np.all(rates(known).missing > -1e-8)


@pytest.mark.slow
def test_the_complete_information_at_a_maximum_is_the_fisher_information_of_labelled_points(optimum_of) -> None:
    problem, mixture = optimum_of("full")
    fisher = complete_fisher(problem, mixture, Chart.of(problem, weights="log_ratio"))
    # The gradient of Q there is zero to rounding, and so is what the chart adds to its Hessian.
    np.testing.assert_allclose(fisher, _information(problem, mixture).complete, rtol=0, atol=1e-6)


def test_successive_errors_of_em_shrink_by_the_largest_fraction_of_missing_information(optimum_of) -> None:
    problem, mixture = optimum_of("full")
    chart = Chart.of(problem, weights="log_ratio")
    rate = rates(_information(problem, mixture)).em
    start = replace(mixture, means=1.001 * mixture.means)
    ratios = error_ratios(problem, start, mixture, chart, 40)
    clear = np.flatnonzero(np.cumprod(ratios) > 1e-5)[-1]
    # The next slowest direction has died down to a percent by then.
    assert float(ratios[clear]) == pytest.approx(rate, rel=1e-2)


def test_iterations_until_a_gap_count_the_square_of_the_rate() -> None:
    assert iterations_until(0.5, 2.0**-20) == pytest.approx(10)
    assert iterations_until(1.0, 1e-8) == np.inf
    assert iterations_until(0.0, 1e-8) == 1.0


@pytest.mark.parametrize("covariance", COVARIANCES)
def test_an_em_step_is_a_positive_definite_matrix_times_the_gradient_anywhere(
    covariance, problem_of, random_mixture
) -> None:
    """Xu & Jordan (1996), away from any optimum."""
    problem = problem_of(covariance)
    mixture = random_mixture(problem.x, 3, covariance, seed=5)
    step, gradient, matrix = (np.asarray(a) for a in _as_ascent(problem, mixture))
    size = np.abs(matrix) @ np.abs(gradient)  # rounding is relative to the terms of the sums
    assert np.all(np.abs(step - matrix @ gradient) <= 1e-10 * size)
    scale = np.sqrt(np.diag(matrix))
    np.testing.assert_array_equal(matrix, matrix.T)
    # Correlations: units do not decide whether the smallest eigenvalue stands above rounding.
    assert np.linalg.eigvalsh(matrix / np.outer(scale, scale))[0] > 1e-6


def test_the_matrix_of_an_em_step_is_the_published_one(problem_of, random_mixture) -> None:
    problem = problem_of("full")
    mixture = random_mixture(problem.x, 3, "full", seed=5)
    counts = np.asarray(one_pass(mixture, problem.rows)[1].counts)
    weights, covariances = np.asarray(mixture.weights), np.asarray(mixture.covariances)
    matrix = np.asarray(_as_ascent(problem, mixture).matrix)
    of_weights = (np.diag(weights) - np.outer(weights, weights))[:2, :2] / problem.num_points
    np.testing.assert_allclose(matrix[:2, :2], of_weights, rtol=1e-9)
    for k in range(3):
        mean = slice(2 + 2 * k, 4 + 2 * k)
        np.testing.assert_allclose(matrix[mean, mean], covariances[k] / counts[k], rtol=1e-9)
        own = slice(8 + 3 * k, 11 + 3 * k)
        np.testing.assert_allclose(matrix[own, own], _of_covariance(covariances[k]) / counts[k], rtol=1e-9)


def _of_covariance(sigma):
    """Covariance of the distinct entries of a Wishart matrix of one degree: s_ik s_jl + s_il s_jk. [3, 3]"""
    entries = [(0, 0), (1, 0), (1, 1)]
    return np.array([[sigma[i, k] * sigma[j, m] + sigma[i, m] * sigma[j, k] for k, m in entries] for i, j in entries])


def test_the_derivative_of_an_em_step_is_its_finite_difference(problem_of, random_mixture, em_step) -> None:
    """The origins of the statistics are constants of the derivative, not of the step."""
    problem = problem_of("full")
    mixture = random_mixture(problem.x, 3, "full", seed=2)

    @jax.jit
    def moved(h):
        return problem.em_step(replace(mixture, means=mixture.means + h))[0].means

    _, exact = jax.jvp(moved, (0.0,), (1.0,))
    h = 1e-5
    # Central differences: error h^2 of a third derivative of order one, and rounding eps / h.
    np.testing.assert_allclose(exact, (moved(h) - moved(-h)) / (2 * h), rtol=1e-5, atol=1e-7)
