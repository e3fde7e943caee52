"""Tempered SMC: its draws come from the posterior, and its evidence and its standard errors are right."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from arviz_stats.base import array_stats  # type: ignore[attr-defined]
from numpy.typing import NDArray
from scipy import integrate, stats

from workbench.diagnostics import Evidence, pooled_evidence
from workbench.errors import InputError
from workbench.loop.pool import Checkpoint
from workbench.loop.run import run
from workbench.loop.trace import Trace
from workbench.methods import TemperedSMC, tempered_smc
from workbench.methods.population import effective_size, next_temperature, systematic_ancestors
from workbench.methods.tempered_smc import Particle, Population, Trajectory, move, of_each, warmed
from workbench.mixture import PRIORS, ConjugatePrior, IndependentPrior
from workbench.posterior import exact_posterior, read_reference, z_scores
from workbench.problem import Problem
from workbench.starts import RandomPoints, draw_starts

Points = NDArray[np.float64]

# A standard normal prior in the plane, and a likelihood of two narrow humps of unequal height: everything is known.
CENTRES = np.array([[-1.0, 0.0], [1.0, 0.5]])
HEIGHTS = np.array([0.3, 0.7])
WIDTH = 0.1
MODES = (
    HEIGHTS
    * stats.multivariate_normal(cov=1 + WIDTH**2).pdf(CENTRES[:, :1])
    * stats.norm(scale=np.sqrt(1 + WIDTH**2)).pdf(CENTRES[:, 1])
)
RUNS = 128
TWO_HUMPS = TemperedSMC(num_samples=200, num_moves=1, num_steps=3)


def prior(z: jax.Array) -> jax.Array:
    return jnp.asarray(0.5 * jnp.sum(z**2) + np.log(2 * np.pi))


def log_likelihood(z: jax.Array) -> jax.Array:
    away = jnp.sum((z - CENTRES) ** 2, -1) / WIDTH**2
    return jax.nn.logsumexp(np.log(HEIGHTS) - 0.5 * away - np.log(2 * np.pi * WIDTH**2))


def evaluate(z: jax.Array) -> Particle:
    value, slope = jax.value_and_grad(log_likelihood)(z)
    return Particle(z, prior(z), jax.grad(prior)(z), value, slope)


def two_humps(method: TemperedSMC = TWO_HUMPS) -> Population:
    """Runs of the method's own step from the prior to the posterior of the two humps, leaves [R, ...]."""

    def one(key: jax.Array) -> Population:
        key_prior, key_steps = jax.random.split(key)
        begun = Population.at(jax.random.normal(key_prior, (method.num_samples, 2)), evaluate)

        def step(now: Population) -> Population:
            end = warmed(jax.random.fold_in(key_steps, now.taken), now, method, evaluate)
            return end._replace(taken=now.taken + 1)

        return jax.lax.while_loop(lambda now: now.temperature < 1, step, begun)

    return jax.jit(jax.vmap(one))(jax.random.split(jax.random.key(0), RUNS))


@pytest.fixture(scope="module")
def humps() -> Population:
    return two_humps()


def evidence_error(found: Evidence, exact: float) -> float:
    """In standard errors over the runs."""
    return abs(found.log_evidence - exact) / found.standard_error


class TestTemperatures:
    """How far it is to the next one, and who gets there."""

    values = jnp.asarray(np.random.default_rng(0).normal(-400.0, 60.0, 150))

    @pytest.mark.parametrize("share", [0.3, 0.9])
    def test_the_next_temperature_leaves_the_share_that_was_asked_for(self, share: float) -> None:
        now = jnp.asarray(0.01)
        following = next_temperature(now, self.values, share)
        assert now < following < 1
        # The slope of the size is below 1e6 for likelihoods 60 nats apart, and the temperature known to 1e-15.
        assert effective_size((following - now) * self.values) == pytest.approx(share * 150, abs=1e-8)

    def test_the_last_temperature_is_one(self) -> None:
        assert next_temperature(jnp.asarray(0.5), 1e-3 * self.values, 0.5) == 1

    def test_particles_without_a_likelihood_do_not_hold_the_others_back(self) -> None:
        some = jnp.concatenate([self.values, jnp.full(50, -jnp.inf)])
        alone, beside = (next_temperature(jnp.asarray(0.01), v, 0.5) for v in (self.values, some))
        assert alone == pytest.approx(float(beside), rel=1e-12)

    def test_everyone_has_as_many_heirs_as_it_weighs_to_less_than_one(self) -> None:
        weights = np.random.default_rng(1).dirichlet(np.full(40, 0.3))
        weights[7] = 0.0
        log_weights = jnp.log(weights / weights.sum())
        for seed in range(20):
            ancestors = np.asarray(systematic_ancestors(jax.random.key(seed), log_weights - 1e4))
            heirs = np.bincount(ancestors, minlength=40)
            # Differences of cumulated sums, to rounding.
            assert np.all(np.abs(heirs - 40 * np.exp(log_weights)) < 1 + 1e-12) and heirs[7] == 0
            # Relatives stay next to each other.
            assert np.all(np.diff(ancestors) >= 0)


