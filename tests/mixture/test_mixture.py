"""The mixture: its density equals SciPy's, and its results do not depend on labels or units."""

from collections.abc import Callable
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from families import admitted, span_of
from numpy.typing import NDArray
from scipy.special import logsumexp
from scipy.stats import multivariate_normal

from workbench.errors import InputError
from workbench.mixture import COVARIANCES, Mixture, covariance_named

K, D = 3, 2
FAMILIES = pytest.mark.parametrize("family", COVARIANCES)
Points = NDArray[np.float64]
ComponentLogJoint = Callable[[Mixture, Points], Points]


@pytest.fixture
def mixture(family: str, points: Points, random_mixture: Callable[..., Mixture]) -> Mixture:
    return random_mixture(points, K, family, seed=1)


@FAMILIES
def test_component_log_joint_is_scipys(
    mixture: Mixture, points: Points, component_log_joint: ComponentLogJoint
) -> None:
    expected = component_log_joint(mixture, points)
    # Both invert covariances of condition number below 1e4.
    np.testing.assert_allclose(mixture.component_log_joint(points), expected, rtol=1e-11)


@FAMILIES
def test_density_responsibilities_and_prediction_follow_from_the_component_log_joint(
    mixture: Mixture, points: Points, component_log_joint: ComponentLogJoint
) -> None:
    joint = component_log_joint(mixture, points)
    density = logsumexp(joint, axis=1)
    np.testing.assert_allclose(mixture.log_density(points), density, rtol=1e-11)
    r = np.asarray(mixture.responsibilities(points))
    # Absolute errors of 1e-11 in the exponent are relative errors of the result.
    np.testing.assert_allclose(r, np.exp(joint - density[:, None]), rtol=1e-9, atol=1e-15)
    np.testing.assert_allclose(r.sum(1), 1.0, rtol=1e-14)
    np.testing.assert_array_equal(mixture.predict(points), joint.argmax(1))


def test_univariate_density_integrates_to_one() -> None:
    mixture = Mixture.from_covariances([0.3, 0.7], [[-1.0], [2.0]], [[[0.5]], [[2.0]]])
    points = np.linspace(-16.0, 18.0, 3401)
    density = np.exp(np.asarray(mixture.log_density(points)))
    # Eleven standard deviations on both sides; there the trapezium rule is exact up to rounding for a smooth density.
    assert np.trapezoid(density, points) == pytest.approx(1.0, abs=1e-12)
    # The same holds for the mean.
    assert np.trapezoid(points * density, points) == pytest.approx(0.3 * -1.0 + 0.7 * 2.0, abs=1e-12)


def test_one_dimensional_points_need_no_second_axis() -> None:
    mixture = Mixture.from_covariances([1.0], [[2.0]], [[[4.0]]])
    np.testing.assert_array_equal(mixture.log_density(np.arange(3.0)), mixture.log_density(np.arange(3.0)[:, None]))


@FAMILIES
def test_num_parameters_counts_weights_means_and_covariances(family: str, mixture: Mixture) -> None:
    # As many symmetric members are linearly independent.
    members = [(m + np.swapaxes(m, 1, 2)).ravel() for m in span_of(mixture.covariance, K, D)]
    free = np.linalg.matrix_rank(np.stack(members))
    assert mixture.num_parameters == 2 + 6 + free


@FAMILIES
def test_samples_have_the_mixtures_moments(mixture: Mixture) -> None:
    n = 20_000
    x, components = mixture.sample(jax.random.key(0), n)
    w, mu, sigma = (np.asarray(a) for a in (mixture.weights, mixture.means, mixture.covariances))
    shares = np.bincount(np.asarray(components), minlength=K) / n
    # Five binomial standard errors.
    np.testing.assert_array_less(np.abs(shares - w), 5 * np.sqrt(w * (1 - w) / n))
    for k in range(K):
        own = np.asarray(x)[np.asarray(components) == k]
        white = np.linalg.solve(np.linalg.cholesky(sigma[k]), (own - mu[k]).T).T
        # Whitened draws have mean 0 and covariance I, with standard errors of 1 and sqrt(2) over sqrt(n_k). The
        # tolerance is five times the larger.
        error = 5 * np.sqrt(2 / len(own))
        np.testing.assert_allclose(white.mean(0), 0.0, atol=error)
        np.testing.assert_allclose(white.T @ white / len(own), np.eye(D), atol=error)


