"""Charts: every point is a mixture, all have the same objective, and gradients transform by the Jacobian."""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree
from numpy.typing import NDArray

from workbench.charts import SCALES, WEIGHTS, Chart, is_feasible
from workbench.errors import InputError
from workbench.mixture import COVARIANCES, Mixture
from workbench.problem import Problem

K = 3
# Charts only distinguish matrices and standard deviations, so the other families are left to the slow tests.
TWO = ["full", "diagonal"]
FAMILIES = pytest.mark.parametrize(
    "family", [name if name in TWO else pytest.param(name, marks=pytest.mark.slow) for name in COVARIANCES]
)
TWO_FAMILIES = pytest.mark.parametrize("family", TWO)
WEIGHTED = pytest.mark.parametrize("weights", WEIGHTS)
SCALED = pytest.mark.parametrize("scales", SCALES)
# The two parts of a chart are independent, so each is tested with the default of the other.
PARTS = (
    [(weights, "log_cholesky") for weights in WEIGHTS]
    + [("softmax", scales) for scales in SCALES][1:]
    + [("raw", "raw")]
)
CHARTS = pytest.mark.parametrize(("weights", "scales"), PARTS, ids=["-".join(part) for part in PARTS])
Points = NDArray[np.float64]
Problems = Callable[..., Problem]
Random = Callable[..., Mixture]


@CHARTS
@FAMILIES
def test_a_mixture_survives_the_way_to_the_chart_and_back(
    family: str, weights: str, scales: str, points: Points, problem_of: Problems, random_mixture: Random
) -> None:
    chart, mixture = Chart.of(problem_of(family), weights, scales), random_mixture(points, K, family, seed=0)
    back = chart.constrain(chart.unconstrain(mixture))
    for got, expected in zip(jax.tree.leaves(back), jax.tree.leaves(mixture), strict=True):
        # A change to working units and back, of condition number below 100.
        np.testing.assert_allclose(got, expected, rtol=1e-12, atol=1e-12)


@SCALED
@FAMILIES
def test_coordinates_are_as_many_as_free_parameters(
    family: str, scales: str, points: Points, problem_of: Problems, random_mixture: Random
) -> None:
    mixture = random_mixture(points, K, family, seed=0)
    u = Chart.of(problem_of(family), "log_ratio", scales).unconstrain(mixture)
    assert sum(leaf.size for leaf in jax.tree.leaves(u)) == mixture.num_parameters


@CHARTS
@TWO_FAMILIES
def test_any_finite_coordinates_are_a_mixture_where_the_chart_covers(
    family: str, weights: str, scales: str, points: Points, problem_of: Problems, random_mixture: Random
) -> None:
    chart = Chart.of(problem_of(family), weights, scales)
    rng = np.random.default_rng(1)
    like = chart.unconstrain(random_mixture(points, K, family, seed=0))
    drawn = [jax.tree.map(lambda leaf: jnp.asarray(2 * rng.normal(size=leaf.shape)), like) for _ in range(4)]
    mixtures = [chart.constrain(u) for u in drawn]
    if not chart.covers:
        assert not all(bool(is_feasible(mixture)) for mixture in mixtures)
        return
    for u, mixture in zip(drawn, mixtures, strict=True):
        assert bool(is_feasible(mixture))
        assert float(jnp.sum(mixture.weights)) == pytest.approx(1.0, rel=1e-14)
        assert np.all(np.asarray(mixture.weights) > 0)
        assert np.all(np.linalg.eigvalsh(np.asarray(mixture.covariances)) > 0)
        again = chart.constrain(chart.unconstrain(mixture))
        for got, expected in zip(jax.tree.leaves(again), jax.tree.leaves(mixture), strict=True):
            # Covariances of condition number up to 1e6 lose six digits.
            np.testing.assert_allclose(got, expected, rtol=1e-9, atol=1e-9)
        # The logits of the softmax are recovered up to their redundant direction.
        centred = u.weights - jnp.mean(u.weights) if weights == "softmax" else u.weights
        back = chart.unconstrain(mixture)
        theirs = back.weights - jnp.mean(back.weights) if weights == "softmax" else back.weights
        np.testing.assert_allclose(theirs, centred, rtol=1e-9, atol=1e-9)
        np.testing.assert_allclose(back.scales, u.scales, rtol=1e-8, atol=1e-8)


@CHARTS
@FAMILIES
def test_the_objective_is_the_same_in_every_chart(
    family: str,
    weights: str,
    scales: str,
    points: Points,
    problem_of: Problems,
    random_mixture: Random,
    log_joint: Callable[[Problem, Mixture], jax.Array],
) -> None:
    problem, mixture = problem_of(family, "conjugate"), random_mixture(points, K, family, seed=2)
    chart = Chart.of(problem, weights, scales)
    through = log_joint(problem, chart.constrain(chart.unconstrain(mixture)))
    # A round trip of condition number below 100, so 1e-14 of each parameter.
    assert float(through) == pytest.approx(float(log_joint(problem, mixture)), rel=1e-12)


