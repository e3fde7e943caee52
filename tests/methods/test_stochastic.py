"""Minibatch methods: EM's step on all rows, statistics about any origin, prices in fractions, the optimum of EM."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from families import summed
from jax.flatten_util import ravel_pytree
from numpy.typing import NDArray

from workbench.engine import layout, rows
from workbench.engine.one_pass import one_pass
from workbench.engine.rows import Rows
from workbench.errors import InputError
from workbench.loop.run import run
from workbench.loop.trace import Trace
from workbench.methods import OnlineEM, StochasticAscent
from workbench.methods.base import FIRST_FRACTION, fractional_marks
from workbench.methods.directions import DECAY, NEIGHBOURHOOD
from workbench.methods.em_variants import PATIENCE, recentred
from workbench.methods.parts import Minibatch
from workbench.methods.stochastic_ascent import PROMISED
from workbench.mixture import COVARIANCES, PRIORS, Mixture, Statistics
from workbench.problem import Problem
from workbench.starts import KMeansPlusPlus, draw_starts

K = 3
FAMILIES = pytest.mark.parametrize("family", COVARIANCES)
BOTH = pytest.mark.parametrize("method", [OnlineEM, StochasticAscent])
# What the two share is tested every day with the cheaper one.
SHARED = pytest.mark.parametrize("method", [OnlineEM, pytest.param(StochasticAscent, marks=pytest.mark.slow)])
CLOSED = [name for name, prior in PRIORS.items() if prior.closed_form]
# Every family, and each closed-form prior with two of them: compiling is what costs.
TURNS = [(family, CLOSED[i % len(CLOSED)]) for i, family in enumerate(COVARIANCES)]

Points = NDArray[np.float64]
Problems = Callable[..., Problem]
Random = Callable[..., Mixture]


@pytest.fixture(scope="module")
def many() -> Points:
    """4,000 points of two columns in three groups, in no order. [N, D]"""
    rng = np.random.default_rng(5)
    centres = np.array([[0.0, 0.0], [5.0, 1.0], [1.0, 6.0]])
    return np.asarray(rng.normal(size=(4000, 2)) + centres[rng.integers(3, size=4000)])


def all_rows(self: Rows, key: jax.Array, size: int) -> Rows:
    """In place of a draw: every row once."""
    assert size == self.num_points
    return self


def assert_close(found: Any, expected: Any, tolerance: float) -> None:
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance * np.max(np.abs(b)))


@pytest.mark.parametrize(("family", "prior"), TURNS)
def test_a_step_on_all_rows_that_forgets_the_past_is_ems(
    family: str, prior: str, points: Points, problem_of: Problems, random_mixture: Random, monkeypatch: Any
) -> None:
    monkeypatch.setattr(Rows, "minibatch", all_rows)
    problem, mixture = problem_of(family, prior), random_mixture(points, K, family, seed=0)
    algorithm = OnlineEM(warm_up=1, batch=len(points)).bind(problem)
    key = jax.random.key(0)
    step = jax.jit(algorithm.step)
    state, info = step(key, algorithm.init(key, mixture))  # gamma is 1 at the first batch
    em = jax.jit(problem.em_step)
    assert_close(state.mixture, em(mixture)[0], 1e-11)  # sums of 60 terms, over N and times N again
    assert float(info.passes) == 1.0
    # Once more, about origins that have moved.
    state, _ = step(key, state._replace(batches=jnp.asarray(0)))
    twice = em(em(mixture)[0])[0]
    assert_close(state.mixture, twice, 1e-9)  # two steps on standard deviations of condition 10


@FAMILIES
def test_statistics_about_other_origins_are_those_of_the_same_rows(
    family: str, points: Points, problem_of: Problems, random_mixture: Random
) -> None:
    problem, mixture = problem_of(family), random_mixture(points, K, family, seed=1)
    _, statistics = jax.jit(one_pass)(mixture, problem.rows)
    shifts = np.random.default_rng(0).normal(size=(K, 2)) * [1.0, 20.0]
    moved = recentred(statistics, jnp.asarray(shifts), mixture.covariance)
    responsibilities = np.asarray(mixture.responsibilities(points))  # [N, K]
    difference = points[:, None] - np.asarray(mixture.means) - shifts  # [N, K, D]
    dense = np.einsum("nk,nki,nkj->kij", responsibilities, difference, difference)
    second = summed(family, dense)
    first = np.einsum("nk,nki->ki", responsibilities, difference)
    assert_close(moved, Statistics(jnp.asarray(responsibilities.sum(0)), first, second), 1e-10)  # sums of 60 terms
    assert_close(recentred(moved, jnp.asarray(-shifts), mixture.covariance), statistics, 1e-10)


def test_the_average_of_batches_at_one_mixture_is_an_unbiased_estimate_of_a_pass(
    points: Points, problem_of: Problems, random_mixture: Random
) -> None:
    problem, mixture = problem_of("tied"), random_mixture(points, K, "tied", seed=0)
    algorithm = OnlineEM(warm_up=10_000, batch=8).bind(problem)  # so many that the mixture stands still

    def average(key: jax.Array) -> Statistics:
        state = algorithm.init(key, mixture)
        keys = jax.random.split(key, 10)
        state = jax.lax.scan(lambda s, k: (algorithm.step(k, s)[0], None), state, keys)[0]
        assert isinstance(state.average, Statistics)
        return state.average

    found = jax.jit(jax.vmap(average))(jax.random.split(jax.random.key(1), 64))
    expected = jax.tree.map(lambda leaf: leaf / len(points), one_pass(mixture, problem.rows)[1])
    for drawn, mean in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        error = np.std(drawn, axis=0, ddof=1) / np.sqrt(64)
        # 13 numbers: one is beyond 4.5 standard errors by chance once in 10,000 keys.
        assert np.all(np.abs(np.mean(drawn, axis=0) - mean) < 4.5 * error)


def test_step_sizes_average_evenly_and_then_fall(points: Points, problem_of: Problems, monkeypatch: Any) -> None:
    # With statistics that count batches, 0 and then 1, the average is what the later ones weigh.
    problem = problem_of("spherical", "conjugate")
    mixture = draw_starts(KMeansPlusPlus(), problem, 1, seed=0)
    mixture = jax.tree.map(lambda leaf: leaf[0], mixture)
    method = OnlineEM(warm_up=4, power=0.75, batch=10)
    algorithm = method.bind(problem)
    key = jax.random.key(0)
    state = algorithm.init(key, mixture)
    totals = []
    step = jax.jit(algorithm.step)
    for t in range(1, 7):
        if t > 1:
            state = state._replace(average=jax.tree.map(jnp.zeros_like, state.average))
        state, _ = step(key, state)
        totals.append(float(jnp.sum(state.average.counts)))  # responsibilities sum to one: gamma is left
        moved = bool(jnp.any(state.mixture.means != mixture.means))
        assert moved == (t >= 4)
    np.testing.assert_allclose(totals, [1, 1 / 2, 1 / 3, 1 / 4, 5**-0.75, 6**-0.75], rtol=1e-12)


@SHARED
def test_prices_add_up_to_the_fraction_of_rows_that_were_read(method: type[Minibatch], many: Points) -> None:
    problem = Problem(many, K)
    config = method(batch=64, max_passes=0.5)
    trace = run(config, problem, draw_starts(KMeansPlusPlus(), problem, 2, seed=0), jax.random.key(0))
    steps = trace.passes * len(many) / 64
    np.testing.assert_allclose(steps, np.round(steps), atol=1e-9)  # some 30 additions of 64 / 4000
    # Every row lies within one step beyond its mark; the last is the first that is no less than the limit.
    marks = fractional_marks(0.5)
    assert trace.num_rows == 1 + len(marks)
    beyond = trace.passes[:, 1:] - marks
    assert np.all(beyond > -1e-12) and np.all(beyond < 64 / 4000)
    assert not trace.converged.any() and not trace.collapsed.any() and trace.ok.all()


@SHARED
def test_few_rows_are_one_batch_of_all(method: type[Minibatch], points: Points, problem_of: Problems) -> None:
    algorithm = method().bind(problem_of("diagonal"))
    key = jax.random.key(0)
    start = jax.tree.map(lambda leaf: leaf[0], draw_starts(KMeansPlusPlus(), problem_of("diagonal"), 1, seed=0))
    _, info = jax.jit(algorithm.step)(key, algorithm.init(key, start))
    assert float(info.passes) == 1.0


@jax.jit
def optimum(problem: Problem, starts: Mixture) -> jax.Array:
    """log_joint after a hundred steps of EM, which on groups so far apart are four times as many as it needs. []"""
    first = jax.tree.map(lambda leaf: leaf[0], starts)
    return problem.log_joint(jax.lax.fori_loop(0, 100, lambda _, m: problem.em_step(m)[0], first))


@pytest.mark.parametrize(
    ("family", "prior"), [TURNS[0], *(pytest.param(*turn, marks=pytest.mark.slow) for turn in TURNS[1:])]
)
def test_online_em_ends_at_ems_optimum_to_its_noise(family: str, prior: str, many: Points) -> None:
    problem = Problem(many, K, family, PRIORS[prior]())
    starts = draw_starts(KMeansPlusPlus(), problem, 2, seed=1)
    trace = run(OnlineEM(batch=128, max_passes=10.0), problem, starts, jax.random.key(2))
    assert_near(trace, problem, float(optimum(problem, starts)), gamma=(10 * 4000 / 128) ** -0.6)


def assert_near(trace: Trace, problem: Problem, best: float, gamma: float) -> None:
    """All ends are as near the optimum as an average over 2 B / gamma rows can be expected to be."""
    parameters = problem.covariance.num_parameters(K, 2) + 3 * K - 1
    # A fit to M other rows of the same law lies P N / (2 M) nats below the maximum in the mean, P parameters; three
    # times that, for the tail of a chi-squared variable of P degrees.
    expected = parameters * len(problem.x) * gamma / (4 * 128)
    gaps = best - trace.log_joint[:, -1]
    assert np.all(gaps > -1e-3) and np.all(gaps < 3 * expected)


def test_stochastic_ascent_ends_at_ems_optimum_to_its_noise(many: Points) -> None:
    problem = Problem(many, K, "diagonal", PRIORS["conjugate"]())
    starts = draw_starts(KMeansPlusPlus(), problem, 2, seed=1)
    trace = run(StochasticAscent(batch=128, max_passes=30.0), problem, starts, jax.random.key(2))
    gaps = optimum(problem, starts) - trace.log_joint[:, -1]
    # Steps of Adam end a hundredth as long as they began: 2 to 5 nats below the optimum with six keys, where starts lie
    # 1,700 below, and twice that is allowed for.
    assert np.all(gaps > -1e-3) and np.all(gaps < 0.0025 * len(many))


def test_a_step_of_ascent_on_all_rows_goes_along_the_gradient_of_log_joint(
    points: Points, problem_of: Problems, random_mixture: Random, monkeypatch: Any
) -> None:
    monkeypatch.setattr(Rows, "minibatch", all_rows)
    problem, mixture = problem_of("diagonal", "conjugate"), random_mixture(points, K, "diagonal", seed=0)
    algorithm = StochasticAscent(optimizer="gradient", learning_rate=0.25, batch=len(points)).bind(problem)
    key = jax.random.key(0)
    begun = algorithm.init(key, mixture)

    def per_point(u: Any) -> jax.Array:
        return problem.log_joint(algorithm.mixture(begun._replace(u=u))) / len(points)

    state, _ = jax.jit(algorithm.step)(key, begun)
    expected = jax.tree.map(lambda u, g: u + 0.25 * g, begun.u, jax.jit(jax.grad(per_point))(begun.u))
    assert_close(state.u, expected, 1e-12)  # the same products in the same order


def test_the_step_size_of_ascent_falls_by_the_stated_power_of_the_turns_of_the_gradient() -> None:
    method, first = StochasticAscent(power=0.75), jnp.asarray(2.0)
    rates = [float(method.rate(first, jnp.asarray(turns))) for turns in (0, 1, 15)]
    np.testing.assert_allclose(rates, [2.0, 2.0 * 2**-0.75, 2.0 / 8], rtol=1e-12)
    # A gradient that momentum adds up for ever goes as far as a step without it; a size that is given is kept.
    searched, given = (StochasticAscent(optimizer="momentum", learning_rate=rate) for rate in (None, 2.0))
    total = float(searched.rate(first, jnp.asarray(0))) * float(jnp.sum(DECAY ** jnp.arange(1000)))
    assert total == pytest.approx(2.0, rel=1e-12)
    assert float(given.rate(first, jnp.asarray(0))) == 2.0


@pytest.mark.parametrize("optimizer", ["gradient", "adam"])
def test_the_first_step_size_is_the_longest_that_rises_by_half_of_what_its_slope_promises(
    optimizer: Any, points: Points, problem_of: Problems, random_mixture: Random, monkeypatch: Any
) -> None:
    monkeypatch.setattr(Rows, "minibatch", all_rows)
    problem, mixture = problem_of("diagonal", "conjugate"), random_mixture(points, K, "diagonal", seed=0)
    algorithm = StochasticAscent(optimizer=optimizer, batch=len(points)).bind(problem)
    key = jax.random.key(0)
    step, states = jax.jit(algorithm.step), [algorithm.init(key, mixture)]
    while not bool(states[-1].probe.done):
        state, info = step(key, states[-1])
        assert float(info.passes) == 1.0 and bool(info.ok)  # every trial is paid
        assert_close(state.u, states[0].u, 0.0)  # and none moves
        states.append(state)
    x, unravel = ravel_pytree(states[0].u)

    @jax.jit
    def height(y: jax.Array) -> jax.Array:
        return problem.log_joint(algorithm.mixture(states[0]._replace(u=unravel(y))))

    gradient = jax.jit(jax.grad(lambda y: -height(y) / 60))(x)
    direction = -gradient if optimizer == "gradient" else -jnp.sign(gradient)

    def share(length: float) -> float:
        """Of the promised rise, what there is."""
        rise = float(height(x + length * direction)) - float(height(x))
        return rise / 60 / (length * -float(gradient @ direction))

    length = float(states[-1].probe.length)
    assert share(length) >= PROMISED
    assert share(2.0 * length) < PROMISED or length == pytest.approx(NEIGHBOURHOOD, rel=1e-6)


def test_the_step_size_of_ascent_falls_only_where_gradients_point_against_each_other(
    points: Points, problem_of: Problems, random_mixture: Random, monkeypatch: Any
) -> None:
    monkeypatch.setattr(Rows, "minibatch", all_rows)
    problem, mixture = problem_of("diagonal", "conjugate"), random_mixture(points, K, "diagonal", seed=0)

    def turns(rate: float, steps: int) -> int:
        config = StochasticAscent(optimizer="gradient", learning_rate=rate, batch=len(points))
        algorithm, key = config.bind(problem), jax.random.key(0)
        step, state = jax.jit(algorithm.step), algorithm.init(key, mixture)
        for _ in range(steps):
            before, (state, _) = state, step(key, state)
            against = float(jnp.sum(before.gradient * state.gradient)) < 0
            assert int(state.turns) == int(before.turns) + against
        return int(state.turns)

    # Without noise short steps go on as they went, and those far beyond the stable length, 0.3 or so, go to and fro.
    assert turns(0.03, 30) == 0
    assert turns(3.0, 30) > 3


@SHARED
def test_streamed_rows_end_where_rows_in_memory_do(
    method: type[Minibatch], many: Points, monkeypatch: pytest.MonkeyPatch
) -> None:
    resident = Problem(many, K)
    starts = draw_starts(KMeansPlusPlus(), resident, 1, seed=1)
    best = float(optimum(resident, starts))
    monkeypatch.setattr(rows, "RESIDENT_BYTES", 0)
    monkeypatch.setattr(layout, "READ_BYTES", 16_000)
    problem = Problem(many, K)
    assert problem.rows.stream is not None
    trace = run(method(batch=128, max_passes=10.0), problem, starts, jax.random.key(2))
    assert best - trace.log_joint[0, -1] < 0.01 * len(many)


def starve(problem: Problem, mixture: Mixture, steps: int) -> tuple[list[Any], list[Any]]:
    """States and infos of OnlineEM where every M-step is refused, because the batch is one row again and again."""
    algorithm = OnlineEM(warm_up=1, batch=1).bind(problem)
    key = jax.random.key(0)
    step = jax.jit(algorithm.step)
    states, infos = [jax.jit(algorithm.init)(key, mixture)], []
    for _ in range(steps):
        state, info = step(key, states[-1])
        states.append(state)
        infos.append(info)
    return states, infos


def test_one_batch_without_a_component_kills_nothing(
    points: Points, problem_of: Problems, random_mixture: Random
) -> None:
    problem, mixture = problem_of("full"), random_mixture(points, K, "full", seed=0)
    (_, after), (info,) = starve(problem, mixture, 1)
    assert_close(after.mixture, mixture, 0.0)
    assert float(after.refused) == 1.0 and not bool(info.collapsed) and not bool(info.stopped)
    mended, info = jax.jit(OnlineEM(warm_up=1, batch=60).bind(problem).step)(jax.random.key(4), after)
    assert float(mended.refused) == 0.0 and not bool(info.collapsed)
    assert bool(jnp.any(mended.mixture.means != mixture.means))


def test_refusals_that_have_renewed_the_average_are_collapse(
    points: Points, problem_of: Problems, random_mixture: Random
) -> None:
    problem, mixture = problem_of("full"), random_mixture(points, K, "full", seed=0)
    sizes = np.cumsum(np.arange(1, 12) ** -0.6)
    expected = [bool(total >= PATIENCE) for total in sizes]
    assert expected[-1] and not expected[2]
    _, infos = starve(problem, mixture, 11)
    assert [bool(info.collapsed) for info in infos] == [bool(info.stopped) for info in infos] == expected


def test_a_prior_without_a_closed_form_is_refused_by_online_em_and_climbed_by_ascent(problem_of: Problems) -> None:
    problem = problem_of("full", "independent")
    with pytest.raises(InputError, match="no closed-form M-step"):
        OnlineEM().check(problem)
    StochasticAscent().check(problem)


@pytest.mark.parametrize("limit", [0.004, 0.01, 0.5, 20.0])
def test_marks_are_fractions_of_a_pass_that_grow_to_the_limit(limit: float) -> None:
    marks = fractional_marks(limit)
    assert marks[-1] == limit and marks[0] == min(limit, FIRST_FRACTION) and np.all(np.diff(marks) > 0)
    ratios = marks[1:] / marks[:-1]
    # The last step makes up for what the power of 1.1 does not meet: half a power more or less.
    assert np.all(ratios < 1.1**1.5 + 1e-12) and np.all(ratios[:-1] > 1.1 - 1e-12)


def test_a_whole_number_of_rows_is_drawn_whatever_the_restart(many: Points) -> None:
    problem = Problem(many, K)
    one, other = (OnlineEM(batch=32).draw(problem, jax.random.key(seed)) for seed in (0, 1))
    assert one.num_points == other.num_points == 32
    assert not np.array_equal(one.z, other.z)