def test_samples_are_reproducible_from_their_key(points: Points, random_mixture: Callable[..., Mixture]) -> None:
    mixture = random_mixture(points, K, "full", seed=1)
    first, again, other = (mixture.sample(jax.random.key(s), 5)[0] for s in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


# The most general first: a family is asked for the first that keeps it.
CHANGES = np.array([[2.0, -1.0], [0.5, -3.0]]), np.diag([-0.5, 4.0]), 1.5 * np.array([[0.6, -0.8], [0.8, 0.6]])


@FAMILIES
def test_change_of_units_moves_the_density_by_the_log_determinant(
    family: str, mixture: Mixture, points: Points
) -> None:
    dense, shift = admitted(family, *CHANGES), np.array([10.0, -20.0])
    moved = mixture.affine(dense, shift)
    expected = np.asarray(mixture.log_density(points)) - np.linalg.slogdet(dense)[1]
    np.testing.assert_allclose(moved.log_density(points @ dense.T + shift), expected, rtol=1e-11)
    if mixture.covariance.has_correlations:
        pivots = np.diagonal(np.asarray(moved.scales), axis1=-2, axis2=-1)
        assert np.all(pivots > 0) and np.all(np.triu(np.asarray(moved.scales), 1) == 0)


@FAMILIES
def test_change_of_units_and_back_is_the_identity(family: str, mixture: Mixture) -> None:
    dense = admitted(family, *CHANGES)
    back = mixture.affine(dense, [1.0, 2.0]).affine(np.linalg.inv(dense), -np.linalg.solve(dense, [1.0, 2.0]))
    for got, expected in zip(jax.tree.leaves(back), jax.tree.leaves(mixture), strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(
    ("family", "matrix"),
    [("diagonal", [[0.6, -0.8], [0.8, 0.6]]), ("spherical", [1.0, 2.0]), ("full", [[1.0, 1.0], [1.0, 1.0]])],
)
def test_a_change_of_units_that_leaves_the_family_is_refused(
    family: str, matrix: list[float], points: Points, random_mixture: Callable[..., Mixture]
) -> None:
    with pytest.raises(InputError, match=f"does not keep a {family} mixture of 2 dimensions in its family"):
        random_mixture(points, K, family, seed=1).affine(matrix)


@FAMILIES
@pytest.mark.parametrize("order", [[0, 0, 1], [0, 1], [0, 1, 3], [1.0, 0.0, 2.0], [[0, 1, 2]], "abc"])
def test_an_order_that_is_no_permutation_is_refused(mixture: Mixture, order: Any) -> None:
    with pytest.raises(InputError, match="order: "):
        mixture.permute(order)


@FAMILIES
def test_permuting_labels_leaves_the_density_alone(mixture: Mixture, points: Points) -> None:
    permuted = mixture.permute([2, 0, 1])
    np.testing.assert_allclose(permuted.log_density(points), mixture.log_density(points), rtol=1e-14)
    np.testing.assert_array_equal(permuted.weights, np.asarray(mixture.weights)[[2, 0, 1]])


@FAMILIES
def test_canonical_order_is_the_same_whatever_the_labels(mixture: Mixture) -> None:
    canonical = mixture.canonical()
    assert np.all(np.diff(np.asarray(canonical.means)[:, 0]) >= 0)
    for order in ([0, 2, 1], [2, 1, 0], [1, 2, 0]):
        for a, b in zip(jax.tree.leaves(mixture.permute(order).canonical()), jax.tree.leaves(canonical), strict=True):
            np.testing.assert_array_equal(a, b)


def test_canonical_order_breaks_ties_by_the_next_coordinate() -> None:
    mixture = Mixture.from_covariances([0.2, 0.8], [[1.0, 5.0], [1.0, 3.0]], [1.0, 2.0], "spherical")
    np.testing.assert_array_equal(mixture.canonical().means, [[1.0, 3.0], [1.0, 5.0]])


@FAMILIES
def test_from_covariances_keeps_what_it_is_given(family: str, mixture: Mixture) -> None:
    stored = mixture.covariance.square(mixture.scales)
    built = Mixture.from_covariances(mixture.weights, mixture.means, stored, family)
    for got, expected in zip(jax.tree.leaves(built), jax.tree.leaves(mixture), strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-13)


EYES = [np.eye(2).tolist()] * 2
MEANS = [[0.0, 0.0], [1.0, 1.0]]


@pytest.mark.parametrize(
    ("weights", "means", "covariances", "family", "says"),
    [
        ([0.5, 0.6], MEANS, EYES, "full", "weights: must be non-negative and sum to 1"),
        ([1.5, -0.5], MEANS, EYES, "full", "weights: must be non-negative and sum to 1"),
        ([1.0], MEANS, EYES, "full", r"means: expected \[K, D\] with K = 1 weights"),
        ([0.5, 0.5], MEANS, np.eye(2), "full", r"needs shape \[2, 2, 2\], got \[2, 2\]"),
        ([0.5, 0.5], MEANS, EYES[:1], "tied", r"needs shape \[2, 2\] or \[2, 2, 2\], got \[1, 2, 2\]"),
        ([0.5, 0.5], MEANS, [[1.0, 0.0], [1.0, 1.0]], "diagonal", "must be positive definite"),
        ([0.5, 0.5], MEANS, [[1.0, 2.0], [2.0, 1.0]], "tied", "must be positive definite"),
        ([0.5, 0.5], MEANS, [1.0, 1.0], "round", "unknown family 'round'. Allowed: full, tied"),
    ],
)
def test_values_that_are_no_mixture_are_refused(
    weights: list[float], means: list[list[float]], covariances: object, family: str, says: str
) -> None:
    with pytest.raises(InputError, match=says):
        Mixture.from_covariances(weights, means, covariances, family)


def test_points_of_another_dimension_are_refused(points: Points, random_mixture: Callable[..., Mixture]) -> None:
    with pytest.raises(InputError, match=r"expected points \[N, 2\], got shape \[4, 3\]"):
        random_mixture(points, K, "full", seed=1).log_density(np.zeros((4, 3)))


def test_a_batch_of_mixtures_is_a_vmap_of_one(points: Points, random_mixture: Callable[..., Mixture]) -> None:
    each = [random_mixture(points, K, "full", seed=s) for s in (1, 2)]
    batch = jax.tree.map(lambda *leaves: jnp.stack(leaves), *each)
    together = jax.vmap(Mixture.log_density, in_axes=(0, None))(batch, points)
    np.testing.assert_allclose(together, [m.log_density(points) for m in each], rtol=1e-14)


@FAMILIES
def test_a_family_is_found_by_its_name(family: str) -> None:
    assert covariance_named(family) is COVARIANCES[family]


@FAMILIES
def test_a_row_counts_by_the_cells_that_are_there(family: str, random_mixture: Callable[..., Mixture]) -> None:
    rng = np.random.default_rng(3)
    x = rng.normal(size=(12, 3))
    mixture = random_mixture(x, 2, family, seed=4)
    holes = np.where(rng.random(x.shape) < 0.3, np.nan, x)
    holes[np.all(np.isnan(holes), axis=1), 0] = 0.5
    joint = np.asarray(mixture.component_log_joint(holes, missing="marginal"))
    for row, found in zip(holes, joint, strict=True):
        there = np.flatnonzero(~np.isnan(row))
        for k in range(2):
            own = multivariate_normal(mixture.means[k, there], mixture.covariances[k][np.ix_(there, there)])
            assert found[k] == pytest.approx(float(np.log(mixture.weights[k]) + own.logpdf(row[there])), rel=1e-12)
    whole = ~np.any(np.isnan(holes), axis=1)
    np.testing.assert_allclose(joint[whole], mixture.component_log_joint(x[whole]), rtol=1e-12)
    np.testing.assert_allclose(mixture.log_density(holes, missing="marginal"), logsumexp(joint, axis=1), rtol=1e-12)
    np.testing.assert_array_equal(mixture.predict(holes, missing="marginal"), np.argmax(joint, axis=1))
    with pytest.raises(InputError, match="not finite"):
        mixture.log_density(holes)
    with pytest.raises(InputError, match="data row 2: no cell has a value"):
        mixture.log_density([x[0], [np.nan] * 3], missing="marginal")


def test_wrong_arguments_of_a_mixture_are_one_message() -> None:
    mixture = Mixture.from_covariances([0.5, 0.5], [[0.0, 0], [1, 1]], np.stack([np.eye(2)] * 2))
    key, wrong = jax.random.key(0), cast(Any, None)
    for number in (-1, 2.5):
        with pytest.raises(InputError, match=f"num_samples: must be a whole number of at least 0, got {number}"):
            mixture.sample(key, cast(Any, number))
    with pytest.raises(InputError, match="given: column 0: give a number or N of them, got 'x'"):
        mixture.conditional({0: cast(Any, "x")})
    with pytest.raises(InputError, match="other must be of type Mixture, got NoneType"):
        mixture.kl_divergence(wrong, key)
    with pytest.raises(InputError, match="other must be of type Mixture, got NoneType"):
        mixture.kl_bounds(wrong)
    with pytest.raises(InputError, match="path: give the path of a file, got None"):
        Mixture.load(wrong)
    with pytest.raises(InputError, match="path: give the path of a file, got None"):
        mixture.save(wrong)
