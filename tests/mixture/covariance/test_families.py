"""Covariance families: each stores dense matrices in its own shape, and its algebra agrees with dense algebra."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import invgamma, invwishart

from workbench.mixture import COVARIANCES, Covariance, Mixture
from workbench.mixture.covariance import lower_triangular
from workbench.mixture.covariance.base import weighted_sum

K, D = 3, 2
FAMILIES = pytest.mark.parametrize("family", COVARIANCES.values(), ids=COVARIANCES)
# Products of well-conditioned 2 x 2 matrices: a few operations, each with a rounding error of 1e-16.
ROUNDING = 1e-13

Points = NDArray[np.float64]


@pytest.fixture
def mixture(family: Covariance, points: Points, random_mixture: Callable[..., Mixture]) -> Mixture:
    return random_mixture(points, K, family.name, seed=3)


def in_shape(family: Covariance, dense: Points) -> Points:
    """The part of dense matrices [K, D, D] that the family stores."""
    variances = np.diagonal(dense, axis1=1, axis2=2)
    kept = {"full": dense, "tied": dense.sum(0), "diagonal": variances, "spherical": variances.sum(1)}
    return np.asarray(kept[family.name])


@FAMILIES
def test_scales_have_the_stated_shape(family: Covariance, mixture: Mixture) -> None:
    assert mixture.scales.shape == family.shape(K, D)


@FAMILIES
def test_square_of_factor_is_the_covariance(family: Covariance, mixture: Mixture) -> None:
    covariance = family.square(mixture.scales)
    np.testing.assert_allclose(family.square(family.factor(covariance)), covariance, rtol=ROUNDING)


@FAMILIES
def test_dense_covariances_agree_with_the_stored_shape(family: Covariance, mixture: Mixture) -> None:
    stored = family.square(mixture.scales)
    dense = np.asarray(mixture.covariances)
    expected = {
        "full": dense,
        "tied": dense[0],
        "diagonal": np.diagonal(dense, axis1=1, axis2=2),
        "spherical": dense[:, 0, 0],
    }[family.name]
    np.testing.assert_allclose(stored, expected, rtol=ROUNDING)
    np.testing.assert_allclose(mixture.scale_trils, np.linalg.cholesky(dense), rtol=ROUNDING, atol=ROUNDING)


@FAMILIES
def test_a_covariance_that_is_not_positive_definite_has_no_factor(family: Covariance) -> None:
    bad = jnp.ones(family.shape(K, D)) if family.has_correlations else jnp.zeros(family.shape(K, D))
    bad = bad.at[..., 0, 0].set(-1.0) if family.has_correlations else bad
    assert not np.any(np.isfinite(np.diagonal(np.atleast_2d(family.factor(bad)), axis1=-2, axis2=-1)))


@FAMILIES
def test_half_log_determinants_are_half_of_slogdet(family: Covariance, mixture: Mixture) -> None:
    _, expected = np.linalg.slogdet(np.asarray(mixture.covariances))
    halves = family.half_log_determinants(mixture.scales, K, D)
    np.testing.assert_allclose(halves, 0.5 * expected, rtol=ROUNDING)


@FAMILIES
def test_block_log_determinants_and_traces_are_those_of_the_blocks(family: Covariance, mixture: Mixture) -> None:
    scatter = np.array([[2.0, 0.5], [0.5, 3.0]])
    dense = np.asarray(mixture.covariances)
    variances = np.diagonal(dense, axis1=1, axis2=2)
    blocks, parts = {
        "full": (dense, np.stack([scatter] * K)),
        "tied": (dense[:1], scatter[None]),
        "diagonal": (variances.reshape(-1, 1, 1), np.tile(np.diag(scatter), K).reshape(-1, 1, 1)),
        "spherical": (dense[:, :1, :1], np.full((K, 1, 1), 2.5)),
    }[family.name]
    assert blocks.shape[-1] == family.block_dimension(D)
    np.testing.assert_allclose(
        family.block_log_determinants(mixture.scales), np.linalg.slogdet(blocks)[1], rtol=ROUNDING
    )
    expected = np.trace(parts @ np.linalg.inv(blocks), axis1=1, axis2=2).sum()
    traces = family.block_traces(mixture.scales, jnp.asarray(family.scatter_of(scatter)))
    # The two differ by one inverse of a matrix of condition number below 1e4.
    np.testing.assert_allclose(traces, expected, rtol=1e-11)


@FAMILIES
def test_whitening_gives_the_mahalanobis_distance(family: Covariance, mixture: Mixture, points: Points) -> None:
    difference = np.moveaxis(points[:5, None] - np.asarray(mixture.means), 0, -1)  # [K, D, B]
    white = family.whiten(family.whitener(mixture.scales), jnp.asarray(difference))
    precisions = np.linalg.inv(np.asarray(mixture.covariances))
    expected = np.einsum("kib,kij,kjb->kb", difference, precisions, difference)
    # The inverse of a covariance of condition number below 1e4.
    np.testing.assert_allclose(np.sum(np.asarray(white) ** 2, 1), expected, rtol=1e-11)


@FAMILIES
def test_features_times_packed_natural_parameters_are_the_log_joint(
    family: Covariance,
    mixture: Mixture,
    points: Points,
    component_log_joint: Callable[[Mixture, Points], Points],
) -> None:
    natural = family.natural(jnp.log(mixture.weights), mixture.means, mixture.scales)
    blocks = zip(family.pack(natural), family.features(jnp.asarray(points.T)), strict=True)
    linear = (natural.constant[:, None] + sum(c @ f for c, f in blocks)).T  # [N, K]
    total = points.T @ points
    shared = family.shared_log_joint(natural, jnp.asarray(total))
    expected = component_log_joint(mixture, points)
    # Cancellation in the expanded form: an error of about eps times |x|^2 / sigma^2, here up to 1e4.
    np.testing.assert_allclose(np.sum(linear) + K * float(shared), expected.sum(), rtol=1e-9)
    np.testing.assert_allclose(linear - linear[:, :1], expected - expected[:, :1], rtol=1e-9, atol=1e-9)


@FAMILIES
def test_unpacked_sums_are_the_weighted_moments_about_zero(family: Covariance, points: Points) -> None:
    r = np.random.default_rng(5).dirichlet(np.ones(K), len(points))  # [N, K]
    features = family.features(jnp.asarray(points.T))
    assert 1 + sum(len(block) for block in features) == family.num_features(D)
    sums = tuple(weighted_sum(jnp.asarray(r.T), block) for block in features)
    counts, first, second = family.unpack(jnp.asarray(r.sum(0)), sums, jnp.asarray(points.T @ points))
    np.testing.assert_allclose(counts, r.sum(0), rtol=ROUNDING)
    np.testing.assert_allclose(first, r.T @ points, rtol=ROUNDING)
    dense = np.einsum("nk,ni,nj->kij", r, points, points)
    np.testing.assert_allclose(second, in_shape(family, dense), rtol=ROUNDING)
    spread = np.broadcast_to(points.T, (K, D, len(points)))
    np.testing.assert_allclose(
        family.weighted_square(jnp.asarray(r.T), jnp.asarray(spread)), in_shape(family, dense), rtol=ROUNDING
    )


@FAMILIES
def test_outer_is_the_familys_part_of_the_outer_product(family: Covariance) -> None:
    a, b = np.random.default_rng(6).normal(size=(2, K, D))
    expected = in_shape(family, a[:, :, None] * b[:, None, :])
    np.testing.assert_allclose(family.cross_products(jnp.asarray(a), jnp.asarray(b)), expected, rtol=ROUNDING)


@FAMILIES
def test_degrees_count_the_numbers_behind_each_block(family: Covariance) -> None:
    counts = jnp.asarray([1.0, 2.0, 4.0])
    degrees = np.broadcast_to(family.degrees(counts, D), family.shape(K, D))
    per_component = {"full": 1.0, "tied": np.nan, "diagonal": 1.0, "spherical": D}[family.name]
    if family.name == "tied":
        np.testing.assert_array_equal(degrees, 7.0)
    else:
        expected = per_component * np.asarray(counts).reshape(-1, *[1] * (degrees.ndim - 1))
        np.testing.assert_array_equal(degrees, np.broadcast_to(expected, degrees.shape))


@FAMILIES
def test_change_of_units_maps_the_covariances(family: Covariance, mixture: Mixture, points: Points) -> None:
    spread = np.cov(points, rowvar=False)
    units = family.units(spread)
    assert family.admits(units)
    scales = family.transform(mixture.scales, jnp.asarray(units))
    trils = np.asarray(family.scale_trils(scales, K, D))
    expected = units @ np.asarray(mixture.covariances) @ units.T
    np.testing.assert_allclose(trils @ trils.transpose(0, 2, 1), expected, rtol=ROUNDING)
    second = family.square(mixture.scales)
    np.testing.assert_allclose(
        family.transform_second(second, jnp.asarray(units)), family.square(scales), rtol=ROUNDING
    )


@FAMILIES
def test_working_units_take_off_what_the_family_can_express(family: Covariance, points: Points) -> None:
    spread = np.cov(points, rowvar=False)
    inverse = np.linalg.inv(family.units(spread))
    standardised = inverse @ spread @ inverse.T
    if family.has_correlations:
        np.testing.assert_allclose(standardised, np.eye(D), atol=1e-12)
    elif family.name == "diagonal":
        np.testing.assert_allclose(np.diag(standardised), 1.0, rtol=ROUNDING)
    else:
        np.testing.assert_allclose(np.trace(standardised), D, rtol=ROUNDING)


def test_collinear_data_are_scaled_and_not_rotated() -> None:
    flat = np.array([[1.0, 2.0], [2.0, 4.0 + 1e-12]])
    np.testing.assert_array_equal(COVARIANCES["full"].units(flat), np.diag(np.sqrt(np.diag(flat))))


ROTATION = np.array([[0.6, -0.8], [0.8, 0.6]])
MATRICES = {
    "multiple of the identity": (3.0 * np.eye(2), {"full", "tied", "diagonal", "spherical"}),
    "diagonal": (np.diag([3.0, -2.0]), {"full", "tied", "diagonal"}),
    "rotation": (ROTATION, {"full", "tied", "spherical"}),
    "shear": (np.array([[1.0, 2.0], [0.0, 1.0]]), {"full", "tied"}),
    "singular": (np.array([[1.0, 0.0], [0.0, 0.0]]), set()),
}


@FAMILIES
@pytest.mark.parametrize(("matrix", "keepers"), MATRICES.values(), ids=MATRICES)
def test_a_family_admits_exactly_the_matrices_that_keep_it(
    family: Covariance, matrix: Points, keepers: set[str]
) -> None:
    assert family.admits(matrix) == (family.name in keepers)


@FAMILIES
def test_deviations_and_correlations_rebuild_the_scales(family: Covariance, mixture: Mixture) -> None:
    deviations = np.asarray(family.deviations(mixture.scales))
    variances = np.diagonal(np.asarray(mixture.covariances), axis1=1, axis2=2)
    expected = {"tied": variances[0], "spherical": variances[:, 0]}.get(family.name, variances)
    np.testing.assert_allclose(deviations**2, expected, rtol=ROUNDING)
    if family.has_correlations:
        trils = np.asarray(family.correlation_trils(mixture.scales))
        np.testing.assert_allclose(np.sum(trils**2, -1), 1.0, rtol=ROUNDING)
        np.testing.assert_allclose(deviations[..., None] * trils, mixture.scales, rtol=ROUNDING)


@FAMILIES
def test_broadcast_gives_every_component_the_nearest_covariance(family: Covariance) -> None:
    spread = np.array([[4.0, 1.0], [1.0, 2.0]])
    nearest = {"diagonal": np.diag([4.0, 2.0]), "spherical": 3.0 * np.eye(2)}.get(family.name, spread)
    scales = family.broadcast(jnp.asarray(spread), K)
    assert scales.shape == family.shape(K, D)
    trils = np.asarray(family.scale_trils(scales, K, D))
    np.testing.assert_allclose(trils @ trils.transpose(0, 2, 1), [nearest] * K, rtol=ROUNDING)


@FAMILIES
def test_conjugate_prior_is_scipys_inverse_wishart_or_inverse_gamma(family: Covariance, mixture: Mixture) -> None:
    nu, scatter = 5.0, np.array([[2.0, 0.5], [0.5, 3.0]])
    prior = family.conjugate(jnp.asarray(nu), jnp.asarray(family.scatter_of(scatter)), K)
    covariances = np.asarray(family.square(mixture.scales))
    if family.has_correlations:
        expected = sum(invwishart(nu, scatter).logpdf(c) for c in covariances.reshape(-1, D, D))
    else:
        expected = invgamma(nu / 2, scale=family.scatter_of(scatter) / 2).logpdf(covariances).sum()
    np.testing.assert_allclose(prior.log_prob(jnp.asarray(covariances)), expected, rtol=1e-12)


@FAMILIES
def test_permuting_scales_permutes_the_covariances(family: Covariance, mixture: Mixture) -> None:
    order = np.array([2, 0, 1])
    trils = family.scale_trils(family.permute(mixture.scales, jnp.asarray(order)), K, D)
    np.testing.assert_array_equal(trils, np.asarray(mixture.scale_trils)[order])


@FAMILIES
def test_a_family_equals_itself_alone(family: Covariance) -> None:
    assert [other == family for other in COVARIANCES.values()].count(True) == 1
    assert type(family)() == family and hash(type(family)()) == hash(family)


def test_orthogonal_factorisation_gives_the_cholesky_factor() -> None:
    matrices = np.random.default_rng(9).normal(size=(4, 3, 3))
    expected = np.linalg.cholesky(matrices @ matrices.transpose(0, 2, 1))
    # The condition number of M M^T is the square of that of M: at most 1e4 here.
    np.testing.assert_allclose(jax.jit(lower_triangular)(matrices), expected, rtol=1e-10, atol=1e-12)
