from collections.abc import Callable
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from workbench.data import load_dataset
from workbench.geometry.stationary import FLAT, Kind, classify, joined, spectrum
from workbench.mixture import Mixture
from workbench.problem import Problem

STEPS = 300  # of EM: enough for every problem here to stop moving


@pytest.fixture(scope="module")
def climbed(em_step) -> Callable[[Problem, Mixture], Mixture]:
    def climb(problem: Problem, start: Mixture) -> Mixture:
        for _ in range(STEPS):
            start = em_step(problem, start)[0]
        return start

    return climb


@pytest.fixture(scope="module")
def groups() -> Problem:
    """Two groups apart along the first axis, mirrored about the origin, under the spherical family."""
    half = np.random.default_rng(0).normal(size=(15, 2)) + np.array([3.0, 0.0])
    return Problem(np.concatenate([half, -half]), 2, "spherical")


@pytest.fixture(scope="module")
def merged(groups: Problem) -> Mixture:
    """Both components as the one Gaussian of the data: stationary, because neither row nor component prefers a side."""
    variance = np.mean(groups.x**2)
    return Mixture.from_covariances([0.4, 0.6], np.zeros((2, 2)), np.full(2, variance), "spherical")


@pytest.fixture(scope="module")
def apart(groups: Problem, climbed) -> Mixture:
    start = Mixture.from_covariances([0.5, 0.5], [[2.0, 0.0], [-2.0, 0.5]], [1.0, 1.0], "spherical")
    return climbed(groups, start)


def test_the_merged_point_of_two_spherical_groups_is_a_saddle(groups, merged):
    """One round component for data longer than they are wide: parting the means along the long axis must help."""
    found = classify(groups, merged)
    assert (found.kind, found.ascending) == (Kind.SADDLE, 1)
    assert found.largest_eigenvalue > 0.1


def test_log_joint_rises_to_second_order_from_a_saddle_and_falls_from_a_maximum(groups, merged, apart, log_joint):
    """By finite differences of the objective alone, along the direction with the largest eigenvalue."""
    for point, rises in ((merged, True), (apart, False)):
        parting = jnp.array([[0.6, 0.0], [-0.4, 0.0]])  # keeps the mean of the whole
        h = 1e-2
        values = [float(log_joint(groups, replace(point, means=point.means + s * parting))) for s in (-h, 0.0, h)]
        assert (values[0] + values[2] - 2 * values[1] > 0) == rises


def test_eigenvalues_are_those_of_the_jacobian_of_em_less_one(groups, apart):
    """DM by finite differences of the EM map, in weights, means and log variances: another route, other coordinates."""
    problem = groups

    def pack(m: Mixture) -> np.ndarray:
        return np.concatenate([np.asarray(m.weights)[:1], np.asarray(m.means).ravel(), np.log(np.asarray(m.scales))])

    step = jax.jit(lambda v: problem.em_step(
        Mixture(jnp.array([v[0], 1 - v[0]]), v[1:5].reshape(2, 2), jnp.exp(v[5:]), problem.covariance))[0])  # fmt: skip
    u, h = pack(apart), 1e-5
    columns = [(pack(step(jnp.asarray(u + h * e))) - pack(step(jnp.asarray(u - h * e)))) / (2 * h) for e in np.eye(7)]
    expected = np.sort(np.linalg.eigvals(np.stack(columns, 1)).real) - 1
    # Central differences: h^2 of truncation, eps / h of rounding.
    np.testing.assert_allclose(spectrum(problem, apart).eigenvalues, expected, atol=1e-7)


def test_eigenvalues_do_not_depend_on_units(groups, apart):
    other = Problem(1000.0 * groups.x + 7.0, 2, "spherical")
    expected = spectrum(groups, apart).eigenvalues
    # Seven standard deviations of rounding in x.
    np.testing.assert_allclose(spectrum(other, apart.affine(1000.0, 7.0)).eigenvalues, expected, atol=1e-8)


def test_where_em_ends_on_two_groups_is_a_strict_maximum(groups, apart):
    found = classify(groups, apart)
    assert found.kind == Kind.MAXIMUM
    assert (found.ascending, found.flat) == (0, 0)
    assert found.largest_eigenvalue < -FLAT


def test_an_end_is_polished_to_where_the_gradient_vanishes(groups, apart, em_step):
    off = replace(apart, means=apart.means + 1e-3)
    found = classify(groups, off)
    again = em_step(groups, found.mixture)[0]
    # Newton steps square the error until rounding.
    np.testing.assert_allclose(np.asarray(again.means), np.asarray(found.mixture.means), atol=1e-9)


def test_a_point_on_the_slope_is_unfinished(groups, merged):
    slope = replace(merged, means=jnp.array([[1.0, 0.0], [-1.0, 0.0]]))
    assert classify(groups, slope).kind == Kind.UNFINISHED


def test_tied_components_that_merge_make_a_plateau_whatever_their_weights():
    """Waiting times of Old Faithful: one Gaussian, written as two, at its value of -1095.289."""
    x = load_dataset("faithful").select(["waiting"]).x
    problem = Problem(x, 2, "tied")
    for weight in (0.25, 0.6):
        # Parted by a thirtieth of a standard deviation, their mean that of the data, as EM keeps it.
        near = x.mean() + 0.4 * np.array([[1 - weight], [-weight]])
        found = classify(problem, Mixture.from_covariances([weight, 1 - weight], near, [[x.var()]], "tied"))
        assert found.kind == Kind.PLATEAU
        assert found.log_joint == pytest.approx(-1095.2888, abs=1e-4)  # four digits as published
        # The weight, and to second order the parting of the means.
        assert (found.ascending, found.flat, len(set(found.groups))) == (0, 2, 1)


def test_what_is_unsound_is_degenerate_and_what_has_vanished_a_plateau(two_groups, shapes):
    assert classify(two_groups, shapes["spike"]).kind == Kind.DEGENERATE
    assert classify(two_groups, shapes["starved"]).kind == Kind.PLATEAU


def test_a_component_on_fewer_points_than_columns_is_a_maximum_where_its_family_allows_it():
    """Two groups of four points in six columns: starved of a full covariance, a strict maximum of a spherical one."""
    rng = np.random.default_rng(2)
    x = rng.normal(size=(8, 6)) + np.repeat([[-9.0], [9.0]], 4, axis=0)
    parts = (x[:4], x[4:])
    means, dense = [part.mean(0) for part in parts], [np.cov(part.T, bias=True) for part in parts]
    spheres = Mixture.from_covariances([0.5, 0.5], means, [np.trace(c) / 6 for c in dense], "spherical")
    assert classify(Problem(x, 2, "spherical"), spheres).kind == Kind.MAXIMUM
    full = Mixture.from_covariances([0.5, 0.5], means, [c + 0.5 * np.eye(6) for c in dense])
    found = classify(Problem(x, 2), full)
    assert (found.kind, found.reason) == (Kind.DEGENERATE, "a component holds 4 points' worth")


def test_what_is_no_number_is_not_finite(two_groups, shapes):
    spoilt = replace(shapes["good"], means=shapes["good"].means.at[0, 0].set(jnp.nan))
    assert classify(two_groups, spoilt).kind == Kind.NONFINITE


def test_joined_components_are_equal_and_keep_their_weights(points, random_mixture):
    mixture = random_mixture(points, 3, "full", 0)
    one = joined(mixture, np.array([0, 1, 0]))
    assert np.array_equal(one.weights, mixture.weights)
    assert np.array_equal(one.means[0], one.means[2])
    assert np.array_equal(one.scales[0], one.scales[2])
    assert np.array_equal(one.means[1], mixture.means[1])
