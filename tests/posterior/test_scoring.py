"""Exact draws pass against the exact posterior, wrong ones fail."""

import itertools
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import gammaln, logsumexp

from workbench.mixture import ConjugatePrior, Mixture, covariance_named
from workbench.posterior import ExactPosterior, exact_posterior
from workbench.posterior.scoring import MEANS, label_invariant, z_scores
from workbench.problem import Problem

X = np.array([0.0, 1.0, 4.0, 5.0, 6.0])
AT = np.array([0.5, 3.0, 5.0])
R, S = 4, 1000
_told = jax.jit(label_invariant)
A, M, KAPPA, NU, PSI = 0.7, 3.0, 0.1, 6.0, 3.0


@pytest.fixture(scope="module")
def problem() -> Problem:
    prior = ConjugatePrior(
        concentration=A, mean_location=(M,), mean_shrinkage=KAPPA, degrees_of_freedom=NU, scatter=((PSI,),)
    )
    return Problem(X, 2, "diagonal", prior)


@pytest.fixture(scope="module")
def exact(problem) -> ExactPosterior:
    return exact_posterior(problem, AT)


def _updated(group: np.ndarray) -> tuple[float, float, float, float]:
    """Location, shrinkage, degrees and scatter after a group of points, by NumPy."""
    n, mean = len(group), group.mean() if len(group) else 0.0
    scatter = PSI + np.sum((group - mean) ** 2) + KAPPA * n / (KAPPA + n) * (mean - M) ** 2
    return (KAPPA * M + group.sum()) / (KAPPA + n), KAPPA + n, NU + n, scatter


def _exact_draws(rng: np.random.Generator, num: int) -> Mixture:
    """Independent draws of the posterior: an allocation first, then parameters given it. Leaves [S, ...]"""
    allocations = np.array(list(itertools.product(range(2), repeat=len(X))))
    logs = []
    for z in allocations:
        log_weight = 0.0
        for k in range(2):
            group = X[z == k]
            _, shrinkage, degrees, scatter = _updated(group)
            log_weight += gammaln(len(group) + A) - 0.5 * np.log(shrinkage) + gammaln(degrees / 2)
            log_weight -= degrees / 2 * np.log(scatter)
        logs.append(log_weight)
    chosen = allocations[rng.choice(len(logs), num, p=np.exp(np.array(logs) - logsumexp(logs)))]
    weights, means, scales = np.empty((num, 2)), np.empty((num, 2, 1)), np.empty((num, 2, 1))
    for s, z in enumerate(chosen):
        weights[s] = rng.dirichlet(np.bincount(z, minlength=2) + A)
        for k in range(2):
            location, shrinkage, degrees, scatter = _updated(X[z == k])
            scales[s, k] = np.sqrt(scatter / rng.chisquare(degrees))
            means[s, k] = location + scales[s, k] / np.sqrt(shrinkage) * rng.normal()
    return Mixture(*map(jnp.asarray, (weights, means, scales)), covariance_named("diagonal"))


@pytest.fixture(scope="module")
def draws() -> Mixture:
    flat = _exact_draws(np.random.default_rng(0), R * S)
    return jax.tree.map(lambda leaf: leaf.reshape(R, S, *leaf.shape[1:]), flat)


def _parted(draws: Mixture) -> Mixture:
    """Draws that all tell the two groups apart."""
    means = jnp.broadcast_to(jnp.array([[0.5], [5.0]]), draws.means.shape)
    return Mixture(draws.weights, means, 0.2 * jnp.ones_like(draws.scales), draws.covariance)


def _worst(scores: dict[str, np.ndarray]) -> float:
    return max(float(np.max(np.abs(score))) for score in scores.values())


def test_independent_draws_of_the_posterior_agree(problem, exact, draws):
    scores = z_scores(exact, draws, problem)
    assert set(scores) == set(MEANS)
    # Seventeen functionals: beyond 4 errors one time in a thousand, and the key is fixed.
    assert _worst(scores) < 4
    assert all(scores[name].shape == np.shape(getattr(exact, name)) for name in MEANS)


