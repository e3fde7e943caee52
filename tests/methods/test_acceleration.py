"""Acceleration: log_joint never falls, results equal those of the wrapped method, and passes are far fewer."""

from collections.abc import Callable
from functools import partial
from itertools import pairwise
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.typing import NDArray

from workbench.compare import compare
from workbench.data import load_dataset
from workbench.errors import InputError
from workbench.methods import EM, SQUAREM, Anderson, OverRelaxed, Race
from workbench.methods.accelerated import HALFWAY, Accelerated, Visit, damped_least_squares
from workbench.mixture import COVARIANCES, PRIORS, Mixture
from workbench.problem import Problem

K = 3
PATIENT = EM(tolerance=0.0)
WRAPPERS: dict[str, Accelerated] = {
    "squarem": SQUAREM(of=PATIENT),
    "anderson": Anderson(of=PATIENT),
    "overrelaxed": OverRelaxed(of=PATIENT),
}
EVERY = pytest.mark.parametrize("name", WRAPPERS)
CLOSED = [name for name, prior in PRIORS.items() if prior.closed_form]
# Compiling is what costs. Every family with every wrapper, and both priors with each of the two; the everyday run takes
# every wrapper once under the conjugate prior, and the family that is left.
TURNS = [
    (name, family, CLOSED[(i + j) % len(CLOSED)])
    for i, name in enumerate(WRAPPERS)
    for j, family in enumerate(COVARIANCES)
]
CONJUGATE = [turn for k, turn in enumerate(TURNS) if k % 5 == 1]
EVERYDAY = [TURNS[0], *CONJUGATE]
# How far rounding may lower log_joint in one step, relative to its size: as for EM.
FALL = 1e-9

Points = NDArray[np.float64]
Problems = Callable[..., Problem]
Random = Callable[..., Mixture]


@partial(jax.jit, static_argnums=0)
def walk(method: Accelerated, problem: Problem, start: Mixture) -> tuple[Mixture, jax.Array, jax.Array]:
    """The mixture and log_joint after each of 80 steps, and whether it has converged. Leaves [T, ...], [T], [T]"""
    algorithm = method.bind(problem)
    key = jax.random.key(0)

    def step(state: Any, _: None) -> Any:
        state, info = algorithm.step(key, state)
        mixture = algorithm.mixture(state)
        return state, (mixture, problem.log_joint(mixture), info.converged)

    mixtures, values, converged = jax.lax.scan(step, algorithm.init(key, start), None, length=80)[1]
    return mixtures, values, converged


def assert_never_falls(method: Accelerated, problem: Problem, start: Mixture) -> None:
    values = np.asarray(walk(method, problem, start)[1])
    assert np.all(np.isfinite(values))
    assert np.min(np.diff(values)) >= -FALL * np.max(np.abs(values))


@pytest.mark.parametrize(("name", "family", "prior"), EVERYDAY)
def test_log_joint_never_falls(
    name: str, family: str, prior: str, points: Points, problem_of: Problems, random_mixture: Random
) -> None:
    assert_never_falls(WRAPPERS[name], problem_of(family, prior), random_mixture(points, K, family, seed=0))


@pytest.mark.slow
@pytest.mark.parametrize(("name", "family", "prior"), [turn for turn in TURNS if turn not in EVERYDAY])
def test_log_joint_never_falls_whatever_the_family(
    name: str, family: str, prior: str, points: Points, problem_of: Problems, random_mixture: Random
) -> None:
    assert_never_falls(WRAPPERS[name], problem_of(family, prior), random_mixture(points, K, family, seed=0))


@jax.jit
def climbed(problem: Problem, start: Mixture) -> Mixture:
    """The end of 20,000 steps of EM."""
    return jax.lax.fori_loop(0, 20_000, lambda _, mixture: problem.em_step(mixture)[0], start)


