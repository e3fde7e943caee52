"""Soundness: a spike, a starved component and a group of tied values are told from a maximum."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.typing import NDArray
from pydantic import ValidationError

from workbench.mixture import COVARIANCES, Mixture
from workbench.problem import Problem
from workbench.soundness import Health, Soundness

Points = NDArray[np.float64]


@pytest.fixture(scope="module")
def points() -> Points:
    """Forty points around zero, and twenty that share the value 8."""
    return np.concatenate([np.random.default_rng(0).normal(size=40), np.full(20, 8.0)])


@pytest.fixture(scope="module")
def problem(points: Points) -> Problem:
    return Problem(points, 2)


def two(weight: float, mean: float, deviation: float) -> Mixture:
    """A broad component at zero and one of the given weight, mean and standard deviation."""
    scales = [[[1.5]], [[deviation**2]]]
    return Mixture.from_covariances([1 - weight, weight], [[0.0], [mean]], scales)


def flags(health: Health) -> set[str]:
    names = ("finite", "singular", "starved", "suspicious", "merged", "sound")
    return {name for name in names if getattr(health, name)}


def test_two_groups_are_sound(problem: Problem) -> None:
    health = Soundness().check(problem, two(1 / 3, 8.0, 1.0))
    assert flags(health) == {"finite", "sound"}


def test_a_component_collapsed_on_many_tied_values_is_singular_and_not_starved(problem: Problem) -> None:
    health = Soundness().check(problem, two(1 / 3, 8.0, 1e-6))
    assert flags(health) == {"finite", "singular"}
    assert health.smallest_component_size == pytest.approx(20.0, rel=1e-6)


def test_a_component_on_one_point_is_starved(problem: Problem, points: Points) -> None:
    far = float(points[:40].min())
    health = Soundness().check(problem, two(1 / 60, far, 1e-6))
    assert flags(health) == {"finite", "singular", "starved", "suspicious"}
    # One point's worth; its neighbours are a million deviations away.
    assert health.smallest_component_size == pytest.approx(1.0, rel=1e-4)


def test_a_component_without_points_is_starved_and_not_singular(problem: Problem) -> None:
    assert flags(Soundness().check(problem, two(1e-9, 4.0, 1.0))) == {"finite", "starved"}


def test_exactly_as_many_points_as_dimensions_plus_one_are_enough() -> None:
    # Two points at 100 and ten at 0: responsibilities sum to two but for rounding.
    problem = Problem(np.array([-1.0, 1.0] * 5 + [99.0, 101.0]), 2)
    mixture = Mixture.from_covariances([5 / 6, 1 / 6], [[0.0], [100.0]], [[[1.0]], [[1.0]]])
    assert not Soundness().check(problem, mixture).starved
    assert Soundness(min_points_per_dimension=1.01).check(problem, mixture).starved


def test_tight_and_small_is_suspicious_but_sound() -> None:
    x = np.concatenate([np.random.default_rng(1).normal(size=60), [5.0, 5.01, 5.02, 4.99]])
    problem = Problem(x, 2)
    mixture = Mixture.from_covariances([15 / 16, 1 / 16], [[0.0], [5.005]], [[[1.0]], [[1e-4]]])
    health = Soundness().check(problem, mixture)
    assert flags(health) == {"finite", "suspicious", "sound"}
    # Small alone is not.
    loose = Mixture.from_covariances([15 / 16, 1 / 16], [[0.0], [5.005]], [[[1.0]], [[0.5]]])
    assert flags(Soundness().check(problem, loose)) == {"finite", "sound"}


def test_tight_on_many_points_is_not_suspicious(problem: Problem) -> None:
    health = Soundness().check(problem, two(1 / 3, 8.0, 0.05))
    assert health.smallest_relative_eigenvalue < Soundness().tight
    assert flags(health) == {"finite", "sound"}


def test_a_mixture_with_nan_is_not_finite_and_not_sound(problem: Problem) -> None:
    mixture = two(1 / 3, 8.0, 1.0)
    for broken in (
        replace(mixture, means=mixture.means * jnp.nan),
        replace(mixture, scales=mixture.scales.at[0].set(jnp.nan)),
        replace(mixture, weights=mixture.weights * jnp.nan),
    ):
        health = Soundness().check(problem, broken)
        assert not health.finite and not health.sound and not health.suspicious


def test_components_that_no_row_tells_apart_are_merged(problem: Problem) -> None:
    same = Mixture.from_covariances([0.3, 0.7], [[2.0], [2.0]], [[[9.0]], [[9.0]]])
    assert Soundness().check(problem, same).merged


def test_one_component_cannot_be_merged(points: Points) -> None:
    mixture = Mixture.from_covariances([1.0], [[2.0]], [[[9.0]]])
    assert flags(Soundness().check(Problem(points, 1), mixture)) == {"finite", "sound"}


@pytest.mark.parametrize("family", COVARIANCES)
def test_relative_eigenvalue_is_that_of_the_covariance_in_working_units(family: str) -> None:
    rng = np.random.default_rng(2)
    x = rng.normal(size=(50, 3)) @ rng.normal(size=(3, 3))
    problem = Problem(x, 2, family)
    eye = problem.covariance.broadcast(jnp.eye(3), 2)
    mixture = Mixture(jnp.array([0.5, 0.5]), jnp.asarray(x[:2]), 0.1 * eye, problem.covariance)
    # In units in which the data have unit covariance, as far as the family can express it.
    inverse = np.linalg.inv(np.asarray(problem.rows.matrix))
    expected = min(np.linalg.eigvalsh(inverse @ c @ inverse.T).min() for c in np.asarray(mixture.covariances))
    health = Soundness().check(problem, mixture)
    assert health.smallest_relative_eigenvalue == pytest.approx(expected, rel=1e-10)


def test_the_verdict_does_not_depend_on_units(points: Points, problem: Problem) -> None:
    moved = Problem(1e-3 * points + 7.0, 2)
    for mixture in (two(1 / 3, 8.0, 1.0), two(1 / 3, 8.0, 1e-6), two(1e-9, 4.0, 1.0)):
        here = Soundness().check(problem, mixture)
        there = Soundness().check(moved, mixture.affine(1e-3, 7.0))
        assert flags(here) == flags(there)
        assert there.smallest_relative_eigenvalue == pytest.approx(here.smallest_relative_eigenvalue, rel=1e-9)


def test_a_batch_is_judged_one_by_one(problem: Problem) -> None:
    each = [two(1 / 3, 8.0, 1.0), two(1 / 3, 8.0, 1e-6), two(1e-9, 4.0, 1.0)]
    batch = jax.tree.map(lambda *leaves: jnp.stack(leaves), *each)
    assert [flags(h) for h in Soundness().check_all(problem, batch)] == [
        flags(Soundness().check(problem, m)) for m in each
    ]


def test_the_rule_is_configurable(problem: Problem) -> None:
    spike = two(1 / 3, 8.0, 1e-6)
    assert Soundness(min_relative_eigenvalue=0.0).check(problem, spike).sound
    assert not Soundness(min_relative_eigenvalue=0.9).check(problem, two(1 / 3, 8.0, 1.0)).sound
    assert Soundness(min_points_per_dimension=0.0).check(problem, two(1e-9, 4.0, 1.0)).sound


@pytest.mark.parametrize("field", Soundness.model_fields)
def test_thresholds_below_zero_are_refused(field: str) -> None:
    with pytest.raises(ValidationError, match=field):
        Soundness(**{field: -1.0})
