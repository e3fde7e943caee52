"""Starts from groups of rows: k-means and hierarchical clustering, whatever the units of the columns."""

from collections.abc import Callable

import jax
import numpy as np
import pytest
from families import projected
from numpy.typing import NDArray
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.spatial.distance import pdist
from sklearn.cluster import KMeans as ScikitLearnKMeans

from workbench.mixture import COVARIANCES
from workbench.problem import Problem
from workbench.starts import STARTS, Hierarchical, KMeans, KMeansPlusPlus, RawKMeans, VariedSeeds, draw_starts
from workbench.starts.groups import (
    GroupedStart,
    Groups,
    groups_of,
    lloyd,
    nearest,
    principal_axes,
    scaled,
    seed_rows,
    varied_units,
)
from workbench.starts.hierarchical import agglomerate

Points = NDArray[np.float64]
K = 3
RESTARTS = 4
GROUPED_RULES = [rule for rule, start in STARTS.items() if issubclass(start, GroupedStart)]
GROUPED = pytest.mark.parametrize("rule", GROUPED_RULES)


def three_groups(seed: int = 0, apart: float = 8.0) -> tuple[Points, NDArray[np.intp]]:
    """Round groups of 12, 9 and 6 points in 4 columns of very different units, and their labels."""
    rng = np.random.default_rng(seed)
    labels = np.repeat([0, 1, 2], [12, 9, 6])
    return (labels[:, None] * apart + rng.normal(size=(27, 4))) * [1.0, 1e3, 1e-3, 10.0], labels


def same_groups(labels: NDArray[np.intp], others: NDArray[np.intp]) -> bool:
    """Whether two labellings are the same partition."""
    return bool(np.array_equal(labels[:, None] == labels, others[:, None] == others))


@pytest.mark.parametrize("rule", [*(rule for rule in GROUPED_RULES if rule != "raw_kmeans"), "short_em"])
@pytest.mark.parametrize("family", ["full", "tied", "diagonal"])
def test_units_of_the_columns_do_not_matter(rule: str, family: str, points: Points) -> None:
    units = np.array([1e3, 1e-2])
    drawn, other = (
        draw_starts(STARTS[rule](), Problem(x, K, family), RESTARTS, seed=3) for x in (points, points * units)
    )
    # Scaled columns differ by rounding errors, which change no group here but grow in hundreds of steps of EM past
    # saddles.
    more = 1e4 if rule == "short_em" else 1.0
    np.testing.assert_allclose(other.means, np.asarray(drawn.means) * units, rtol=1e-9 * more)
    np.testing.assert_allclose(other.weights, drawn.weights, rtol=1e-12 * more)
    covariances, others = (np.asarray(jax.vmap(lambda m: m.covariances)(m)) for m in (drawn, other))
    np.testing.assert_allclose(others, covariances * np.outer(units, units), rtol=1e-8 * more)


@GROUPED
def test_fewer_distinct_rows_than_components_still_make_a_proper_start(rule: str) -> None:
    starts = draw_starts(STARTS[rule](), Problem(np.repeat([1.0, 2.0], 5), 3), RESTARTS, seed=0)
    assert all(np.all(np.isfinite(leaf)) for leaf in jax.tree.leaves(starts))
    assert np.all(np.asarray(starts.scales) > 0) and np.all(np.asarray(starts.weights) > 0)