@pytest.mark.parametrize(("name", "family", "prior"), CONJUGATE)
def test_a_fixed_point_of_em_is_left_alone(
    name: str, family: str, prior: str, points: Points, problem_of: Problems, random_mixture: Random
) -> None:
    problem = problem_of(family, prior)
    end = climbed(problem, random_mixture(points, K, family, seed=0))
    mixtures, values, converged = walk(WRAPPERS[name], problem, end)
    assert np.any(converged[:30])
    np.testing.assert_allclose(values, values[0], rtol=1e-13)  # rounding of a sum of 60 terms
    for kept, first in zip(jax.tree.leaves(mixtures), jax.tree.leaves(end), strict=True):
        # log_joint is flat to rounding over the root of it: 1e-7 or so.
        np.testing.assert_allclose(kept[-1], first, rtol=1e-5, atol=1e-5 * np.max(np.abs(first)))


@pytest.mark.parametrize(("name", "family", "prior"), EVERYDAY)
def test_permuting_labels_commutes_with_the_steps(
    name: str, family: str, prior: str, points: Points, problem_of: Problems, random_mixture: Random
) -> None:
    problem, start, order = problem_of(family, prior), random_mixture(points, K, family, seed=2), [2, 0, 1]
    here, there = (walk(WRAPPERS[name], problem, s)[0] for s in (start, start.permute(order)))
    moved = jax.vmap(lambda mixture: mixture.permute(jnp.asarray(order)))(here)
    for a, b in zip(*(jax.tree.leaves(jax.tree.map(lambda x: x[:12], m)) for m in (moved, there)), strict=True):
        # Sums over components in another order, magnified by a dozen extrapolations.
        np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-6 * np.max(np.abs(b)))


@EVERY
def test_a_step_costs_the_one_pass_that_it_takes(
    name: str, points: Points, problem_of: Problems, random_mixture: Random, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[None] = []
    em_step = Problem.em_step

    def counted(self: Problem, mixture: Mixture) -> Any:
        jax.debug.callback(lambda: calls.append(None))
        return em_step(self, mixture)

    def refuse(self: Problem, mixture: Mixture) -> Any:
        raise AssertionError("a pass that is not paid for")

    monkeypatch.setattr(Problem, "em_step", counted)
    monkeypatch.setattr(Problem, "log_likelihood", refuse)
    algorithm = WRAPPERS[name].bind(problem_of("diagonal"))
    step = jax.jit(algorithm.step)
    key = jax.random.key(0)
    state = algorithm.init(key, random_mixture(points, K, "diagonal", seed=0))
    for paid in range(1, 16):
        state, info = step(key, state)
        jax.block_until_ready(state)
        jax.effects_barrier()
        assert int(info.passes) == 1 and len(calls) == paid


@pytest.fixture(scope="module")
def crabs() -> Any:
    """EM and its accelerations on Pearson's crabs, K = 2, from the same starts."""
    problem = Problem(load_dataset("pearson_crabs").x, 2)
    return compare(problem, {"em": EM(tolerance=1e-15), **WRAPPERS}, restarts=2)


@pytest.mark.slow
@EVERY
def test_the_optimum_of_pearsons_crabs_is_ems(name: str, crabs: Any) -> None:
    trace, em = crabs[name], crabs["em"]
    ends = trace.log_joint[:, -1]
    assert np.all(ends >= em.log_joint[:, -1] - 1e-6)
    best = trace.best(crabs.problem).canonical()
    # What was known before: figures to three and four digits.
    assert np.max(ends) == pytest.approx(2567.579, abs=5e-4)
    np.testing.assert_allclose(np.sort(best.weights), [0.433, 0.567], atol=5e-4)
    np.testing.assert_allclose(np.sort(best.means[:, 0]), [0.6317, 0.6546], atol=5e-5)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "times"), [("squarem", 8), ("anderson", 20), ("overrelaxed", 2.5)])
def test_pearsons_crabs_take_far_fewer_passes_than_em(name: str, times: float, crabs: Any) -> None:
    # Measured medians over 16 starts are 11, 40 and 4; rows lie a tenth apart, and these are two starts.
    best = max(float(np.max(trace.log_joint)) for trace in crabs.values())
    arrivals = {}
    for method in ("em", name):
        near = crabs[method].log_joint >= best - 1e-8
        there = near.any(1)
        assert there.any()
        arrivals[method] = np.median(crabs[method].passes[there, near.argmax(1)[there]])
    assert arrivals["em"] >= times * arrivals[name]


