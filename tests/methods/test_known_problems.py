"""Every method on rows of known component: exact posteriors, evidences and optima, by sums over the other rows' own."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from climbs import climbed

from workbench.data.known import UNKNOWN
from workbench.diagnostics.predictive import pooled_evidence
from workbench.engine.keys import named_key
from workbench.loop.run import run
from workbench.loop.trace import Trace
from workbench.methods import CAVI, METHODS, Gibbs, NaturalGradient, Newton, OnlineEM, Riemannian
from workbench.methods.variational import coordinate_step
from workbench.mixture import ConjugatePrior, Mixture
from workbench.posterior import exact_posterior, z_scores
from workbench.problem import Problem
from workbench.starts import RandomPoints, draw_starts

# A few hundred effective draws each, as in `tests/posterior/test_every_sampler.py`.
SETTINGS: dict[str, dict[str, Any]] = {
    "gibbs": {"num_warmup": 50, "num_samples": 1000},
    "nuts": {"num_warmup": 500, "num_samples": 1000},
    "mixed": {"num_warmup": 500, "num_samples": 5000},
    "tempered_smc": {"num_samples": 500},
    "ibis": {"num_samples": 500},
    "permuted": {"of": Gibbs(num_warmup=50, num_samples=1000)},
}
SAMPLERS = [name if name == "gibbs" else pytest.param(name, marks=pytest.mark.slow) for name in SETTINGS]
K = 3


@pytest.fixture(scope="module")
def tiny() -> Problem:
    """Seven points of three components, two of which have a known point each, one of them far from its like."""
    x = np.asarray([-3.1, -2.2, -2.4, 0.3, 0.9, 2.6, 3.3])
    known = np.asarray([0, -1, -1, 1, -1, 0, -1])
    prior = ConjugatePrior(
        concentration=1.0, mean_location=(0.2,), mean_shrinkage=0.3, degrees_of_freedom=4.0, scatter=((1.5,),)
    )
    return Problem(x, K, "full", prior, label_known=known)


def drawn(name: str, problem: Problem) -> Trace:
    method = METHODS[name].model_validate(SETTINGS[name])
    method.admit(problem)
    starts = draw_starts(RandomPoints(), problem, method.num_restarts(4), seed=0)
    return run(method, problem, starts, named_key(0, "sampler"))


@pytest.mark.parametrize("name", SAMPLERS)
def test_every_sampler_draws_from_the_exact_posterior(name: str, tiny: Problem) -> None:
    trace = drawn(name, tiny)
    exact = exact_posterior(tiny)
    assert exact.allocations == K**4
    scores = z_scores(exact, trace.answer, tiny)
    # The largest of some 60 correlated scores: beyond 4 one time in a few hundred, and the key is fixed.
    assert max(float(np.max(np.abs(score))) for score in scores.values()) < 4
    # Labels mean something: the first component has two points far apart, and is the widest.
    widths = np.mean(np.log(np.abs(np.asarray(trace.answer.scales)[..., 0, 0])), axis=(0, 1))
    assert np.argmax(widths) == 0
    if trace.log_evidence is not None:
        found = pooled_evidence(trace.log_evidence)
        # Five half-widths of a 68 % interval by Student's t with three degrees of freedom: exceeded one time in 60.
        assert abs(found.log_evidence - exact.log_evidence) < 5 * found.half_width


@pytest.mark.slow
def test_permutations_move_the_component_without_known_points_nowhere(tiny: Problem) -> None:
    # It alone is free, so that the permuted chain is the plain one.
    traces = [drawn(name, tiny) for name in ("gibbs", "permuted")]
    plain, permuted = (np.mean(np.asarray(trace.answer.means), axis=(0, 1)) for trace in traces)
    errors = np.std(np.asarray(traces[0].answer.means), axis=(0, 1)) / np.sqrt(400)
    assert np.all(np.abs(plain - permuted) < 4 * np.sqrt(2) * errors)


def test_the_bound_of_cavi_never_falls_and_lies_below_the_evidence(tiny: Problem) -> None:
    algorithm = CAVI().bind(tiny)
    start = jax.tree.map(lambda leaf: leaf[0], draw_starts(RandomPoints(), tiny, 1, 0))
    state, step = algorithm.init(jax.random.key(0), start), jax.jit(lambda fit: coordinate_step(fit, tiny))
    fit, bounds = state.fit, []
    for _ in range(200):
        fit, bound = step(fit)
        bounds.append(float(bound))
    assert np.min(np.diff(bounds[1:])) > -1e-10
    assert bounds[-1] < exact_posterior(tiny).log_evidence
    assert np.min(fit.updated.counts[:2]) >= 1.0 and float(jnp.sum(fit.updated.counts)) == pytest.approx(7.0)


def test_where_all_are_known_the_bound_of_cavi_is_the_evidence(tiny: Problem) -> None:
    known = np.asarray([0, 0, 0, 1, 1, 2, 2])
    problem = Problem(tiny.x, K, "full", tiny.prior, label_known=known)
    exact = exact_posterior(problem)
    assert exact.allocations == 1
    algorithm = CAVI().bind(problem)
    start = jax.tree.map(lambda leaf: leaf[0], draw_starts(RandomPoints(), problem, 1, 0))
    fit = algorithm.init(jax.random.key(0), start).fit
    step = jax.jit(lambda fit: coordinate_step(fit, problem))
    fit, _ = step(fit)
    assert float(step(fit)[1]) == pytest.approx(exact.log_evidence, rel=1e-12)


@pytest.fixture(scope="module")
def labelled(points: np.ndarray) -> Problem:
    """The points that tests share, of which every fourth has a known component."""
    known = np.where(np.arange(len(points)) % 4 == 0, (np.arange(len(points)) >= 25).astype(int), UNKNOWN)
    return Problem(points, 2, "full", ConjugatePrior(), label_known=known)


@pytest.fixture(scope="module")
def optimum(labelled: Problem, after_em: Callable[..., Mixture]) -> Mixture:
    return after_em(labelled, 2000)


@pytest.mark.slow
@pytest.mark.parametrize("method", [NaturalGradient(), Riemannian(), Newton()], ids=lambda method: method.method)
def test_climbers_end_where_em_does(
    method: Any, labelled: Problem, optimum: Mixture, after_em: Callable[..., Mixture]
) -> None:
    end, infos = climbed(method, labelled, after_em(labelled, 3))
    assert all(bool(info.ok) for info in infos)
    # Methods stop where no component of the gradient per point is above 1e-6.
    np.testing.assert_allclose(end.means, optimum.means, rtol=1e-4)
    np.testing.assert_allclose(end.covariances, optimum.covariances, rtol=1e-3, atol=1e-3)


def test_online_em_ends_near_the_optimum_of_em(
    labelled: Problem, optimum: Mixture, after_em: Callable[..., Mixture]
) -> None:
    algorithm = OnlineEM(batch=20).bind(labelled)

    @jax.jit
    def last(start: Mixture) -> Mixture:
        def one(state: Any, key: jax.Array) -> tuple[Any, None]:
            return algorithm.step(key, state)[0], None

        state = algorithm.init(jax.random.key(0), start)
        return algorithm.mixture(jax.lax.scan(one, state, jax.random.split(jax.random.key(1), 3000))[0])

    end = last(after_em(labelled, 3))
    log_joint = jax.jit(labelled.log_joint)
    gap = float(log_joint(optimum)) - float(log_joint(end))
    # The last step size is 3000^-0.6 = 0.008, so that the noise is that of some hundred batches, 40 times the rows:
    # of 11 parameters, each costs half a nat over 40.
    assert 0 < gap < 1.0
    # Rows drawn without what is known of them would end elsewhere.
    free = Problem(labelled.x, 2, "full", ConjugatePrior())
    assert float(jax.jit(free.log_joint)(end)) < float(jax.jit(free.log_joint)(after_em(free, 2000)))
