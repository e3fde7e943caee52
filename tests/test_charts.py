"""Charts: free coordinates for every mixture, and the same objective in them."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.typing import NDArray

from workbench.charts import Coordinates, LogCholesky
from workbench.mixture import COVARIANCES, Mixture
from workbench.problem import Problem

K = 3
FAMILIES = pytest.mark.parametrize("family", COVARIANCES)
Points = NDArray[np.float64]


@pytest.fixture
def chart(family: str, problem_of: Callable[..., Problem]) -> LogCholesky:
    return LogCholesky(problem_of(family).rows, COVARIANCES[family])


@FAMILIES
def test_a_mixture_survives_the_way_to_the_chart_and_back(
    chart: LogCholesky, family: str, points: Points, random_mixture: Callable[..., Mixture]
) -> None:
    mixture = random_mixture(points, K, family, seed=0)
    back = chart.constrain(chart.unconstrain(mixture))
    for got, expected in zip(jax.tree.leaves(back), jax.tree.leaves(mixture), strict=True):
        # To working units and back: condition below 100.
        np.testing.assert_allclose(got, expected, rtol=1e-12, atol=1e-12)


@FAMILIES
def test_any_finite_coordinates_are_a_mixture(chart: LogCholesky, family: str) -> None:
    rng = np.random.default_rng(1)
    free = COVARIANCES[family].unconstrain(jnp.ones(COVARIANCES[family].shape(K, 2)))
    u = Coordinates(*(jnp.asarray(3 * rng.normal(size=s)) for s in ((K,), (K, 2), free.shape)))
    mixture = chart.constrain(u)
    assert float(jnp.sum(mixture.weights)) == pytest.approx(1.0, rel=1e-14)
    assert np.all(np.asarray(mixture.weights) > 0)
    assert np.all(np.linalg.eigvalsh(np.asarray(mixture.covariances)) > 0)
    back = chart.unconstrain(mixture)
    # The logits come back up to their one direction too many.
    np.testing.assert_allclose(np.diff(back.logits), np.diff(u.logits), rtol=1e-10)
    np.testing.assert_allclose(back.means, u.means, rtol=1e-10)
    np.testing.assert_allclose(back.scales, u.scales, rtol=1e-9, atol=1e-9)


@FAMILIES
def test_the_objective_is_the_same_in_the_chart(
    chart: LogCholesky,
    family: str,
    points: Points,
    problem_of: Callable[..., Problem],
    random_mixture: Callable[..., Mixture],
    log_joint: Callable[[Problem, Mixture], jax.Array],
) -> None:
    problem, mixture = problem_of(family, "conjugate"), random_mixture(points, K, family, seed=2)
    through = log_joint(problem, chart.constrain(chart.unconstrain(mixture)))
    # DESIGN.md asks for 1e-10 between every two ways to the objective.
    assert float(through) == pytest.approx(float(log_joint(problem, mixture)), rel=1e-10)


@FAMILIES
def test_permuting_components_permutes_the_coordinates(
    chart: LogCholesky, family: str, points: Points, random_mixture: Callable[..., Mixture]
) -> None:
    mixture = random_mixture(points, K, family, seed=3)
    order = np.array([1, 2, 0])
    u, permuted = chart.unconstrain(mixture), chart.unconstrain(mixture.permute(order))
    np.testing.assert_array_equal(permuted.logits, u.logits[order])
    # Rows of one matrix product: BLAS may round a row differently in another place.
    np.testing.assert_allclose(permuted.means, u.means[order], rtol=1e-14, atol=1e-15)
    expected = u.scales if family == "tied" else u.scales[order]
    np.testing.assert_allclose(permuted.scales, expected, rtol=1e-13, atol=1e-14)


@FAMILIES
def test_coordinates_do_not_depend_on_the_units_of_the_data(
    chart: LogCholesky, family: str, points: Points, random_mixture: Callable[..., Mixture]
) -> None:
    mixture = random_mixture(points, K, family, seed=4)
    moved = Problem(1000.0 * points + 5.0, K, family)
    other = LogCholesky(moved.rows, moved.covariance).unconstrain(mixture.affine(1000.0, 5.0))
    for got, expected in zip(other, chart.unconstrain(mixture), strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-10, atol=1e-10)
