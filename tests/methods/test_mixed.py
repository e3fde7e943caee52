"""The mixed sampler: its model summed over the allocations is the mixture, and its price is counted.

tests/posterior/test_every_sampler.py compares its draws with every exact posterior.
"""

from collections.abc import Callable
from itertools import product

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.typing import NDArray
from numpyro.infer.util import log_density
from scipy.special import logsumexp

from workbench import numpyro_model as model
from workbench.engine.keys import named_key
from workbench.errors import InputError
from workbench.loop.run import run
from workbench.methods import NUTS, Mixed
from workbench.methods import nuts as module
from workbench.mixture import PRIORS, IndependentPrior, Mixture
from workbench.numpyro_model import latent_model, swept_latent_model
from workbench.posterior import read_reference
from workbench.problem import Problem
from workbench.starts import RandomPoints, draw_starts

Points = NDArray[np.float64]


@pytest.mark.parametrize("family", ["full", pytest.param("tied", marks=pytest.mark.slow)])
def test_summed_over_the_allocations_the_latent_model_is_the_mixture(
    family: str, points: Points, random_mixture: Callable[..., Mixture]
) -> None:
    problem = Problem(points[:4], 2, family, PRIORS["conjugate"]())
    mixture = random_mixture(points, 2, family, seed=0)
    sites = problem.prior.site_values(mixture)
    allocations = jnp.asarray(list(product(range(2), repeat=4)))

    def both(z: jax.Array) -> jax.Array:
        values = {**sites, "z": z}
        read = log_density(latent_model, (problem,), {"x": problem.x}, values)[0]
        return jnp.stack([read, log_density(swept_latent_model, (problem,), {}, values)[0]])

    told = np.asarray(jax.jit(jax.vmap(both))(allocations))  # [16, 2]
    # Sums of a few dozen terms.
    np.testing.assert_allclose(told[:, 1], told[:, 0], rtol=1e-11)
    assert logsumexp(told[:, 0]) == pytest.approx(float(problem.log_joint(mixture)), rel=1e-11)


@pytest.mark.slow
def test_the_price_is_the_number_of_sweeps_over_the_points(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[None] = []
    densities = model.mixture_log_densities

    def counted(mixture: Mixture, x: jax.Array) -> jax.Array:
        jax.debug.callback(lambda: calls.append(None))
        return densities(mixture, x)

    monkeypatch.setattr(model, "mixture_log_densities", counted)
    problem = read_reference("plane").problem
    start = jax.tree.map(lambda leaf: leaf[0], draw_starts(RandomPoints(), problem, 1, seed=0))
    algorithm = Mixed(num_warmup=10).bind(problem)
    state, step = jax.jit(algorithm.init)(jax.random.key(0), start), jax.jit(algorithm.step)
    for i in range(15):
        jax.block_until_ready(state)
        jax.effects_barrier()
        calls.clear()
        state, info = step(jax.random.fold_in(jax.random.key(1), i), state)
        jax.block_until_ready(state)
        jax.effects_barrier()
        assert len(calls) == int(info.passes) > problem.num_points


@pytest.mark.slow
def test_under_the_independent_prior_it_agrees_with_nuts() -> None:
    problem = Problem(read_reference("plane").problem.x, 2, "diagonal", IndependentPrior())
    starts = draw_starts(RandomPoints(), problem, 4, seed=0)
    traces = [run(method, problem, starts, named_key(0, method.method)) for method in (Mixed(), NUTS())]
    squares = [np.sum(np.asarray(trace.answer.weights) ** 2, -1) for trace in traces]  # [R, S]
    # Means over chains, whose spread gives the error of either: four standard errors, each known to a third.
    error = np.sqrt(sum(value.mean(1).var(ddof=1) / len(value) for value in squares))
    assert abs(squares[0].mean() - squares[1].mean()) < 4 * 1.3 * error


def test_more_points_than_one_by_one_can_bear_are_refused() -> None:
    x = np.random.default_rng(0).normal(size=(module.MOST_PASSES + 1, 1))
    with pytest.raises(InputError, match=r"N \(K - 1\) = 1,001 times a draw, more than 1,000; use nuts.* or gibbs"):
        Mixed().check(Problem(x, 2, "full", PRIORS["conjugate"]()))
    Mixed().check(Problem(x[:-1], 2, "full", PRIORS["conjugate"]()))


@pytest.mark.parametrize("name", [n for n, prior in PRIORS.items() if not prior.proper])
def test_an_improper_prior_is_refused(name: str, problem_of: Callable[..., Problem]) -> None:
    with pytest.raises(InputError, match=r'the mixed sampler needs a proper prior.*use family = "conjugate"'):
        Mixed().check(problem_of("full", name))


@pytest.mark.parametrize("name", [n for n, prior in PRIORS.items() if prior.proper])
def test_any_proper_prior_is_accepted(name: str, problem_of: Callable[..., Problem]) -> None:
    Mixed().check(problem_of("full", name))