def test_draws_that_never_switch_labels_agree_as_well(problem, exact, draws):
    order = np.argsort(np.asarray(draws.means)[..., 0], axis=-1)
    sorted_draws = jax.vmap(jax.vmap(Mixture.permute))(draws, jnp.asarray(order))
    one, other = z_scores(exact, draws, problem), z_scores(exact, sorted_draws, problem)
    for name in MEANS:
        # Sums of two terms in another order; errors are differences of nearly equal numbers at worst.
        np.testing.assert_allclose(other[name], one[name], rtol=1e-6, atol=1e-6)


def test_draws_of_a_wrong_posterior_fail(problem, exact, draws):
    # A sampler that forgets the square root of a scale, or that pulls the weights towards equality.
    wide = Mixture(draws.weights, draws.means, draws.scales**2, draws.covariance)
    even = Mixture(0.9 * draws.weights + 0.05, draws.means, draws.scales, draws.covariance)
    assert _worst(z_scores(exact, wide, problem)) > 10
    assert _worst(z_scores(exact, even, problem)) > 10


def test_a_sampler_stuck_on_one_allocation_fails(problem, exact, draws):
    near = np.all(np.abs(np.sort(np.asarray(draws.means)[..., 0], -1) - [0.5, 5.0]) < 1, -1)
    kept = np.nonzero(near.ravel())[0][:1000]
    stuck = jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:])[kept].reshape(4, 250, *leaf.shape[2:]), draws)
    assert _worst(z_scores(exact, stuck, problem)) > 10


def test_draws_that_miss_a_rare_event_are_not_blamed(problem, exact, draws):
    # The chance of one component for all points, made one in a hundred thousand: 4000 draws need not meet it.
    rare = replace(exact, occupied=np.array([1e-5, 1 - 1e-5]))
    apart = _parted(draws)
    assert np.all(np.abs(z_scores(rare, apart, problem)["occupied"]) < 1)


def test_one_mixtures_occupancy_is_a_sum_over_allocations(draws):
    mixture = jax.tree.map(lambda leaf: leaf[0, 3], draws)
    found = _told(mixture, X[:, None], AT[:, None])
    member = np.asarray(mixture.responsibilities(X))
    single = member.prod(0).sum()
    # Two components: all points in one of them, or not.
    np.testing.assert_allclose(found["occupied"], [single, 1 - single], rtol=1e-12)
    np.testing.assert_allclose(found["co_clustering"][0, 1], member[0] @ member[1], rtol=1e-14)


def test_occupancy_of_three_components_sums_to_one_and_counts_those_filled():
    rng = np.random.default_rng(1)
    mixture = Mixture.from_covariances(rng.dirichlet(np.ones(3)), rng.normal(size=(3, 1)), np.ones((3, 1, 1)))
    x = rng.normal(size=(4, 1))
    member = np.asarray(mixture.responsibilities(x))
    expected = np.zeros(3)
    for z in itertools.product(range(3), repeat=4):
        expected[len(set(z)) - 1] += member[np.arange(4), z].prod()
    # Inclusion and exclusion takes differences of numbers of size one.
    np.testing.assert_allclose(_told(mixture, x, x)["occupied"], expected, atol=1e-14)


def test_one_component_leaves_nothing_to_score_but_its_mean_and_density():
    problem = Problem(X, 1, "diagonal", ConjugatePrior())
    exact = exact_posterior(problem)
    ones = np.ones((2, 50, 1))
    shifts = np.random.default_rng(2).normal(size=(2, 50, 1, 1))
    draws = Mixture(jnp.asarray(ones), jnp.asarray(shifts), jnp.asarray(np.abs(shifts) + 1), problem.covariance)
    scores = z_scores(exact, draws, problem)
    assert all(np.all(scores[name] == 0) for name in ("co_clustering", "occupied", "squared_weights"))
    assert np.all(scores["mean_of_means"] != 0)