def take(wrapper: Accelerated, problem: Problem, start: Mixture, values: list[float]) -> list[Any]:
    """States and infos when the map stands still and log_joint takes these values, one after the other."""
    taken: list[Any] = []
    state = wrapper.bind(problem).init(jax.random.key(0), start)
    for value in values:
        object.__setattr__(problem, "em_step", lambda m, v=value: (m, jnp.asarray(v)))
        state, info = wrapper.bind(problem).step(jax.random.key(1), state)
        taken.append((state, info))
    return taken


def test_a_leap_that_stays_lower_is_refused(points: Points, random_mixture: Random) -> None:
    problem, start = Problem(points, K), random_mixture(points, K, "full", seed=0)
    # The second point is left by a leap, which lands on -95 and settles on -92.
    (_, leaves, lands, settles), infos = zip(
        *take(OverRelaxed(), problem, start, [-100.0, -90.0, -95.0, -92.0]), strict=True
    )
    assert bool(leaves.leapt) and bool(lands.leapt) and not bool(settles.leapt)
    assert float(lands.log_joint) == float(settles.log_joint) == -90.0
    assert float(settles.memory) == 1.0 < float(leaves.memory)
    assert all(bool(info.ok) and not bool(info.converged) for info in infos)


def test_a_leap_that_settles_higher_is_kept(points: Points, random_mixture: Random) -> None:
    problem, start = Problem(points, K), random_mixture(points, K, "full", seed=0)
    *_, (last, _) = take(OverRelaxed(), problem, start, [-100.0, -90.0, -95.0, -85.0])
    assert float(last.log_joint) == -85.0 and bool(last.leapt)


def test_a_leap_that_lands_on_no_number_is_refused(points: Points, random_mixture: Random) -> None:
    problem, start = Problem(points, K), random_mixture(points, K, "full", seed=0)
    *_, (last, info) = take(OverRelaxed(), problem, start, [-100.0, -90.0, np.nan])
    assert float(last.log_joint) == -90.0 and not bool(last.leapt) and bool(info.ok) and not bool(info.stopped)


def test_a_small_rise_of_a_leap_ends_nothing_and_of_a_plain_step_after_it_does(
    points: Points, random_mixture: Random
) -> None:
    problem, start = Problem(points, K), random_mixture(points, K, "full", seed=0)
    wrapper = OverRelaxed(of=EM(tolerance=1e-4))
    taken = take(wrapper, problem, start, [-100.0, -90.0, -89.999, -80.0, -79.0, -78.999, -78.998])
    assert [bool(info.converged) for _, info in taken] == [False] * 6 + [True]
    assert bool(taken[-1][1].stopped)


@EVERY
def test_a_map_that_stands_still_has_converged(name: str, points: Points, random_mixture: Random) -> None:
    # Differences of zero: no step length, and no combination of residuals, is defined.
    problem, start = Problem(points, K), random_mixture(points, K, "full", seed=0)
    assert any(bool(info.converged) for _, info in take(WRAPPERS[name], problem, start, [-100.0] * 6))


def test_a_fall_of_a_plain_step_breaks_the_promise(points: Points, random_mixture: Random) -> None:
    problem, start = Problem(points, K), random_mixture(points, K, "full", seed=0)
    *_, (_, info) = take(SQUAREM(), problem, start, [-100.0, -101.0])
    assert not bool(info.ok) and not bool(info.converged)


@EVERY
def test_a_step_into_a_singular_covariance_is_collapse(name: str, points: Points) -> None:
    x = np.concatenate([np.zeros(10), points[:, 0] + 50.0])
    start = Mixture.from_covariances([0.2, 0.8], [[0.0], [53.0]], [1.0, 10.0], "spherical")
    algorithm = WRAPPERS[name].bind(Problem(x, 2, "spherical"))
    state, info = jax.jit(algorithm.step)(jax.random.key(0), algorithm.init(jax.random.key(0), start))
    assert bool(info.collapsed) and bool(info.stopped) and not bool(info.converged)
    for kept, old in zip(jax.tree.leaves(algorithm.mixture(state)), jax.tree.leaves(start), strict=True):
        np.testing.assert_array_equal(kept, old)