def test_a_short_trajectory_keeps_its_energy_and_an_end_that_is_no_number_is_refused() -> None:
    here, hot = evaluate(jnp.array([0.9, 0.6])), jnp.asarray(1.0)
    keys = jax.random.split(jax.random.key(0), 50)

    @jax.jit
    def ends(size: float) -> tuple[Particle, jax.Array]:
        steps = jnp.full(2, size)
        return jax.vmap(lambda key: move(key, here, Trajectory(hot, steps, 4), evaluate))(keys)

    # Leapfrog errs by the square of the step over the width, here 1e-4 squared, times the number of steps.
    assert np.all(np.asarray(ends(1e-5)[1]) > 1 - 1e-6)
    moved, chances = ends(1e200)
    assert np.all(np.asarray(chances) == 0) and np.all(np.asarray(moved.z) == here.z)


@pytest.mark.parametrize("count", [1, 64, 65, 130])
def test_batches_change_nothing(count: int) -> None:
    x = jnp.arange(2.0 * count).reshape(count, 2)
    np.testing.assert_array_equal(of_each(lambda row: row**2, x), x**2)


class TestTwoHumps:
    """Against a posterior of two separate modes that is known in closed form."""

    def test_the_evidence_is_exact_to_four_standard_errors(self, humps: Population) -> None:
        found = pooled_evidence(np.asarray(humps.log_evidence))
        assert found.standard_error < 0.03
        assert evidence_error(found, np.log(MODES.sum())) < 4

    def test_each_mode_gets_its_share(self, humps: Population) -> None:
        left = np.mean(np.asarray(humps.particles.z)[:, :, 0] < 0, axis=1)
        error = left.std(ddof=1) / np.sqrt(RUNS)
        assert error < 0.01 and abs(left.mean() - MODES[0] / MODES.sum()) < 4 * error

    @pytest.mark.parametrize(
        ("part", "broken"),
        [
            ("log_mean_weight", lambda log_weights: jnp.max(log_weights)),
            # Nobody is resampled: particles keep to the mode that is nearest.
            pytest.param(
                "systematic_ancestors",
                lambda key, log_weights: jnp.arange(len(log_weights)),
                marks=pytest.mark.slow,
            ),
        ],
    )
    def test_a_broken_step_is_found_out(self, monkeypatch: pytest.MonkeyPatch, part: str, broken: Any) -> None:
        monkeypatch.setattr(tempered_smc, part, broken)
        found = pooled_evidence(np.asarray(two_humps().log_evidence))
        assert evidence_error(found, np.log(MODES.sum())) > 10

    def test_the_error_that_autocorrelation_tells_is_the_spread_between_runs(self, humps: Population) -> None:
        def told(draws: Points) -> float:
            """Root mean square over the runs."""
            each = [array_stats.mcse(run[None], chain_axis=0, draw_axis=1) for run in draws]
            return float(np.sqrt(np.mean(np.square(each))))

        z = np.asarray(humps.particles.z)
        for draws in ((z[:, :, 0] < 0).astype(float), z[:, :, 1], np.asarray(humps.particles.log_likelihood)):
            spread = draws.mean(axis=1).std(ddof=1)
            # A standard deviation of R runs is known to 1 / sqrt(2 R) of itself.
            assert told(draws) == pytest.approx(spread, rel=4 / np.sqrt(2 * RUNS))
        # In random order, relatives no longer tell that they are: of the modes' shares, less than half the error.
        left = (z[:, :, 0] < 0).astype(float)
        assert told(np.random.default_rng(0).permuted(left, axis=1)) < 0.5 * left.mean(axis=1).std(ddof=1)


METHOD = TemperedSMC(num_warmup=40, num_samples=250, num_chains=16)


def runs(problem: Problem, method: TemperedSMC = METHOD, **options: Any) -> Trace:
    starts = draw_starts(RandomPoints(), problem, method.num_chains, seed=0)
    return run(method, problem, starts, jax.random.key(2), **options)


@pytest.fixture(scope="module")
def three_groups() -> Trace:
    return runs(read_reference("three_groups").problem)


def log_evidence_of(trace: Trace) -> Evidence:
    assert trace.log_evidence is not None
    return pooled_evidence(trace.log_evidence)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["five_points", "plane", "three_groups", "two_overlapping"])
def test_draws_and_evidence_are_those_of_the_exact_posterior(name: str, three_groups: Trace) -> None:
    reference = read_reference(name)
    trace = three_groups if name == "three_groups" else runs(reference.problem)
    assert trace.ok.all()
    assert evidence_error(log_evidence_of(trace), reference.posterior.log_evidence) < 4
    # As in tests/posterior/test_samplers.py: beyond 4 one time in a few hundred, and the key is fixed.
    scores = z_scores(reference.posterior, trace.answer, reference.problem)
    assert max(float(np.max(np.abs(score))) for score in scores.values()) < 4


