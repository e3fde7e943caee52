"""Each algorithm against loops over all orders, on few draws that overlap."""

from itertools import permutations, product

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from workbench.mixture import Mixture
from workbench.posterior.permutations import best_orders, table
from workbench.posterior.relabelling import RELABELLINGS, agreement
from workbench.problem import Problem

K, N, S = 3, 9, 6
ORDERS = list(permutations(range(K)))


@pytest.fixture(scope="module")
def problem(three_groups) -> Problem:
    return Problem(three_groups.x[::4] * [0.15, 0.15], K)


@pytest.fixture(scope="module")
def draws(draws_of, problem) -> tuple[Mixture, np.ndarray]:
    """So much noise about groups so close that labels are in doubt."""
    mixtures, scores = draws_of(noise=3.0, chains=1, draws=S)
    close = Mixture(mixtures.weights, 0.15 * mixtures.means, mixtures.scales, mixtures.covariance)
    return close, scores


@pytest.fixture(scope="module")
def member(draws, problem) -> np.ndarray:
    """[S, N, K]"""
    one_chain = jax.tree.map(lambda leaf: leaf[0], draws[0])
    return np.asarray(jax.vmap(lambda m: m.responsibilities(problem.x))(one_chain))


def _best(cost) -> np.ndarray:
    """The first order of least cost."""
    return np.array(min(ORDERS, key=cost))


def test_ordering_sorts_any_coordinate(draws, problem):
    for coordinate in range(2):
        orders = RELABELLINGS["ordering"](*draws, problem, coordinate=coordinate)
        sorted_means = np.take_along_axis(np.asarray(draws[0].means)[..., coordinate], orders, -1)
        assert np.all(np.diff(sorted_means, axis=-1) > 0)


def test_ecr_keeps_as_many_points_as_can_be_with_the_pivot(draws, problem, member):
    z = member.argmax(-1)
    pivot = z[np.argmax(draws[1][0])]
    found = RELABELLINGS["ecr"](*draws, problem)[0]
    for s in range(S):
        kept = [np.sum(np.array(order)[pivot] == z[s]) for order in ORDERS]
        assert np.sum(found[s][pivot] == z[s]) == max(kept)


@pytest.mark.parametrize("name", ["ecr_iterative_1", "ecr_iterative_2"])
def test_iterated_ecr_ends_where_its_own_pivot_moves_no_label(name, draws, problem, member):
    z = member.argmax(-1)
    found = RELABELLINGS[name](*draws, problem)[0]
    votes = np.eye(K)[z] if name == "ecr_iterative_1" else member
    pivot = np.take_along_axis(votes, found[:, None], -1).mean(0).argmax(-1)
    for s in range(S):
        kept = [np.sum(np.array(order)[pivot] == z[s]) for order in ORDERS]
        assert np.sum(found[s][pivot] == z[s]) == max(kept)


def _divergence(member: np.ndarray, orders: np.ndarray) -> float:
    """Stephens' criterion, summed over the draws."""
    p = np.take_along_axis(member, orders[:, None], -1)
    return float(np.sum(p * (np.log(p) - np.log(p.mean(0)))))


def test_stephens_finds_the_least_divergence_of_all_labellings(draws, problem, member):
    found = RELABELLINGS["stephens"](*draws, problem)[0]
    fixed = np.arange(K)  # one global permutation is free
    all_of_them = (np.array([fixed, *rest]) for rest in product(ORDERS, repeat=S - 1))
    least = min(_divergence(member, orders) for orders in all_of_them)
    assert _divergence(member, np.tile(fixed, (S, 1))) > least + 0.1  # there is something to find
    # The same sum of 162 terms.
    assert _divergence(member, found) == pytest.approx(least, abs=1e-10)


def test_pivotal_is_closest_to_the_best_draw(draws, problem):
    mixtures, scores = draws
    deviations = np.sqrt(np.diagonal(np.asarray(mixtures.covariances), axis1=-2, axis2=-1))[0]
    units = problem.x.std(0)
    parts = [np.asarray(mixtures.weights)[0][..., None], np.asarray(mixtures.means)[0] / units, deviations / units]
    points = np.concatenate(parts, -1)  # [S, K, 5]
    pivot = points[np.argmax(scores[0])]
    found = RELABELLINGS["pivotal"](*draws, problem)[0]
    for s in range(S):
        np.testing.assert_array_equal(found[s], _best(lambda order, s=s: -np.sum(points[s][list(order)] * pivot)))


def test_data_based_ends_where_its_own_estimates_move_no_label(draws, problem, member):
    z, x = member.argmax(-1), problem.x
    found = RELABELLINGS["data_based"](*draws, problem)[0]
    centres, spreads = np.empty((K, 2)), np.empty((K, 2))
    for k in range(K):
        groups = [x[z[s] == found[s][k]] for s in range(S)]
        centres[k] = np.mean([g.mean(0) for g in groups if len(g)], 0)
        spreads[k] = np.mean([g.std(0, ddof=1) for g in groups if len(g) > 1], 0)

    def loss(s: int, order) -> float:
        return sum(np.sum(((x[z[s] == order[k]] - centres[k]) / spreads[k]) ** 2) for k in range(K))

    for s in range(S):
        # Two sums of squares of the same numbers.
        assert loss(s, found[s]) == pytest.approx(min(loss(s, order) for order in ORDERS), rel=1e-9)


def test_the_draws_overlap_so_much_that_algorithms_differ(draws, problem):
    found = [RELABELLINGS[name](*draws, problem) for name in ("ordering", "pivotal")]
    assert agreement(*found) < 1


@pytest.mark.parametrize("components", [2, 4, 7])
def test_orders_of_least_cost_are_found_with_and_without_a_table(components):
    costs = np.random.default_rng(components).normal(size=(20, components, components))
    found = np.asarray(best_orders(jnp.asarray(costs)))
    every = table(components)
    totals = costs[:, np.arange(components), every].sum(-1)  # [S, K!]
    np.testing.assert_array_equal(found, every[totals.argmin(1)])