@GROUPED
def test_of_many_rows_a_start_looks_at_a_sample(rule: str, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []
    start, group = STARTS[rule], STARTS[rule].group  # type: ignore[attr-defined]
    monkeypatch.setattr(start, "group", lambda self, x, *rest: seen.append(len(x)) or group(self, x, *rest))
    x = np.random.default_rng(0).normal(size=(20_000, 1))
    draw_starts(start(), Problem(x, 2), 2, seed=0)
    assert seen == [start.most_rows] * 2  # type: ignore[attr-defined]


# K-means


def test_kmeans_plus_plus_finds_groups_that_lie_far_apart() -> None:
    centres = np.array([0.0, 1e3, 3e3])
    x = (centres[:, None] + np.random.default_rng(0).normal(size=(3, 15))).ravel()
    starts = draw_starts(KMeansPlusPlus(), Problem(x, 3), 20, seed=0)
    # The probability of a second row from the same group is about 1e-5 in all twenty starts together.
    groups = np.abs(np.asarray(starts.means) - centres).argmin(-1)
    assert all(len(set(g)) == 3 for g in groups)
    # The covariance is that within the groups.
    np.testing.assert_array_less(np.asarray(starts.scales), 10.0)


def test_seeds_are_drawn_in_proportion_to_squared_distance() -> None:
    z = np.array([[0.0], [1.0], [3.0]])
    second = [seed_rows(z, 2, np.random.default_rng(seed)) for seed in range(3000)]
    after_first = [b for a, b in second if a == 0]
    share = np.mean(np.asarray(after_first) == 2)
    # The other rows are at squared distances 1 and 9 from the row at 0; four standard errors of about a thousand draws.
    assert abs(share - 0.9) < 4 * np.sqrt(0.9 * 0.1 / len(after_first))


def test_varied_seeds_change_their_units_from_restart_to_restart(points: Points) -> None:
    rng = np.random.default_rng(0)
    as_scaled, whitened, stretched, again = (varied_units(points, rng, r, most=20) for r in (0, 1, 2, 5))
    np.testing.assert_array_equal(as_scaled, scaled(points))
    np.testing.assert_allclose(np.cov(whitened.T, ddof=0), np.eye(2), atol=1e-12)
    # Principal axes with random lengths, different each time.
    axes = principal_axes(points, 20)[0]
    for z in (stretched, again):
        factors = np.std(z, axis=0) / np.std(axes, axis=0)
        np.testing.assert_allclose(z, axes * factors, rtol=1e-12)
    assert not np.allclose(stretched, again)


def test_varied_seeds_take_pooled_covariances_and_their_own_by_turns(problem_of: Callable[..., Problem]) -> None:
    scales = np.asarray(draw_starts(VariedSeeds(), problem_of("full"), RESTARTS, seed=0).scales)
    alike = [np.allclose(scales[r], scales[r, 0], rtol=1e-12) for r in range(RESTARTS)]
    assert alike == [True, False, True, False]


def test_kmeans_ends_where_every_row_is_nearest_to_the_mean_of_its_group(points: Points) -> None:
    z = scaled(points)
    labels = lloyd(z, z[seed_rows(z, K, np.random.default_rng(0))])
    means = np.stack([z[labels == k].mean(0) for k in range(K)])
    np.testing.assert_array_equal(labels, nearest(z, means))


def test_kmeans_is_that_of_scikit_learn_from_the_same_seeds(points: Points) -> None:
    z = scaled(points)
    for seed in range(5):
        seeds = z[seed_rows(z, K, np.random.default_rng(seed))]
        oracle = ScikitLearnKMeans(K, init=seeds, n_init=1, tol=0.0).fit(z)
        np.testing.assert_array_equal(lloyd(z, seeds), oracle.labels_)


def test_raw_kmeans_takes_the_columns_as_they_are() -> None:
    # Groups in the wide column, and noise in the narrow one, which scaling would make as wide.
    rng = np.random.default_rng(0)
    labels = np.repeat([0, 1], 40)
    x = np.column_stack([10.0 * labels + rng.normal(size=80), 0.01 * rng.choice([-1.0, 1.0], size=80)])
    for r in range(5):
        means = np.sort(np.asarray(draw_starts(RawKMeans(), Problem(x, 2), 5, seed=0).means)[r, :, 0])
        np.testing.assert_allclose(means, [x[labels == k, 0].mean() for k in range(2)], rtol=1e-12)
    oracle = ScikitLearnKMeans(2, n_init=1, tol=0.0, random_state=0).fit(x)
    assert same_groups(oracle.labels_, labels)


@pytest.mark.parametrize("family", COVARIANCES)
def test_a_kmeans_start_is_the_fit_of_its_groups(family: str) -> None:
    x, labels = three_groups()
    start = jax.tree.map(lambda leaf: leaf[0], draw_starts(KMeans(), Problem(x, 3, family), 1, seed=0)).canonical()
    np.testing.assert_allclose(start.weights, np.bincount(labels) / 27, rtol=1e-12)
    np.testing.assert_allclose(start.means, [x[labels == k].mean(0) for k in range(3)], rtol=1e-12)
    own = [np.cov(x[labels == k].T, ddof=0) for k in range(3)]
    pooled = sum(n * c for n, c in zip((12, 9, 6), own, strict=True)) / 27
    # The pooled covariance counts as many rows as the family needs: 5 for full, 2 for a variance.
    m = COVARIANCES[family].fewest_points(4)
    smoothed = [(n * c + m * pooled) / (n + m) for n, c in zip((12, 9, 6), own, strict=True)]
    expected = projected(family, np.stack(smoothed), weights=np.array([12.0, 9.0, 6.0]))
    np.testing.assert_allclose(start.covariances, expected, rtol=1e-9, atol=1e-9 * np.max(np.abs(expected)))


def test_a_group_of_one_row_takes_its_shape_from_the_pooled_covariance() -> None:
    x = np.concatenate([np.random.default_rng(0).normal(size=(30, 2)), [[50.0, 50.0]]])
    start = draw_starts(KMeans(), Problem(x, 2), 1, seed=0)
    alone = int(np.argmin(start.weights[0]))
    np.testing.assert_allclose(start.means[0, alone], [50.0, 50.0], rtol=1e-12)
    covariances = np.asarray(start.scales[0] @ np.swapaxes(start.scales[0], -1, -2))
    pooled = np.cov(x[:30].T, ddof=0) * 30 / 31
    # The pooled covariance counts as three of four rows.
    np.testing.assert_allclose(covariances[alone], 0.75 * pooled, rtol=1e-9)


def test_groups_hold_the_covariance_of_the_data(points: Points) -> None:
    # The law of total covariance.
    labels = np.arange(len(points)) % K
    counts, means, covariances = groups_of(points, labels, K)
    w = counts / counts.sum()
    between = np.cov(means.T, aweights=w, ddof=0)
    np.testing.assert_allclose(np.einsum("k,kij->ij", w, covariances) + between, np.cov(points.T, ddof=0), rtol=1e-12)


# Hierarchical clustering


def criterion(z: Points, everything: float) -> float:
    """The term of one group in the criterion of Fraley (1998), from its rows z [N, D]."""
    n = len(z)
    scatter = (z - z.mean(0)).T @ (z - z.mean(0))
    return float(n * np.log(np.linalg.det(scatter / n) * (n > z.shape[1]) + (np.trace(scatter) + everything) / n))


@pytest.mark.parametrize("dimensions", [1, 2, 4])
def test_agglomeration_merges_the_two_that_cost_least_at_every_step(dimensions: int) -> None:
    z = np.random.default_rng(dimensions).normal(size=(14, dimensions))
    everything = float(np.sum((z - z.mean(0)) ** 2)) / z.size
    groups = [[i] for i in range(len(z))]
    while len(groups) > 1:
        labels = np.empty(len(z), int)
        for k, rows in enumerate(groups):
            labels[rows] = k
        assert same_groups(agglomerate(z, len(groups)), labels)
        pairs = [(i, j) for i in range(len(groups)) for j in range(i + 1, len(groups))]
        rises = [
            criterion(z[groups[i] + groups[j]], everything)
            - criterion(z[groups[i]], everything) - criterion(z[groups[j]], everything)
            for i, j in pairs
        ]  # fmt: skip
        i, j = pairs[int(np.argmin(rises))]
        groups[i] += groups.pop(j)


def test_agglomeration_finds_round_groups_that_stand_apart_as_wards_method_does() -> None:
    x, labels = three_groups()
    z = scaled(x)
    assert same_groups(agglomerate(z, 3), labels)
    assert same_groups(fcluster(linkage(z, "ward"), 3, "maxclust"), labels)


def test_principal_axes_keep_distances_or_whiten_them_and_leave_out_what_is_collinear(points: Points) -> None:
    turned, whitened = principal_axes(points, 20)
    np.testing.assert_allclose(np.cov(whitened.T, ddof=0), np.eye(2), atol=1e-12)
    np.testing.assert_allclose(pdist(turned), pdist(scaled(points)), rtol=1e-12)
    assert principal_axes(np.column_stack([points, points.sum(1)]), 20)[1].shape == points.shape
    assert principal_axes(points, 1)[0].shape == (len(points), 1)


def test_the_first_hierarchical_starts_are_of_all_rows_and_no_seed(problem_of: Callable[..., Problem]) -> None:
    problem = problem_of("full")
    first, second = (np.asarray(draw_starts(Hierarchical(), problem, RESTARTS, seed=s).means) for s in (1, 2))
    np.testing.assert_array_equal(first[:2], second[:2])
    assert not np.array_equal(first[2:], second[2:])


def test_a_group_left_empty_stays_at_its_centre() -> None:
    x = np.array([[0.0], [1.0], [2.0]])
    assert groups_of(x, np.array([0, 0, 1]), 3, np.array([[0.0], [2.0], [9.0]])).means.tolist() == [[0.5], [2.0], [9.0]]
    assert isinstance(groups_of(x, np.array([0, 0, 1]), 2), Groups)
