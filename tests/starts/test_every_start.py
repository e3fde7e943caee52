"""Starts: a start depends on the problem, the seed and the restart, and on nothing else."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.typing import NDArray

from workbench.errors import InputError
from workbench.mixture import COVARIANCES, Mixture
from workbench.problem import Problem
from workbench.starts import (
    STARTS,
    Given,
    Labellings,
    RandomPoints,
    Start,
    Stated,
    base,
    draw_starts,
    groups,
)

K = 3
RESTARTS = 4
FAMILIES = pytest.mark.parametrize("family", COVARIANCES)
RULES = pytest.mark.parametrize("rule", STARTS)
Points = NDArray[np.float64]


def start_of(rule: str, problem: Problem) -> Start:
    """The rule with its defaults; rules that need values get some that fit the problem."""
    if not issubclass(STARTS[rule], Stated):
        return STARTS[rule]()
    family = problem.covariance
    scales = family.broadcast(jnp.cov(problem.x.T), problem.components)
    return STARTS[rule](
        weights=np.full(K, 1 / K).tolist(),
        means=np.asarray(problem.x)[:K].tolist(),
        covariances=np.asarray(family.square(scales)).tolist(),
    )


@FAMILIES
@RULES
def test_every_start_is_a_proper_mixture_of_the_problem(
    rule: str, family: str, problem_of: Callable[..., Problem]
) -> None:
    problem = problem_of(family)
    starts = draw_starts(start_of(rule, problem), problem, RESTARTS, seed=0)
    assert starts.weights.shape == (RESTARTS, K) and starts.means.shape == (RESTARTS, K, 2)
    assert starts.scales.shape == (RESTARTS, *problem.covariance.shape(K, 2))
    np.testing.assert_allclose(jnp.sum(starts.weights, 1), 1.0, rtol=1e-14)
    assert np.all(np.asarray(starts.weights) > 0)
    covariances = np.asarray(jax.vmap(lambda m: m.covariances)(starts))
    assert np.all(np.linalg.eigvalsh(covariances) > 0)


@RULES
def test_the_first_restarts_are_the_same_however_many_follow(rule: str, problem_of: Callable[..., Problem]) -> None:
    problem = problem_of("full")
    start = start_of(rule, problem)
    few, many = draw_starts(start, problem, 2, seed=5), draw_starts(start, problem, RESTARTS, seed=5)
    for a, b in zip(jax.tree.leaves(few), jax.tree.leaves(many), strict=True):
        # The draws are the same; sums over rows may be in another order in a batch of another size.
        np.testing.assert_allclose(a, b[:2], rtol=1e-13, atol=1e-13)


def test_more_starts_than_one_batch_holds_begin_with_the_same_bits(problem_of: Callable[..., Problem]) -> None:
    problem = problem_of("full")
    few, many = (draw_starts(RandomPoints(), problem, restarts, seed=5) for restarts in (7, 40))
    assert many.means.shape == (40, K, 2)
    # Equal to the bit, because both come from batches of 16, the first of which is the same.
    for a, b in zip(jax.tree.leaves(few), jax.tree.leaves(many), strict=True):
        np.testing.assert_array_equal(a, b[:7])
    assert len(np.unique(np.asarray(many.means).reshape(40, -1), axis=0)) > 30


@pytest.mark.parametrize("rule", [rule for rule, start in STARTS.items() if not issubclass(start, Stated)])
def test_starts_differ_between_restarts_and_seeds_and_repeat_for_equal_ones(
    rule: str, problem_of: Callable[..., Problem]
) -> None:
    problem = problem_of("full")
    first, again, other = (draw_starts(STARTS[rule](), problem, RESTARTS, seed=s) for s in (1, 1, 2))
    for a, b in zip(jax.tree.leaves(first), jax.tree.leaves(again), strict=True):
        np.testing.assert_array_equal(a, b)
    assert not np.array_equal(first.means, other.means)
    assert len(np.unique(np.asarray(first.means).reshape(RESTARTS, -1), axis=0)) == RESTARTS


@pytest.mark.parametrize("rule", ["random_points", "kmeans++"])
def test_means_are_distinct_rows_of_the_data(rule: str, points: Points, problem_of: Callable[..., Problem]) -> None:
    starts = draw_starts(STARTS[rule](), problem_of("full"), RESTARTS, seed=0)
    for means in np.asarray(starts.means):
        # Rows are stored in working units: the conversions have a few rounding errors of the largest entry.
        apart = 1e-14 * np.max(np.abs(points))
        chosen = [np.flatnonzero((np.abs(points - m) < apart).all(1)) for m in means]
        assert all(len(rows) == 1 for rows in chosen) and len({int(rows[0]) for rows in chosen}) == K


@FAMILIES
def test_random_points_share_the_volume_of_the_data(
    family: str, points: Points, problem_of: Callable[..., Problem]
) -> None:
    problem = problem_of(family)
    start = draw_starts(RandomPoints(), problem, RESTARTS, seed=0)
    covariances = np.asarray(jax.vmap(lambda m: m.covariances)(start))
    whole = problem.covariance.broadcast(jnp.cov(points.T, ddof=0), 1)
    _, expected = np.linalg.slogdet(np.asarray(problem.covariance.scale_trils(whole, 1, 2))[0])
    _, got = np.linalg.slogdet(covariances)
    # Half the log-determinant of a component is half that of the data minus log K.
    np.testing.assert_allclose(0.5 * got, expected - np.log(K), rtol=1e-12)


def test_random_responsibilities_keep_the_mean_and_covariance_of_the_data(
    points: Points, problem_of: Callable[..., Problem]
) -> None:
    # An M-step matches the first two moments of the data, whatever the responsibilities.
    start = STARTS["random_responsibilities"]()
    starts = draw_starts(start, problem_of("full"), RESTARTS, seed=0)
    for r in range(RESTARTS):
        m = jax.tree.map(lambda leaf, r=r: leaf[r], starts)
        w, mu = np.asarray(m.weights), np.asarray(m.means)
        np.testing.assert_allclose(w @ mu, points.mean(0), rtol=1e-12)
        between = np.cov(mu.T, aweights=w, ddof=0)
        total = np.einsum("k,kij->ij", w, np.asarray(m.covariances)) + between
        np.testing.assert_allclose(total, np.cov(points.T, ddof=0), rtol=1e-11)


def test_given_starts_are_the_stated_values(problem_of: Callable[..., Problem]) -> None:
    problem = problem_of("diagonal")
    stated = Given(
        weights=[0.2, 0.3, 0.5],
        means=[[0.0, 60.0], [1.0, 70.0], [2.0, 80.0]],
        covariances=[[1.0, 4.0], [9.0, 16.0], [25.0, 36.0]],
    )
    starts = draw_starts(stated, problem, 2, seed=0)
    for r in range(2):
        m = jax.tree.map(lambda leaf, r=r: leaf[r], starts)
        np.testing.assert_allclose(m.weights, stated.weights, rtol=1e-15)
        np.testing.assert_array_equal(m.means, stated.means)
        np.testing.assert_allclose(m.scales, np.sqrt(stated.covariances), rtol=1e-15)
    assert Given(**stated.model_dump()) == stated and hash(stated) == hash(Given(**stated.model_dump()))


@FAMILIES
def test_labellings_are_one_density_in_every_order_of_its_components(
    family: str, problem_of: Callable[..., Problem]
) -> None:
    problem = problem_of(family)
    stated = start_of("labellings", problem)
    starts = draw_starts(stated, problem, 7, seed=0)  # 3! = 6 labellings and one more
    orders = [tuple(np.argsort(np.lexsort(m.T))) for m in np.asarray(starts.means)]
    assert len(set(orders[:6])) == 6 and orders[6] == orders[0]
    first = draw_starts(Given(**stated.model_dump(exclude={"rule"})), problem, 1, seed=0)
    for a, b in zip(jax.tree.leaves(starts), jax.tree.leaves(first), strict=True):
        np.testing.assert_array_equal(a[0], b[0])
    densities = jax.vmap(lambda m: m.log_density(problem.x))(starts)
    # The sums over components are in another order: a few rounding errors.
    np.testing.assert_allclose(densities, np.tile(densities[0], (7, 1)), rtol=1e-13)


def test_labellings_of_many_components_need_no_list_of_all() -> None:
    # There are 20! labellings, of which only those in use must be generated.
    k = 20
    orders = Labellings(weights=(1 / k,) * k, means=((0.0,),) * k, covariances=(1.0,) * k).orders(3, k)
    np.testing.assert_array_equal(orders[:, -3:], [[17, 18, 19], [17, 19, 18], [18, 17, 19]])


GOOD = {"weights": [0.5, 0.5], "means": [[0.0, 0.0], [1.0, 1.0]], "covariances": [1.0, 1.0]}


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({}, r"starts.means: expected shape \[3, 2\], got \[2, 2\]"),
        ({"weights": [0.5, 0.6]}, "starts.weights: must be non-negative and sum to 1"),
        ({"covariances": [[1.0]]}, r"starts.covariances: the spherical family needs shape \[2\]"),
        ({"covariances": [1.0, -1.0]}, "starts.covariances: must be positive definite"),
        ({"means": [[0.0], [1.0, 1.0]]}, "starts: weights, means and covariances must be regular arrays"),
    ],
)
def test_given_values_that_do_not_fit_are_refused(
    change: dict[str, Any], says: str, problem_of: Callable[..., Problem]
) -> None:
    with pytest.raises(InputError, match=says):
        draw_starts(Given(**{**GOOD, **change}), problem_of("spherical"), 1, seed=0)


@RULES
def test_start_configs_are_strict(rule: str, problem_of: Callable[..., Problem]) -> None:
    start = start_of(rule, problem_of("full"))
    assert type(start)(**start.model_dump()) == start
    with pytest.raises(InputError, match="unknown key"):
        type(start)(**start.model_dump(), speed=1)


def test_starts_do_not_depend_on_the_prior(problem_of: Callable[..., Problem]) -> None:
    starts: list[Mixture] = [
        draw_starts(RandomPoints(), problem_of("full", prior), RESTARTS, seed=0) for prior in ("flat", "conjugate")
    ]
    np.testing.assert_array_equal(starts[0].means, starts[1].means)


@FAMILIES
@pytest.mark.parametrize("rule", ["random_points", "kmeans"])
def test_starts_drawn_by_the_program_of_more_components_are_the_same(
    rule: str, family: str, problem_of: Callable[..., Problem], monkeypatch: pytest.MonkeyPatch
) -> None:
    problem = problem_of(family)
    found = draw_starts(STARTS[rule](), problem, RESTARTS, seed=0)
    for module in (base, groups):
        monkeypatch.setattr(module, "nested", lambda problem: problem)
    alone = draw_starts(STARTS[rule](), problem, RESTARTS, seed=0)
    # The weights are divided by their sum once more; otherwise only the order of sums changes.
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-13, atol=1e-13), found, alone)
