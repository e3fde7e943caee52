"""Soundness: a spike, a starved component and a group of tied values are distinguished from a maximum."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.metrics import adjusted_rand_score

from workbench.data import load_dataset
from workbench.errors import InputError
from workbench.mixture import COVARIANCES, PRIORS, ConjugatePrior, IndependentPrior, Mixture, Prior
from workbench.problem import Problem
from workbench.soundness import Health, Soundness, _shares
from workbench.starts import RandomPoints, draw_starts

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
    assert flags(health) == {"finite", "singular", "suspicious"}
    assert health.smallest_component_size == pytest.approx(20.0, rel=1e-6)


def test_a_component_on_one_point_is_starved(problem: Problem, points: Points) -> None:
    far = float(points[:40].min())
    health = Soundness().check(problem, two(1 / 60, far, 1e-6))
    assert flags(health) == {"finite", "singular", "starved", "suspicious"}
    # A component on one point, whose neighbours are a million standard deviations away.
    assert health.smallest_component_size == pytest.approx(1.0, rel=1e-4)


def test_a_component_without_points_is_starved_and_not_singular(problem: Problem) -> None:
    assert flags(Soundness().check(problem, two(1e-9, 4.0, 1.0))) == {"finite", "starved"}


@pytest.mark.parametrize("family", COVARIANCES)
def test_the_fewest_points_are_those_of_which_a_covariance_is_not_singular(family: str) -> None:
    """The result of an M-step with hard responsibilities for n random points."""
    d, covariance = 5, COVARIANCES[family]
    fewest = covariance.fewest_points(d)
    for n in {fewest - 1, fewest} - {-1, 0}:
        x = np.random.default_rng(n).normal(size=(n, d))
        dense = np.cov(x.T, bias=True)
        kept = {"full": dense, "diagonal": np.diag(dense), "spherical": np.mean(np.diag(dense))}[family]
        smallest = float(np.min(np.linalg.eigvalsh(kept) if family == "full" else kept))
        # A singular covariance has an eigenvalue of a few eps; that of random points is a thousandth or more.
        assert (smallest > 1e-6) == (n == fewest)


def test_no_component_of_a_tied_covariance_needs_points_of_its_own() -> None:
    """Acidity, K = 5: the best known optimum has a component on the single lowest value."""
    x = load_dataset("acidity").x
    problem = Problem(x, 5, "tied")
    em_step = jax.jit(Problem.em_step)
    mixture = Mixture.from_covariances(
        np.array([1.0, 77.0, 21.0, 29.0, 28.0]) / 156, [[2.93], [4.24], [5.02], [6.02], [6.71]], [[0.06]], "tied"
    )
    for _ in range(500):
        mixture, log_joint = em_step(problem, mixture)
    assert float(log_joint) == pytest.approx(-175.118, abs=5e-4)  # the reported digits
    health = Soundness().check(problem, mixture)
    assert flags(health) == {"finite", "sound"}
    assert health.smallest_component_size == pytest.approx(1.0, abs=0.01)


def test_a_tied_component_that_no_point_belongs_to_is_starved(points: Points) -> None:
    mixture = Mixture.from_covariances([1 - 1e-9, 1e-9], [[2.0], [400.0]], [[9.0]], "tied")
    assert flags(Soundness().check(Problem(points, 2, "tied"), mixture)) == {"finite", "starved"}


@pytest.mark.parametrize("family", ["diagonal", "spherical"])
def test_fits_of_fewer_points_than_columns_are_sound_where_the_family_allows_them(
    family: str, em_step: Callable[..., Any]
) -> None:
    """Groups of 40, 25 and 15 points in 20 columns, centres 4 a column apart: EM from ten starts at random points."""
    groups = np.repeat([0, 1, 2], [40, 25, 15])
    x = np.random.default_rng(0).normal(size=(80, 20)) + 4.0 * groups[:, None]
    problem = Problem(x, 3, family)
    starts = draw_starts(RandomPoints(), problem, 10, 0)
    ends = []
    for r in range(10):
        mixture = jax.tree.map(lambda leaf, r=r: leaf[r], starts)
        for _ in range(30):
            mixture, log_joint = em_step(problem, mixture)
        assert Soundness().check(problem, mixture).sound
        ends.append((float(log_joint), adjusted_rand_score(groups, np.asarray(mixture.predict(x)))))
    assert max(ends)[1] == 1.0


def test_a_sphere_of_fewer_points_than_columns_is_sound_and_its_likelihood_the_closed_form() -> None:
    """40 rows of 100 columns in two clear groups: the Gaussian of each group, and for K = 1 that of all rows."""
    groups = np.repeat([0, 1], [22, 18])
    x = np.random.default_rng(1).normal(size=(40, 100)) + 3.0 * groups[:, None]

    def spheres(parts: list[Points]) -> tuple[float, Mixture]:
        """The log-likelihood if every row belongs to its own group: -n D / 2 (log(2 pi v) + 1) + n log(n / N)."""
        sizes = np.array([len(part) for part in parts])
        variances = np.array([np.mean(np.var(part, axis=0)) for part in parts])
        value = np.sum(sizes * (np.log(sizes / 40) - 50 * (np.log(2 * np.pi * variances) + 1)))
        means = np.array([part.mean(0) for part in parts])
        return float(value), Mixture.from_covariances(sizes / 40, means, variances, "spherical")

    for parts in ([x], [x[groups == 0], x[groups == 1]]):
        expected, mixture = spheres(parts)
        problem = Problem(x, len(parts), "spherical")
        assert flags(Soundness().check(problem, mixture)) == {"finite", "sound"}
        # The groups are 30 standard deviations apart, so responsibilities are 0 or 1 up to rounding.
        assert float(problem.log_likelihood(mixture)) == pytest.approx(expected, rel=1e-12)


BOUNDING: dict[str, Prior] = {
    name: IndependentPrior(deviation="log_normal") if name == "independent" else PRIORS[name]()
    for name in PRIORS
    if name != "flat"
}


@pytest.mark.parametrize(
    "name", [name for name in BOUNDING if name != "diagonal_loading"]
)  # does not bound an empty one
def test_a_starved_component_is_no_failure_under_a_prior_that_bounds_it(name: str, points: Points) -> None:
    problem = Problem(points, 2, "diagonal", BOUNDING[name])
    empty = Mixture.from_covariances([1 - 1e-9, 1e-9], [[2.0], [4.0]], [[16.0], [1.0]], "diagonal")
    health = Soundness().check(problem, empty)
    assert flags(health) == {"finite", "sound"}
    assert health.vanished == 1
    # A given `min_relative_size` applies under this prior as well.
    assert Soundness(min_relative_size=1.0).check(problem, empty).starved
    # A singular covariance is not sound under any prior.
    spike = Mixture.from_covariances([2 / 3, 1 / 3], [[0.0], [8.0]], [[2.0], [1e-12]], "diagonal")
    assert "sound" not in flags(Soundness().check(problem, spike))


@pytest.mark.parametrize("name", BOUNDING)
def test_log_joint_falls_as_a_component_shrinks_on_a_point_under_a_prior_that_bounds_it(
    name: str, points: Points, log_joint: Callable[..., Any]
) -> None:
    assert np.argmax(_heights(BOUNDING[name], points, log_joint)) < 2


@pytest.mark.parametrize("name", ["flat", "independent"])
def test_log_joint_rises_without_end_under_one_that_does_not(
    name: str, points: Points, log_joint: Callable[..., Any]
) -> None:
    assert np.argmax(_heights(PRIORS[name](), points, log_joint)) == 3


def _heights(prior: Prior, points: Points, log_joint: Callable[..., Any]) -> Points:
    """`log_joint` as a component narrows on the lowest point: from 1 by factors of 10,000."""
    problem, on = Problem(points, 2, "diagonal", prior), float(points.min())
    each = ([[16.0], [10.0 ** (-8 * e)]] for e in range(4))
    weights, means = [59 / 60, 1 / 60], [[2.0], [on]]
    return np.array([log_joint(problem, Mixture.from_covariances(weights, means, c, "diagonal")) for c in each])


def test_which_priors_bound_a_component_depends_on_their_numbers_and_on_the_family() -> None:
    full, spherical = COVARIANCES["full"], COVARIANCES["spherical"]
    assert ConjugatePrior().bounds_components(full, 3)
    assert not ConjugatePrior(concentration=0.5).bounds_components(full, 3)
    assert not IndependentPrior().bounds_components(spherical, 3)
    log_normal = IndependentPrior(deviation="log_normal")
    assert [log_normal.bounds_components(full, d) for d in (1, 2)] == [True, False]
    assert log_normal.bounds_components(spherical, 2)


def test_exactly_as_many_points_as_dimensions_plus_one_are_enough() -> None:
    # Two points at 100 and ten at 0: the responsibilities sum to two up to rounding.
    problem = Problem(np.array([-1.0, 1.0] * 5 + [99.0, 101.0]), 2)
    mixture = Mixture.from_covariances([5 / 6, 1 / 6], [[0.0], [100.0]], [[[1.0]], [[1.0]]])
    assert not Soundness().check(problem, mixture).starved
    assert Soundness(min_relative_size=1.01).check(problem, mixture).starved


def test_tight_and_small_is_suspicious_but_sound() -> None:
    x = np.concatenate([np.random.default_rng(1).normal(size=60), [5.0, 5.01, 5.02, 4.99]])
    problem = Problem(x, 2)
    mixture = Mixture.from_covariances([15 / 16, 1 / 16], [[0.0], [5.005]], [[[1.0]], [[1e-4]]])
    health = Soundness().check(problem, mixture)
    assert flags(health) == {"finite", "suspicious", "sound"}
    # A component that is only small is not suspicious.
    loose = Mixture.from_covariances([15 / 16, 1 / 16], [[0.0], [5.005]], [[[1.0]], [[0.5]]])
    assert flags(Soundness().check(problem, loose)) == {"finite", "sound"}


@pytest.mark.parametrize("spread", [0.05, 0.0])
def test_tight_on_many_points_is_suspicious_only_where_they_are_tied(spread: float) -> None:
    rng = np.random.default_rng(0)
    x = np.concatenate([rng.normal(size=40), 8.0 + spread * rng.normal(size=20)])
    health = Soundness().check(Problem(x, 2), two(1 / 3, 8.0, 0.05))
    assert health.smallest_relative_eigenvalue < Soundness().tight
    assert flags(health) == {"finite", "sound"} | ({"suspicious"} if spread == 0.0 else set())
    assert (health.tie is None) == (spread > 0.0)
    if health.tie is not None:
        assert (health.tie.column, health.tie.value, health.tie.points) == (0, (8.0,), 20)


def test_a_spike_on_equal_values_of_one_column_is_told_from_one_on_equal_rows() -> None:
    rng = np.random.default_rng(3)
    x = rng.normal(size=(60, 2))
    for column, tied in ((1, (slice(None, 25), 1)), (None, (slice(None, 25),))):
        held = x.copy()
        held[tied] = 5.0
        narrow = np.diag([1.0 if column == 1 else 1e-3, 1e-3])
        means = np.array([[0.0, 0.0], [0.0 if column == 1 else 5.0, 5.0]])
        health = Soundness().check(Problem(held, 2), Mixture.from_covariances([0.6, 0.4], means, [np.eye(2), narrow]))
        assert health.suspicious and health.tie is not None
        assert (health.tie.column, health.tie.points) == (column, 25)


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


def test_components_that_hold_no_point_have_not_merged(points: Points) -> None:
    """Two components lie together at the mode of their prior."""
    problem = Problem(points, 3, "full", ConjugatePrior())
    covariances = [[[16.0]], [[2.0]], [[2.0]]]
    health = Soundness().check(problem, Mixture.from_covariances([1.0, 1e-12, 1e-12], [[2.0]] * 3, covariances))
    assert flags(health) == {"finite", "sound"}
    assert (health.vanished, health.distinct) == (2, 1)


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
    # In units in which the data have unit covariance, as far as the family admits it.
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
    assert not Soundness(min_relative_eigenvalue=0.9, small=1e3).check(problem, two(1 / 3, 8.0, 1.0)).sound
    assert Soundness(min_relative_size=0.0).check(problem, two(1e-9, 4.0, 1.0)).sound


@pytest.mark.parametrize("field", Soundness.model_fields)
def test_thresholds_below_zero_are_refused(field: str) -> None:
    with pytest.raises(InputError, match=field):
        Soundness(**{field: -1.0})


def test_groups_far_apart_are_no_spikes_and_a_spike_on_few_points_is_one() -> None:
    # Groups 700 standard deviations apart: each variance is 8e-6 of the data's, and is that of a hundred points.
    x = np.random.default_rng(0).normal(size=200) + np.repeat([0.0, 700.0], 100)
    for family in ("full", "tied", "spherical"):
        problem = Problem(x, 2, family)
        deviations = np.asarray([np.var(x[:100]), np.var(x[100:])])
        shapes = {"full": deviations[:, None, None], "tied": [[deviations.mean()]], "spherical": deviations}
        groups = Mixture.from_covariances([0.5, 0.5], [[x[:100].mean()], [x[100:].mean()]], shapes[family], family)
        health = Soundness().check(problem, groups)
        assert health.smallest_relative_eigenvalue < 1e-5
        assert health.sound and not health.suspicious
    # Components that are as narrow, but on the two nearest points of each group.
    spike = Mixture.from_covariances([0.01, 0.99], [[x[0]], [x.mean()]], [[[1e-6]], [[np.var(x)]]])
    assert Soundness().check(Problem(x, 2), spike).singular


@pytest.mark.parametrize("data", ["line", "two points"])
def test_a_climb_that_was_cut_off_on_its_way_to_a_hyperplane_is_singular(data: str) -> None:
    rng = np.random.default_rng(0)
    t = rng.normal(1.0, 0.5, 30)
    flat = np.stack([t, t], axis=1) if data == "line" else np.repeat([[2.0, 1.0], [6.0, 5.0]], 20, axis=0)
    x = np.concatenate([rng.normal(size=(100, 2)), flat])
    problem = Problem(x, 2, "full")
    along, across = np.array([1.0, 1.0]) / np.sqrt(2), np.array([1.0, -1.0]) / np.sqrt(2)
    spread = float(np.var(flat @ along))

    def narrow(width: float) -> Mixture:
        thin = spread * np.outer(along, along) + width**2 * np.outer(across, across)
        covariances = np.stack([np.cov(x[:100].T), thin])
        return Mixture.from_covariances([0.75, 0.25], [x[:100].mean(axis=0), flat.mean(axis=0)], covariances)

    # Thirty or forty different or equal points, and a width at which no digits are lost yet: the rows decide.
    for width in (1e-5, 1e-4, 1e-3):
        assert Soundness().check(problem, narrow(width)).singular
    # As narrow, but the points have that width.
    off = np.concatenate([x[:100], flat + rng.normal(size=(len(flat), 1)) * 1e-5 * across])
    assert Soundness().check(Problem(off, 2, "full"), narrow(1e-5)).sound


def test_a_component_on_a_value_that_is_not_the_most_frequent_is_found_too() -> None:
    """Classes as numbers: a spike on the rarer of two values of a column is as much a spike."""
    rng = np.random.default_rng(6)
    x = np.column_stack([np.repeat([0.0, 1.0], [120, 80]), rng.normal(size=200)])
    problem = Problem(x, 2)
    groups = [x[:120], x[120:]]
    covariances = [np.cov(group.T, bias=True) + np.diag([1e-12, 0.0]) for group in groups]
    means = [group.mean(axis=0) for group in groups]
    mixture = Mixture.from_covariances([0.6, 0.4], means, np.stack([np.cov(x.T), covariances[1]]))
    health = Soundness().check(problem, mixture)
    assert health.tie is not None
    assert (health.tie.column, health.tie.value, health.tie.points, health.tie.num_points) == (0, (1.0,), 80, 200)
    assert health.singular and not health.sound


@pytest.mark.parametrize("family", ["full", "tied", "diagonal", "spherical"])
def test_shares_on_the_host_are_the_responsibilities(family: str, random_mixture: Callable[..., Mixture]) -> None:
    x = np.random.default_rng(9).normal(size=(40, 3)) * [1.0, 10.0, 0.1]
    mixture = random_mixture(x, 3, family, 2)
    assert np.allclose(_shares(mixture, x), np.asarray(mixture.responsibilities(x)).T, atol=1e-12)
