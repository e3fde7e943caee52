"""NUTS: its draws come from the problem's posterior, and its chains begin at the starts of the other methods."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.typing import NDArray

from workbench.errors import InputError
from workbench.loop.run import run
from workbench.loop.trace import Trace
from workbench.methods import NUTS
from workbench.mixture import PRIORS, ConjugatePrior, Mixture
from workbench.problem import Problem

Points = NDArray[np.float64]
CHAINS = 2
METHOD = NUTS(num_warmup=150, num_samples=400, num_chains=CHAINS)


@pytest.fixture(scope="module")
def problem(points: Points) -> Problem:
    """One component: the conjugate posterior is known in closed form."""
    return Problem(points, 1, "full", ConjugatePrior(mean_shrinkage=2.0, degrees_of_freedom=6.0))


@pytest.fixture(scope="module")
def starts(points: Points, random_mixture: Callable[..., Mixture]) -> Mixture:
    each = [random_mixture(points, 1, "full", seed=s) for s in range(CHAINS)]
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *each)


@pytest.fixture(scope="module")
def trace(problem: Problem, starts: Mixture) -> Trace:
    return run(METHOD, problem, starts, jax.random.key(1))


def standard_error(draws: Points) -> Points:
    """Of the mean over draws [R, S, ...], from batches of 25: longer than any memory of these chains."""
    batches = draws.reshape(CHAINS, -1, 25, *draws.shape[2:]).mean(axis=2)
    flat = batches.reshape(-1, *batches.shape[2:])
    return np.asarray(flat.std(axis=0, ddof=1) / np.sqrt(len(flat)))


def test_posterior_means_are_the_exact_ones_of_the_conjugate_prior(
    trace: Trace, problem: Problem, points: Points
) -> None:
    # Murphy (2007), "Conjugate Bayesian analysis of the Gaussian distribution", eq. 250-254.
    n, d = points.shape
    kappa, nu = 2.0, 6.0
    location, scatter = points.mean(0), np.cov(points.T)
    centred = points - points.mean(0)
    # The prior's mean is the data's: no pull between the two.
    mean = location
    covariance = (scatter + centred.T @ centred) / (nu + n - d - 1)
    draws = trace.answer
    means = np.asarray(draws.means)[:, :, 0]
    covariances = np.asarray(draws.scales[:, :, 0] @ np.swapaxes(draws.scales[:, :, 0], -1, -2))
    for got, exact in ((means, mean), (covariances, covariance)):
        # Four Monte-Carlo standard errors, each itself known to 20 %.
        np.testing.assert_array_less(np.abs(got.mean((0, 1)) - exact), 4.8 * standard_error(got))
    # And the spread of the means, Sigma / (kappa + n) around theirs: a mean of squares, judged in the same way.
    squares = (means - mean) ** 2
    exact = np.diag(covariance) / (kappa + n)
    np.testing.assert_array_less(np.abs(squares.mean((0, 1)) - exact), 4.8 * standard_error(squares))


def test_the_price_is_the_number_of_leapfrog_steps(
    problem: Problem, starts: Mixture, trace: Trace, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[None] = []
    likelihood = Problem.log_likelihood

    def counted(self: Problem, mixture: Mixture) -> jax.Array:
        jax.debug.callback(lambda: calls.append(None))
        return likelihood(self, mixture)

    monkeypatch.setattr(Problem, "log_likelihood", counted)
    # What has been traced without counting is not traced again.
    jax.clear_caches()
    algorithm = METHOD.bind(problem)
    start = jax.tree.map(lambda leaf: leaf[0], starts)
    state = jax.jit(algorithm.init)(jax.random.key(0), start)
    step, paid = jax.jit(algorithm.step), 0
    jax.block_until_ready(state)
    jax.effects_barrier()
    begun = len(calls)
    for i in range(20):
        state, info = step(jax.random.fold_in(jax.random.key(1), i), state)
        jax.block_until_ready(state)
        jax.effects_barrier()
        assert int(info.passes) == int(state.num_steps)
        paid += int(info.passes)
    assert len(calls) - begun == paid
    # To begin costs one evaluation more; a run of hundreds of transitions does not count it.
    assert begun <= 1
    # Nothing else is to count.
    jax.clear_caches()


def test_passes_grow_by_at_least_one_a_draw_and_warm_up_is_counted(trace: Trace) -> None:
    assert np.all(np.diff(trace.passes[:, -METHOD.num_samples :]) >= 1)
    assert np.all(trace.passes[:, -METHOD.num_samples - 1] >= METHOD.num_warmup)


def test_the_judge_scores_the_draws_themselves(
    trace: Trace, problem: Problem, log_joint: Callable[[Problem, Mixture], jax.Array]
) -> None:
    for chain, row in ((0, -1), (1, -17), (1, 0)):
        mixture = jax.tree.map(jnp.asarray, trace.at(chain, row))
        assert trace.log_joint[chain, row] == pytest.approx(float(log_joint(problem, mixture)), rel=1e-13)


def test_no_draw_lies_above_the_posterior_mode(
    trace: Trace,
    problem: Problem,
    starts: Mixture,
    log_joint: Callable[[Problem, Mixture], jax.Array],
    em_step: Callable[[Problem, Mixture], tuple[Mixture, jax.Array]],
) -> None:
    # One component: the M-step is the mode.
    mode, _ = em_step(problem, jax.tree.map(lambda leaf: leaf[0], starts))
    assert np.max(trace.log_joint) <= float(log_joint(problem, mode))


def test_chains_begin_at_the_starts_and_keep_every_draw(trace: Trace, starts: Mixture) -> None:
    for kept, start in zip(jax.tree.leaves(trace.mixtures), jax.tree.leaves(starts), strict=True):
        np.testing.assert_array_equal(kept[:, 0], start)
    assert trace.is_sampler and trace.answer.weights.shape == (CHAINS, METHOD.num_samples, 1)
    ends = np.asarray(trace.answer.means)[:, -1, 0]
    assert len(np.unique(ends, axis=0)) == CHAINS


@pytest.mark.parametrize("name", [n for n, p in PRIORS.items() if not p.proper])
def test_an_improper_prior_is_refused(name: str, problem_of: Callable[..., Problem]) -> None:
    with pytest.raises(InputError, match=r'NUTS needs a proper prior.*use family = "conjugate" or "independent"'):
        NUTS().check(problem_of("full", name))


@pytest.mark.parametrize("name", [n for n, p in PRIORS.items() if p.proper])
def test_a_proper_prior_is_accepted(name: str, problem_of: Callable[..., Problem]) -> None:
    method = NUTS()
    method.check(problem_of("full", name))
    assert method.num_restarts(10) == method.num_chains