@functools.partial(jax.jit, static_argnames=("weights", "scales"))
def slopes(problem: Problem, mixture: Mixture, weights: str, scales: str) -> tuple[jax.Array, ...]:
    """The gradients in the reference chart and in this one, and the Jacobian of the map from this one to that one."""
    chart, reference = Chart.of(problem, weights, scales), Chart.of(problem, "log_ratio", "log_cholesky")
    u, unravel = ravel_pytree(chart.unconstrain(mixture))
    v, unravel_reference = ravel_pytree(reference.unconstrain(mixture))

    def there(u: jax.Array) -> jax.Array:
        return ravel_pytree(reference.unconstrain(chart.constrain(unravel(u))))[0]

    here = jax.grad(lambda u: problem.log_joint(chart.constrain(unravel(u))))(u)
    expected = jax.grad(lambda v: problem.log_joint(reference.constrain(unravel_reference(v))))(v)
    return here, expected, jax.jacfwd(there)(u)


@CHARTS
@pytest.mark.parametrize("family", [TWO[0], pytest.param(TWO[1], marks=pytest.mark.slow)])
def test_gradients_map_by_the_jacobian_between_charts(
    family: str, weights: str, scales: str, points: Points, problem_of: Problems, random_mixture: Random
) -> None:
    problem, mixture = problem_of(family, "conjugate"), random_mixture(points, K, family, seed=5)
    here, expected, jacobian = slopes(problem, mixture, weights, scales)
    # Rounding of sums of 60 terms that partly cancel.
    np.testing.assert_allclose(here, jacobian.T @ expected, rtol=1e-9, atol=1e-10 * np.max(np.abs(here)))


@functools.partial(jax.jit, static_argnames=("weights", "scales"))
def hessians(problem: Problem, mixture: Mixture, weights: str, scales: str) -> tuple[jax.Array, jax.Array]:
    """The Hessian by forward over reverse mode, and by reverse over forward mode."""
    chart = Chart.of(problem, weights, scales)
    u, unravel = ravel_pytree(chart.unconstrain(mixture))

    def objective(u: jax.Array) -> jax.Array:
        return problem.log_joint(chart.constrain(unravel(u)))

    return jax.jacfwd(jax.grad(objective))(u), jax.jacrev(jax.jacfwd(objective))(u)


@pytest.mark.slow
@CHARTS
@TWO_FAMILIES
def test_hessians_of_both_orders_are_finite_and_equal_at_equal_eigenvalues(
    family: str, weights: str, scales: str, points: Points, problem_of: Problems
) -> None:
    problem = problem_of(family, "conjugate")
    # In working units every covariance is the identity, where an eigendecomposition has no derivative.
    k, d = problem.components, problem.num_dimensions
    matrix = problem.rows.matrix
    shared = problem.covariance.broadcast(matrix @ matrix.T, k)
    mixture = Mixture(jnp.asarray([0.2, 0.3, 0.5]), jnp.asarray(points[[0, 20, 40]]), shared, problem.covariance)
    assert mixture.means.shape == (k, d)
    first, second = hessians(problem, mixture, weights, scales)
    assert np.all(np.isfinite(first)) and np.all(np.isfinite(second))
    np.testing.assert_allclose(first, second, rtol=1e-8, atol=1e-9 * np.max(np.abs(first)))


@FAMILIES
@WEIGHTED
def test_permuting_components_permutes_the_coordinates_of_symmetric_charts(
    family: str, weights: str, points: Points, problem_of: Problems, random_mixture: Random
) -> None:
    chart, mixture = Chart.of(problem_of(family), weights), random_mixture(points, K, family, seed=3)
    order = np.array([1, 2, 0])
    u, permuted = chart.unconstrain(mixture), chart.unconstrain(mixture.permute(order))
    if weights in ("softmax", "raw"):
        np.testing.assert_array_equal(permuted.weights, u.weights[order])
    else:
        # No permutation of these K - 1 coordinates corresponds to permuted components.
        assert not np.allclose(np.sort(permuted.weights), np.sort(u.weights), rtol=1e-3)
    # Rows of one matrix product: BLAS may round a row differently at another position.
    np.testing.assert_allclose(permuted.means, u.means[order], rtol=1e-14, atol=1e-15)
    expected = u.scales if mixture.covariance.is_shared else u.scales[order]
    np.testing.assert_allclose(permuted.scales, expected, rtol=1e-13, atol=1e-14)


@FAMILIES
@SCALED
def test_coordinates_do_not_depend_on_the_units_of_the_data(
    family: str, scales: str, points: Points, problem_of: Problems, random_mixture: Random
) -> None:
    mixture = random_mixture(points, K, family, seed=4)
    moved = Problem(1000.0 * points + 5.0, K, family)
    other = Chart.of(moved, scales=scales).unconstrain(mixture.affine(1000.0, 5.0))
    own = Chart.of(problem_of(family), scales=scales).unconstrain(mixture)
    for got, expected in zip(jax.tree.leaves(other), jax.tree.leaves(own), strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("bad", [{"weights": "logits"}, {"scales": "cholesky"}])
def test_unknown_coordinates_are_refused_by_name(bad: dict[str, str], problem_of: Problems) -> None:
    ((part, name),) = bad.items()
    with pytest.raises(InputError, match=f"{part}: unknown coordinates '{name}'; allowed: "):
        Chart.of(problem_of("full"), **bad)
