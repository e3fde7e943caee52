"""Covariance families: each stores dense matrices in its own shape, and its algebra agrees with dense algebra."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from families import blocks_of, keeps, projected, summed
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


@FAMILIES
def test_scales_have_the_stated_shape(family: Covariance, mixture: Mixture) -> None:
    assert mixture.scales.shape == family.shape(K, D)


@FAMILIES
def test_square_of_factor_is_the_covariance(family: Covariance, mixture: Mixture) -> None:
    covariance = family.square(mixture.scales)
    np.testing.assert_allclose(family.square(family.factor(covariance)), covariance, rtol=ROUNDING)


LAID_OUT = {
    "full": ([np.eye(2), [[2.0, 1.0], [1.0, 3.0]]], [np.eye(2), [[2.0, 1.0], [1.0, 3.0]]]),
    "tied": ([[2.0, 1.0], [1.0, 3.0]], [[[2.0, 1.0], [1.0, 3.0]]] * 2),
    "diagonal": ([[1.0, 2.0], [3.0, 4.0]], [np.diag([1.0, 2.0]), np.diag([3.0, 4.0])]),
    "spherical": ([1.0, 2.0], [np.eye(2), 2.0 * np.eye(2)]),
}


@pytest.mark.parametrize("name", LAID_OUT)
def test_entries_are_laid_out_in_dense_matrices_as_stated(name: str) -> None:
    entries, dense = LAID_OUT[name]
    np.testing.assert_array_equal(COVARIANCES[name].dense(jnp.asarray(entries), 2, 2), dense)


@FAMILIES
def test_the_nearest_member_is_the_projection_onto_the_family(family: Covariance) -> None:
    roots = np.random.default_rng(4).normal(size=(K, D, D))
    matrices = roots @ roots.transpose(0, 2, 1)
    for near in (family.nearest(matrices), family.nearest(jnp.asarray(matrices))):
        assert near.shape == family.shape(K, D)
        dense = family.dense(jnp.asarray(near), K, D)
        # A least squares problem of condition 1.
        np.testing.assert_allclose(dense, projected(family, matrices), rtol=1e-12, atol=1e-12)


@FAMILIES
def test_dense_covariances_agree_with_the_stored_shape(family: Covariance, mixture: Mixture) -> None:
    stored = family.square(mixture.scales)
    dense = np.asarray(mixture.covariances)
    np.testing.assert_allclose(family.dense(stored, K, D), dense, rtol=ROUNDING, atol=ROUNDING)
    np.testing.assert_allclose(mixture.scale_trils, np.linalg.cholesky(dense), rtol=ROUNDING, atol=ROUNDING)


@FAMILIES
def test_a_covariance_that_is_not_positive_definite_has_no_factor(family: Covariance) -> None:
    bad = family.nearest(np.tile(-np.eye(D), (K, 1, 1)))
    roots = family.dense(family.factor(jnp.asarray(bad)), K, D)
    assert not np.any(np.isfinite(np.diagonal(roots, axis1=-2, axis2=-1)))


@FAMILIES
def test_half_log_determinants_are_half_of_slogdet(family: Covariance, mixture: Mixture) -> None:
    _, expected = np.linalg.slogdet(np.asarray(mixture.covariances))
    halves = family.half_log_determinants(mixture.scales, K, D)
    np.testing.assert_allclose(halves, 0.5 * expected, rtol=ROUNDING)


@FAMILIES
def test_block_log_determinants_and_traces_are_those_of_the_blocks(family: Covariance, mixture: Mixture) -> None:
    scatter = np.array([[2.0, 0.5], [0.5, 3.0]])
    blocks = blocks_of(family, np.asarray(mixture.covariances))
    parts = blocks_of(family, projected(family, np.stack([scatter] * K)))
    assert len(blocks) == family.blocks(D) * (1 if family.is_shared else K)
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
    np.testing.assert_allclose(second, summed(family, dense), rtol=ROUNDING)
    spread = np.broadcast_to(points.T, (K, D, len(points)))
    np.testing.assert_allclose(
        family.weighted_square(jnp.asarray(r.T), jnp.asarray(spread)), summed(family, dense), rtol=ROUNDING
    )


@FAMILIES
def test_outer_is_the_familys_part_of_the_outer_product(family: Covariance) -> None:
    a, b = np.random.default_rng(6).normal(size=(2, K, D))
    expected = summed(family, a[:, :, None] * b[:, None, :])
    np.testing.assert_allclose(family.cross_products(jnp.asarray(a), jnp.asarray(b)), expected, rtol=ROUNDING)


@FAMILIES
def test_degrees_count_the_numbers_behind_each_block(family: Covariance) -> None:
    counts = jnp.asarray([1.0, 2.0, 4.0])
    degrees = np.broadcast_to(family.degrees(counts, D), family.shape(K, D))
    # What one member's entries add up to, over what they are themselves.
    ones = np.asarray(family.dense(jnp.ones(family.shape(K, D)), K, D))
    np.testing.assert_array_equal(degrees, summed(family, np.asarray(counts)[:, None, None] * ones))


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
    elif family.num_parameters(1, D) == D:
        np.testing.assert_allclose(np.diag(standardised), 1.0, rtol=ROUNDING)
    else:
        np.testing.assert_allclose(np.trace(standardised), D, rtol=ROUNDING)


def test_collinear_data_are_scaled_and_not_rotated() -> None:
    flat = np.array([[1.0, 2.0], [2.0, 4.0 + 1e-12]])
    np.testing.assert_array_equal(COVARIANCES["full"].units(flat), np.diag(np.sqrt(np.diag(flat))))


ROTATION = np.array([[0.6, -0.8], [0.8, 0.6]])
MATRICES = {
    "multiple of the identity": 3.0 * np.eye(2),
    "diagonal": np.diag([3.0, -2.0]),
    "rotation": ROTATION,
    "shear": np.array([[1.0, 2.0], [0.0, 1.0]]),
    "singular": np.array([[1.0, 0.0], [0.0, 0.0]]),
}


@FAMILIES
@pytest.mark.parametrize("matrix", MATRICES.values(), ids=MATRICES)
def test_a_family_admits_exactly_the_matrices_that_keep_it(family: Covariance, matrix: Points) -> None:
    assert family.admits(matrix) == keeps(family, matrix)


@FAMILIES
def test_deviations_and_correlations_rebuild_the_scales(family: Covariance, mixture: Mixture) -> None:
    deviations = np.asarray(family.deviations(mixture.scales))
    variances = np.diagonal(np.asarray(mixture.covariances), axis1=1, axis2=2)
    if family.has_correlations:
        np.testing.assert_allclose(deviations**2, variances[0] if family.is_shared else variances, rtol=ROUNDING)
    else:
        dense = family.dense(jnp.asarray(deviations**2), K, D)
        np.testing.assert_allclose(np.diagonal(dense, axis1=1, axis2=2), variances, rtol=ROUNDING)
    if family.has_correlations:
        trils = np.asarray(family.correlation_trils(mixture.scales))
        np.testing.assert_allclose(np.sum(trils**2, -1), 1.0, rtol=ROUNDING)
        np.testing.assert_allclose(deviations[..., None] * trils, mixture.scales, rtol=ROUNDING)


@FAMILIES
def test_broadcast_gives_every_component_the_nearest_covariance(family: Covariance) -> None:
    spread = np.array([[4.0, 1.0], [1.0, 2.0]])
    scales = family.broadcast(jnp.asarray(spread), K)
    assert scales.shape == family.shape(K, D)
    trils = np.asarray(family.scale_trils(scales, K, D))
    np.testing.assert_allclose(
        trils @ trils.transpose(0, 2, 1), projected(family, np.stack([spread] * K)), rtol=ROUNDING, atol=ROUNDING
    )


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


@FAMILIES
def test_what_a_family_does_faster_is_what_it_does_by_default(family: Covariance, mixture: Mixture) -> None:
    """The defaults work on dense matrices alone; each that is overridden is the same function."""
    rng, k, d = np.random.default_rng(8), K, D
    counts, r = jnp.asarray([1.0, 2.0, 4.0]), jnp.asarray(rng.dirichlet(np.ones(K), 5).T)  # [K, B]
    a, b, difference = (jnp.asarray(rng.normal(size=size)) for size in ((k, d), (k, d), (k, d, 5)))
    z, spread = difference[0], np.array([[4.0, 0.0], [0.0, 4.0]])
    scales, order = mixture.scales, jnp.asarray([2, 0, 1])
    second, units = family.square(scales), jnp.asarray(family.units(spread))
    whitener = family.whitener(scales)
    asked: dict[str, tuple[Any, ...]] = {
        "broadcast": (jnp.asarray(spread), k),
        "scale_trils": (scales, k, d),
        "permute": (scales, order),
        "admits": (np.asarray(units),),
        "transform": (scales, units),
        "transform_second": (second, units),
        "natural": (jnp.log(mixture.weights), mixture.means, scales),
        "cross_products": (a, b),
        "degrees": (counts, d),
        "whiten": (whitener, difference),
        "weighted_square": (r, difference),
        "squared_distances": (whitener, mixture.means, z),
        "half_log_determinants": (scales, k, d),
        "scatter_of": (spread,),
    }
    for name, arguments in asked.items():
        quick, slow = getattr(family, name)(*arguments), getattr(Covariance, name)(family, *arguments)
        for left, right in zip(jax.tree.leaves(quick), jax.tree.leaves(slow), strict=True):
            # Two inverses of condition below 1e4.
            np.testing.assert_allclose(*np.broadcast_arrays(left, right), rtol=1e-11, atol=1e-11, err_msg=name)
    statistics = (
        way.statistics_of(family, way.weighted_sums(family, r, a, z), a) for way in (type(family), Covariance)
    )
    for left, right in zip(*statistics, strict=True):
        np.testing.assert_allclose(left, right, rtol=1e-12, atol=1e-12)


@FAMILIES
def test_features_of_every_kind_give_the_same_log_joint_and_statistics(family: Covariance, mixture: Mixture) -> None:
    """By default the features are all products, whatever the family."""
    rng = np.random.default_rng(8)
    z, r = jnp.asarray(rng.normal(size=(D, 5))), jnp.asarray(rng.dirichlet(np.ones(K), 5).T)
    natural, total = family.natural(jnp.log(mixture.weights), mixture.means, mixture.scales), z @ z.T
    found = []
    for way in (type(family), Covariance):
        features = way.features(family, z)
        assert 1 + sum(map(len, features)) == way.num_features(family, D)
        joint = natural.constant[:, None] + sum(c @ f for c, f in zip(way.pack(family, natural), features, strict=True))
        sums = tuple(weighted_sum(r, block) for block in features)
        shared = way.shared_log_joint(family, natural, total)
        found.append((jnp.sum(jax.nn.logsumexp(joint, 0)) + shared, *way.unpack(family, jnp.sum(r, 1), sums, total)))
    for left, right in zip(*found, strict=True):
        # Log-joints are of a size of 1e3.
        np.testing.assert_allclose(left, right, rtol=1e-11, atol=1e-11)


def test_orthogonal_factorisation_gives_the_cholesky_factor() -> None:
    matrices = np.random.default_rng(9).normal(size=(4, 3, 3))
    expected = np.linalg.cholesky(matrices @ matrices.transpose(0, 2, 1))
    # The condition number of M M^T is the square of that of M: at most 1e4 here.
    np.testing.assert_allclose(jax.jit(lower_triangular)(matrices), expected, rtol=1e-10, atol=1e-12)