@EVERY
def test_what_em_refuses_is_refused(name: str, problem_of: Problems) -> None:
    with pytest.raises(InputError, match="no closed-form M-step"):
        WRAPPERS[name].check(problem_of("full", "independent"))


@EVERY
def test_a_race_of_the_wrapped_method_is_refused(name: str, problem_of: Problems) -> None:
    wrapper = type(WRAPPERS[name])(of=EM(race=Race(after=3, keep=1)))
    with pytest.raises(InputError, match=rf"{name}\.of\.race: .*give it as {name}\.race"):
        wrapper.check(problem_of("full"))


def linear(matrix: Points, end: Points) -> Callable[[Points], Visit]:
    """Visits of the map `x -> end + matrix (x - end)`."""
    return lambda x: Visit(jnp.asarray(x), jnp.asarray((matrix - np.eye(len(end))) @ (x - end)))


def test_squarem_lands_on_the_end_of_a_geometric_sequence() -> None:
    # In one dimension a = 1 / (1 - rate), and x0 + 2 a r + a^2 v is the fixed point.
    visit = linear(np.array([[0.9]]), np.array([2.0]))
    first, second = visit(np.array([5.0])), visit(np.array([4.7]))
    wrapper = SQUAREM(growth=100.0)
    _, target, leaps = wrapper.leap(wrapper.begin(first.x), first, second, jnp.asarray(False))
    assert bool(leaps)
    np.testing.assert_allclose(target, [2.0], rtol=1e-12)  # a handful of roundings, magnified by a^2 = 100


def test_undamped_anderson_solves_a_linear_map_after_as_many_differences_as_coordinates() -> None:
    rng = np.random.default_rng(0)
    turn = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    visit = linear(turn @ np.diag([0.95, 0.7, 0.2]) @ turn.T, np.array([1.0, -2.0, 3.0]))
    wrapper = Anderson()
    # So much trust that no damping is left, to rounding.
    history = wrapper.begin(jnp.zeros(3))._replace(trust=jnp.asarray(HALFWAY + 400.0))
    visits = [visit(x) for x in rng.normal(size=(4, 3))]
    for last, now in pairwise(visits):
        history, target, _ = wrapper.leap(history, last, now, jnp.asarray(True))
    np.testing.assert_allclose(target, [1.0, -2.0, 3.0], rtol=1e-9)  # residuals of condition 16, squared with room
    assert int(history.filled) == 0 and not np.any(history.x)  # full, so dropped


@pytest.mark.parametrize("share", [1.0, 0.5, 1e-2, 1e-6])
def test_damping_leaves_the_stated_share_of_the_coefficients(share: float) -> None:
    rng = np.random.default_rng(1)
    f, target = rng.normal(size=(4, 9)) * np.array([[1.0], [1e-2], [1e-4], [1.0]]), rng.normal(size=9)
    free = np.linalg.lstsq(f.T, target, rcond=None)[0]
    damped = damped_least_squares(jnp.asarray(f), jnp.asarray(target), jnp.asarray(share))
    assert float(jnp.sum(damped**2)) == pytest.approx(share * np.sum(free**2), rel=1e-8)  # Newton has converged
    if share == 1.0:
        np.testing.assert_allclose(damped, free, rtol=1e-8)  # condition 1e4


def test_an_empty_row_of_the_history_has_no_weight() -> None:
    f = jnp.asarray([[1.0, 2.0, 0.5], [0.0, 0.0, 0.0]])
    g = damped_least_squares(f, jnp.asarray([1.0, 1.0, 1.0]), jnp.asarray(0.5))
    assert float(g[1]) == 0.0 and float(g[0]) > 0.0


def test_anderson_turns_a_leap_back_to_a_saddle_round() -> None:
    # A map that runs away from 0 by 1.1 a step: the zero of the residual lies behind.
    visit = linear(np.array([[1.1]]), np.array([0.0]))
    wrapper = Anderson()
    history = wrapper.begin(jnp.zeros(1))._replace(trust=jnp.asarray(HALFWAY + 400.0))
    _, target, _ = wrapper.leap(history, visit(np.array([1.0])), visit(np.array([1.1])), jnp.asarray(False))
    np.testing.assert_allclose(target, [2.2], rtol=1e-9)