@pytest.mark.slow
def test_every_labelling_gets_its_share(three_groups: Trace) -> None:
    # The groups lie on a line: the order of the means is the labelling.
    order = np.argsort(np.asarray(three_groups.answer.means)[..., 0], axis=-1)
    code = order @ [9, 3, 1]
    shares = np.stack([np.mean(code == each, axis=1) for each in np.unique(code)], axis=1)  # [R, 6]
    error = shares.std(axis=0, ddof=1) / np.sqrt(len(shares))
    assert shares.shape[1] == 6 and np.all(np.abs(shares.mean(0) - 1 / 6) < 4 * error) and np.all(error < 0.02)


@pytest.mark.slow
def test_every_evaluation_is_paid_for_once(three_groups: Trace) -> None:
    of_one = METHOD.num_moves * METHOD.num_steps
    paid = np.diff(three_groups.passes[:, -METHOD.num_samples - 1 :], axis=1)
    # The first draw was shown, and paid for, at the last temperature already.
    np.testing.assert_array_equal(paid[:, 1:], of_one)
    np.testing.assert_array_equal(paid[:, 0], 0)
    # Less the draws from the prior: some temperatures, each of them for all particles.
    temperatures = (three_groups.passes[:, -1] / METHOD.num_samples - 1) / of_one
    assert np.all(temperatures == np.round(temperatures)) and np.all(temperatures >= 3)


@pytest.mark.slow
def test_a_run_that_was_cut_off_ends_with_the_same_bits(three_groups: Trace, tmp_path: Path) -> None:
    class CutOff(Exception):
        """Stands in for a killed process."""

    calls: list[int] = []

    def progress(done: int, total: int) -> None:
        calls.append(done)
        if len(calls) == 2:
            raise CutOff

    problem, path = read_reference("three_groups").problem, tmp_path / "checkpoint.npz"
    with pytest.raises(CutOff):
        runs(problem, checkpoint=Checkpoint(path, 0.0), progress=progress)
    assert 0 < calls[-1] < METHOD.num_chains * (three_groups.num_rows - 1)
    resumed = runs(problem, checkpoint=Checkpoint(path, 0.0))
    for name in ("mixtures", "log_joint", "passes", "ok", "log_evidence"):
        pairs = zip(*(jax.tree.leaves(getattr(t, name)) for t in (three_groups, resumed)), strict=True)
        assert all(np.array_equal(a, b) for a, b in pairs)


@pytest.mark.slow
def test_a_run_that_does_not_reach_the_posterior_is_not_ok_and_tells_no_evidence() -> None:
    trace = runs(read_reference("five_points").problem, TemperedSMC(num_warmup=2, num_samples=20, num_chains=2))
    assert not trace.ok[:, -1].any() and trace.ok[:, 1].all()
    assert np.isnan(log_evidence_of(trace).log_evidence)


@pytest.mark.slow
def test_the_evidence_of_one_component_is_that_of_the_closed_form(points: Points) -> None:
    problem = Problem(points, 1, "full", ConjugatePrior())
    found = log_evidence_of(runs(problem))
    assert found.standard_error < 0.3
    # With one component there is one allocation.
    assert evidence_error(found, exact_posterior(problem, points[:1]).log_evidence) < 4


@pytest.mark.slow
def test_the_evidence_under_the_independent_prior_is_that_of_quadrature() -> None:
    x = np.array([-1.2, 0.1, 0.4, 2.0])
    settings: dict[str, Any] = {"mean_location": (0.5,), "mean_scale": (2.0,), "deviation_scale": (1.5,)}
    problem = Problem(x, 1, "full", IndependentPrior(**settings))

    def density(mean: float, deviation: float) -> float:
        prior = stats.norm(0.5, 2.0).pdf(mean) * stats.halfnorm(scale=1.5).pdf(deviation)
        return float(prior * np.prod(stats.norm(mean, deviation).pdf(x)))

    exact, _ = integrate.dblquad(density, 1e-3, 15.0, -15.0, 15.0)
    assert evidence_error(log_evidence_of(runs(problem)), np.log(exact)) < 4


@pytest.mark.slow
def test_ordered_labels_are_the_same_run_put_in_order(three_groups: Trace) -> None:
    free = read_reference("three_groups").problem
    ordered = runs(Problem(free.x, 3, "full", free.prior, labels="ordered"))
    np.testing.assert_array_equal(ordered.log_evidence, three_groups.log_evidence)
    means = np.asarray(ordered.answer.means)[..., 0]
    np.testing.assert_array_equal(means, np.sort(np.asarray(three_groups.answer.means)[..., 0], axis=-1))


@pytest.mark.parametrize("name", [name for name, prior in PRIORS.items() if not prior.proper])
def test_improper_priors_are_refused(name: str, problem_of: Callable[..., Problem]) -> None:
    with pytest.raises(InputError, match=r'prior: tempered SMC needs a proper prior.*use family = "conjugate"'):
        TemperedSMC().check(problem_of("full", name))
