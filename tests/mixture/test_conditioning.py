"""Marginals, conditionals and regression: held to SciPy's densities, to quadrature and to NumPy's linear algebra."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.special import logsumexp
from scipy.stats import multivariate_normal

from workbench.errors import InputError
from workbench.mixture import COVARIANCES, Mixture

K = 3
FAMILIES = pytest.mark.parametrize("family", COVARIANCES)
Points = NDArray[np.float64]
Random = Callable[..., Mixture]


@pytest.fixture(scope="module")
def wide() -> Points:
    """60 rows of four correlated columns."""
    rng = np.random.default_rng(11)
    return rng.normal(size=(60, 4)) @ rng.normal(size=(4, 4)) + 3.0 * (np.arange(60) < 25)[:, None]


def density(mixture: Mixture, x: Points, places: list[int]) -> Points:
    """Log density of some columns, by SciPy from the dense covariances. [N]"""
    parts = [
        np.log(w) + np.atleast_1d(multivariate_normal(m[places], c[np.ix_(places, places)]).logpdf(x))
        for w, m, c in zip(*map(np.asarray, (mixture.weights, mixture.means, mixture.covariances)), strict=True)
    ]
    return np.asarray(logsumexp(parts, axis=0))


@FAMILIES
def test_a_marginal_is_the_density_of_its_columns(family: str, wide: Points, random_mixture: Random) -> None:
    mixture = random_mixture(wide, K, family, seed=1)
    for places in ([2], [3, 0], [1, 2, 3]):
        part = mixture.marginal(places)
        assert (part.covariance, part.num_dimensions) == (mixture.covariance, len(places))
        # Both invert covariances of condition number below 1e4.
        np.testing.assert_allclose(
            part.log_density(wide[:, places]), density(mixture, wide[:, places], places), rtol=1e-10
        )


@FAMILIES
def test_joint_density_is_that_of_the_given_columns_times_the_conditional(
    family: str, wide: Points, random_mixture: Random
) -> None:
    mixture = random_mixture(wide, K, family, seed=2)
    given, others = [3, 1], [0, 2]
    expected = density(mixture, wide, [0, 1, 2, 3]) - density(mixture, wide[:, given], given)
    batch = mixture.conditional({3: wide[:, 3], 1: wide[:, 1]})
    assert batch.covariance == mixture.covariance
    found = [np.asarray(row.log_density(wide[n][None, others])) for n, row in enumerate(rows_of(batch))]
    np.testing.assert_allclose(np.concatenate(found), expected, rtol=1e-9, atol=1e-9)
    one = mixture.conditional({3: float(wide[7, 3]), 1: float(wide[7, 1])})
    np.testing.assert_allclose(one.log_density(wide[7][None, others]), expected[7:8], rtol=1e-9, atol=1e-9)


def rows_of(batch: Mixture) -> list[Mixture]:
    return [jax.tree.map(lambda leaf, n=n: leaf[n], batch) for n in range(len(batch.weights))]


@FAMILIES
def test_regression_is_the_moments_of_the_conditional(family: str, wide: Points, random_mixture: Random) -> None:
    mixture = random_mixture(wide, K, family, seed=3)
    given = {0: wide[:, 0], 2: wide[:, 2]}
    mean, covariance = mixture.regression(given)
    again = mixture.conditional(given).moments()
    # Sums of a few terms of order ten, squared.
    np.testing.assert_allclose(mean, again.mean, rtol=1e-10, atol=1e-10)
    np.testing.assert_allclose(covariance, again.covariance, rtol=1e-10, atol=1e-9)
    single = mixture.regression({0: float(wide[4, 0]), 2: float(wide[4, 2])})
    assert single.mean.shape == (2,) and single.covariance.shape == (2, 2)
    np.testing.assert_allclose(single.covariance, covariance[4], rtol=1e-10, atol=1e-10)


def test_regression_is_that_of_quadrature() -> None:
    mixture = Mixture.from_covariances(
        [0.4, 0.6], [[0.0, 1.0], [2.0, -1.0]], [[[1.0, 0.6], [0.6, 0.8]], [[0.5, -0.2], [-0.2, 0.4]]]
    )
    y = np.linspace(-12.0, 12.0, 4801)
    for x in (-1.0, 0.7, 2.5):
        joint = np.exp(np.asarray(mixture.log_density(np.stack([np.full_like(y, x), y], axis=1))))
        mass = np.trapezoid(joint, y)
        mean = np.trapezoid(y * joint, y) / mass
        variance = np.trapezoid((y - mean) ** 2 * joint, y) / mass
        found = mixture.regression({0: x})
        # The trapezium rule is exact up to rounding: eleven deviations on both sides.
        assert (float(found.mean[0]), float(found.covariance[0, 0])) == pytest.approx((mean, variance), abs=1e-10)


def test_one_component_regresses_as_least_squares_does(wide: Points) -> None:
    covariance = np.cov(wide.T, ddof=0)
    mixture = Mixture.from_covariances([1.0], wide.mean(0)[None], covariance[None])
    design = np.column_stack([np.ones(len(wide)), wide[:, :3]])
    fitted = design @ np.linalg.lstsq(design, wide[:, 3], rcond=None)[0]
    found = mixture.regression({0: wide[:, 0], 1: wide[:, 1], 2: wide[:, 2]})
    np.testing.assert_allclose(found.mean[:, 0], fitted, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(found.covariance[:, 0, 0], np.mean((wide[:, 3] - fitted) ** 2), rtol=1e-9)


@FAMILIES
def test_draws_have_the_moments_of_the_mixture(family: str, points: Points, random_mixture: Random) -> None:
    mixture = random_mixture(points, K, family, seed=4)
    x, components = map(np.asarray, mixture.sample(jax.random.key(5), 4000))
    mean, covariance = mixture.moments()
    error = np.sqrt(np.diag(covariance) / len(x))
    # Four standard errors: of eight means, one lies beyond by chance once in two thousand such tests.
    assert np.all(np.abs(x.mean(0) - mean) < 4 * error)
    shares = np.bincount(components, minlength=K) / len(x)
    weights = np.asarray(mixture.weights)
    assert np.all(np.abs(shares - weights) < 4 * np.sqrt(weights * (1 - weights) / len(x)))
    # White draws have a Wishart scatter; an entry deviates by sqrt(kurtosis / N), and kurtosis here is below 5.
    white = np.linalg.solve(np.linalg.cholesky(covariance), (x - mean).T)
    np.testing.assert_allclose(white @ white.T / len(x), np.eye(2), atol=4 * np.sqrt(5 / len(x)))


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (lambda m: m.marginal([]), "columns: give at least one name or position"),
        (lambda m: m.marginal("ab"), "columns: give at least one name or position"),
        (lambda m: m.marginal(["a"]), "columns: the mixture's columns have no names; give positions"),
        (lambda m: m.named(["a", "b"]).regression({"c": 1.0}), "given: unknown column 'c'. Allowed: a, b"),
        (lambda m: m.named(["a", "b"]).marginal(["a", "a"]), "columns: column 'a' appears twice"),
        (lambda m: m.named(["a", "b"]).marginal(["a", 1]), "columns: must be a whole number"),
        (lambda m: m.marginal([0, 0]), r"columns: \[0, 0\] are not different positions from 0 to 1"),
        (lambda m: m.marginal([2]), r"columns: \[2\] are not different positions from 0 to 1"),
        (lambda m: m.marginal([-1]), "columns: must be a whole number of at least 0, got -1"),
        (lambda m: m.conditional([1.0]), "given: must map columns to values"),
        (lambda m: m.conditional({0: 1.0, 1: 2.0}), "given: has all 2 columns"),
        (lambda m: m.conditional({0: [[1.0]]}), r"given: values have shapes \[1, 1\]"),
        (lambda m: m.conditional({0: np.nan}), "x: data row 1, column 'x1' is nan"),
        (lambda m: m.regression({0: [0.0, 1e200]}), "x: data row 2: so far out"),
    ],
)
def test_a_wrong_question_is_one_message(
    ask: Callable[[Mixture], Any], message: str, points: Points, random_mixture: Random
) -> None:
    with pytest.raises(InputError, match=message):
        ask(random_mixture(points, K, "full", seed=1))


def test_values_of_three_columns_need_one_length(wide: Points, random_mixture: Random) -> None:
    mixture = random_mixture(wide, K, "full", seed=1)
    with pytest.raises(InputError, match=r"given: values have shapes \[2\], \[3\]; give numbers, or \[N\]"):
        mixture.conditional({0: jnp.zeros(2), 1: jnp.zeros(3)})
    # A number stands for every row.
    assert mixture.conditional({0: jnp.zeros(2), 1: 0.0}).weights.shape == (2, K)


def test_columns_are_found_by_their_names(wide: Points, random_mixture: Random) -> None:
    mixture = random_mixture(wide, K, "full", seed=1)
    named = mixture.named([f"c{place}" for place in range(wide.shape[1])])
    np.testing.assert_array_equal(named.marginal(["c1", "c0"]).means, mixture.marginal([1, 0]).means)
    assert named.marginal(["c1", "c0"]).columns == ("c1", "c0")
    at, values = {"c1": 0.3}, {1: 0.3}
    np.testing.assert_array_equal(named.regression(at).mean, mixture.regression(values).mean)
    conditional = named.conditional(at)
    np.testing.assert_array_equal(conditional.means, mixture.conditional(values).means)
    assert conditional.columns == tuple(name for name in named.columns if name != "c1")
    assert named.conditional({"c1": [0.3, 0.4]}).columns == conditional.columns
