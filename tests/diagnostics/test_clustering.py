"""Co-clustering probabilities of pairs are right where known, do not depend on labels, and serve points and draws."""

import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from workbench.diagnostics.clustering import co_clustering, hierarchical_order
from workbench.diagnostics.predictive import evenly
from workbench.loop.run import run
from workbench.methods import Gibbs
from workbench.mixture import Mixture
from workbench.posterior import read_reference
from workbench.starts import RandomPoints, draw_starts

# Points, draws, components.
N, S, K = 20, 6, 3


@pytest.fixture(scope="module")
def x() -> np.ndarray:
    return np.random.default_rng(1).normal(size=(N, 2))


@pytest.fixture(scope="module")
def draws(x: np.ndarray, random_mixture: Callable[..., Mixture]) -> Mixture:
    """Leaves [S, ...]"""
    each = [random_mixture(x, K, "full", seed) for seed in range(S)]
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *each)


@pytest.fixture(scope="module")
def chances(draws: Mixture, x: np.ndarray) -> np.ndarray:
    return co_clustering(draws, x)


def test_a_co_clustering_matrix_is_a_similarity_of_probabilities(chances: np.ndarray) -> None:
    np.testing.assert_allclose(chances, chances.T, rtol=1e-14)
    np.testing.assert_array_equal(np.diag(chances), 1.0)
    assert np.all((chances >= 0) & (chances <= 1))
    # r r^T is positive semidefinite, and the diagonal only adds to it; 1e-12 is the rounding of eigenvalues.
    assert np.min(np.linalg.eigvalsh(chances)) > -1e-12


def test_its_sum_is_the_expected_number_of_pairs(chances: np.ndarray, draws: Mixture, x: np.ndarray) -> None:
    # sum_nm r_n . r_m = sum_k n_k^2, and a point is with itself once.
    member = np.asarray(jax.vmap(lambda mixture: mixture.responsibilities(x))(draws))  # [S, N, K]
    pairs = np.sum(member.sum(1) ** 2, -1) + N - np.sum(member**2, (1, 2))
    # Sums of 400 terms in another order.
    assert np.sum(chances) == pytest.approx(pairs.mean(), rel=1e-12)


def test_it_is_blind_to_labels(chances: np.ndarray, draws: Mixture, x: np.ndarray) -> None:
    orders = np.random.default_rng(2).permuted(np.tile(np.arange(K), (S, 1)), axis=1)
    # Components are summed in another order: a few roundings.
    np.testing.assert_allclose(co_clustering(jax.vmap(Mixture.permute)(draws, orders), x), chances, rtol=1e-12)


def test_a_point_estimate_is_a_sample_of_size_one_however_often_it_is_drawn(draws: Mixture, x: np.ndarray) -> None:
    one = jax.tree.map(lambda leaf: leaf[:1], draws)
    many = jax.tree.map(lambda leaf: np.repeat(leaf[:1], S, axis=0), draws)
    np.testing.assert_allclose(co_clustering(one, x), co_clustering(many, x), rtol=1e-14)


def test_groups_far_apart_are_blocks_of_ones(draws: Mixture, x: np.ndarray) -> None:
    labels = np.arange(N) % K
    means = jnp.broadcast_to(1e3 * jnp.arange(K)[:, None] * jnp.ones(2), draws.means.shape)
    far = co_clustering(dataclasses.replace(draws, means=means), x + 1e3 * labels[:, None])
    np.testing.assert_array_equal(far, labels[:, None] == labels)
    order = hierarchical_order(far)
    assert sorted(order.tolist()) == list(range(N))
    assert np.sum(np.diff(labels[order]) != 0) == K - 1, "each group stands in one piece"


def test_two_points_are_in_order_as_they_are() -> None:
    np.testing.assert_array_equal(hierarchical_order(np.eye(2)), [0, 1])


@pytest.mark.slow  # a sampler to compile; the same sum is held against exact posteriors wherever samplers are
def test_draws_of_gibbs_cluster_points_as_the_exact_posterior_does() -> None:
    reference = read_reference("five_points")
    problem = reference.problem
    starts = draw_starts(RandomPoints(), problem, 4, seed=0)
    trace = run(Gibbs(num_warmup=200, num_samples=2000, num_chains=4), problem, starts, jax.random.key(3))
    flat = jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:]), trace.answer)
    # Errors of 1,000 draws are below .016 if they were independent; four of them, for pairs that are not.
    np.testing.assert_allclose(co_clustering(flat, problem.x), reference.posterior.co_clustering, rtol=0, atol=0.064)


@pytest.mark.parametrize(("total", "count"), [(1, 5), (5, 5), (1000, 7)])
def test_an_even_choice_spans_the_whole_and_repeats_nothing(total: int, count: int) -> None:
    places = evenly(total, count)
    assert len(places) == min(total, count) and (places[0], places[-1]) == (0, total - 1)
    assert len(places) < 3 or np.ptp(np.diff(places)) <= 1
