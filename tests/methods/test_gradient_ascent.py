"""Gradient ascent: line searches that cost a pass for each trial, and steps that commute with permutations."""

import itertools
from collections.abc import Callable
from typing import Any, get_args

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from climbs import all_climbed, climbed
from jax.flatten_util import ravel_pytree
from numpy.typing import NDArray
from scipy.optimize import minimize

from workbench.charts import SCALES, WEIGHTS, Chart
from workbench.data import load_dataset
from workbench.errors import InputError
from workbench.loop.run import run
from workbench.methods import EM, GradientAscent
from workbench.methods.directions import DIRECTIONS
from workbench.methods.line_search import SUFFICIENT, TRIALS, Objective, at_start, trial
from workbench.mixture import ConjugatePrior, Mixture
from workbench.problem import Problem
from workbench.starts import RandomPoints, draw_starts

K = 3
Points = NDArray[np.float64]
Random = Callable[..., Mixture]
Problems = Callable[..., Problem]


def test_every_direction_can_be_chosen() -> None:
    assert get_args(GradientAscent.model_fields["optimizer"].annotation) == tuple(DIRECTIONS)


@pytest.mark.parametrize(
    "method",
    [GradientAscent(), GradientAscent(optimizer="gradient", learning_rate=0.1)],
    ids=["searched", "fixed"],
)
def test_a_step_is_one_evaluation_of_the_likelihood(
    method: GradientAscent,
    points: Points,
    problem_of: Problems,
    random_mixture: Random,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    calls: list[None] = []
    likelihood = Problem.log_likelihood

    def counted(self: Problem, mixture: Mixture) -> jax.Array:
        jax.debug.callback(lambda: calls.append(None))
        return likelihood(self, mixture)

    monkeypatch.setattr(Problem, "log_likelihood", counted)
    algorithm = method.bind(problem_of("diagonal"))
    init, step = jax.jit(algorithm.init), jax.jit(algorithm.step)
    key, paid, prices = jax.random.key(0), 0, []
    state = init(key, random_mixture(points, K, "diagonal", seed=0))
    for _ in range(15):
        state, info = step(key, state)
        jax.block_until_ready(state)
        jax.effects_barrier()
        paid += int(info.passes)
        prices.append(int(info.passes))
        assert len(calls) == paid
    # A fixed step owes the gradient at the start; a search evaluates it as its first trial.
    assert prices == [2 if method.learning_rate else 1] + [1] * 14


@pytest.mark.parametrize("optimizer", DIRECTIONS)
def test_every_step_that_is_kept_rises_enough(
    optimizer: Any, points: Points, problem_of: Problems, random_mixture: Random
) -> None:
    algorithm = GradientAscent(optimizer=optimizer).bind(problem_of("diagonal", "conjugate"))
    key, states = jax.random.key(0), []
    state = jax.jit(algorithm.init)(key, random_mixture(points, K, "diagonal", seed=2))
    step = jax.jit(algorithm.step)
    for _ in range(60):
        state, _ = step(key, state)
        states.append(state)
    kept = [(a, b) for a, b in itertools.pairwise(states) if b.iterations > a.iterations]
    assert len(kept) > 15
    for before, after in kept:
        # The search that ended began before this trial; its value and slope are those at the point it left.
        fall = float(before.search.value - after.value)
        moved = ravel_pytree(after.point)[0] - ravel_pytree(before.point)[0]
        if not np.any(moved):
            # It has arrived, to rounding.
            continue
        slope = float(jnp.vdot(before.gradient, moved))
        # Both are differences of numbers of size |value|.
        assert slope < 0 and fall >= -SUFFICIENT * slope - 10 * np.finfo(float).eps * abs(float(after.value))


@jax.jit
def heights(problem: Problem, mixtures: Mixture) -> jax.Array:
    """log_joint of mixtures [R, ...]. [R]"""
    return jax.vmap(problem.log_joint)(mixtures)


@pytest.fixture(scope="module")
def waiting() -> tuple[Problem, Mixture, jax.Array]:
    """Waiting times alone: one column, two clear groups, a curvature that forbids steps of .3 near the optimum.

    Also eight starts, and where EM ends from each.
    """
    problem = Problem(load_dataset("faithful").x[:, 1:], 2, "tied")
    starts = draw_starts(RandomPoints(), problem, 8, seed=11)
    return problem, starts, heights(problem, all_climbed(EM(tolerance=1e-13), problem, starts)[0])


@pytest.mark.parametrize("optimizer", DIRECTIONS)
def test_no_end_is_below_its_start_and_the_optimum_of_em_is_reached(
    optimizer: Any, waiting: tuple[Problem, Mixture, jax.Array]
) -> None:
    problem, starts, em = waiting
    ends, ok, converged = all_climbed(GradientAscent(optimizer=optimizer), problem, starts)
    found = heights(problem, ends)
    assert ok.all() and np.all(found >= heights(problem, starts))
    assert converged.all()
    # 1e-3 nats: a gradient of 1e-6 per point is worth less than 1e-6 nats. Adam's first steps are as long in every
    # coordinate, however small its gradient, which leads some starts onto the plateau of two equal components.
    reached = found >= em - 1e-3
    assert np.sum(reached) >= (4 if optimizer == "adam" else 8)


def test_ascent_takes_the_same_way_in_other_units(points: Points, random_mixture: Random) -> None:
    matrix, shift = np.diag([3e4, 2e-5]), np.array([7.0, -1e3])
    start = random_mixture(points, 2, "full", seed=4)
    ends = []
    for x, begin in ((points, start), (points @ matrix.T + shift, start.affine(matrix, shift))):
        problem = Problem(x, 2, "full", ConjugatePrior())
        algorithm = GradientAscent(optimizer="gradient").bind(problem)
        key = jax.random.key(0)
        state, step = jax.jit(algorithm.init)(key, begin), jax.jit(algorithm.step)
        for _ in range(12):
            state, _ = step(key, state)
        ends.append(algorithm.mixture(state))
    here = ends[0].affine(matrix, shift)
    for a, b in zip(jax.tree.leaves(here), jax.tree.leaves(ends[1]), strict=True):
        # Both ways of rounding, a dozen steps on.
        np.testing.assert_allclose(a, b, rtol=1e-7, atol=1e-9 * float(np.max(np.abs(a))))


def test_lbfgs_ends_where_scipys_does(points: Points, problem_of: Problems, random_mixture: Random) -> None:
    problem, start = problem_of("diagonal", "conjugate", 2), random_mixture(points, 2, "diagonal", seed=3)
    chart = Chart.of(problem)
    x, unravel = ravel_pytree(chart.unconstrain(start))
    loss = jax.jit(jax.value_and_grad(lambda y: -problem.log_joint(chart.constrain(unravel(y))) / problem.num_points))
    theirs = minimize(loss, np.asarray(x), jac=True, method="L-BFGS-B", options={"gtol": 1e-7, "ftol": 0.0})
    end, infos = climbed(GradientAscent(), problem, start)
    # Both stop at gradients of 1e-6 per point or less.
    value = float(jax.jit(problem.log_joint)(end))
    assert value == pytest.approx(-theirs.fun * problem.num_points, abs=1e-6)
    # And need about as many passes.
    assert sum(int(info.passes) for info in infos) <= 2 * theirs.nfev


def test_iterations_are_searches_that_ended(points: Points, problem_of: Problems, random_mixture: Random) -> None:
    start = jax.tree.map(lambda leaf: leaf[None], random_mixture(points, K, "diagonal", seed=0))
    method = GradientAscent(optimizer="gradient", max_iterations=10)
    trace = run(method, problem_of("diagonal"), start, jax.random.key(0))
    # The start and ten steps cost a pass each at least, and here some search took a second trial.
    assert 11 < trace.passes[0, -1] <= 1 + 10 * TRIALS
    assert not trace.converged[0] and trace.ok[0, -1]


@pytest.mark.parametrize("optimizer", ["gradient", "lbfgs"])
def test_a_search_that_finds_no_rise_is_a_broken_promise(optimizer: Any) -> None:
    # The slope says down, the values say up, however near: an objective that contradicts its gradient.
    contrary = Objective(lambda x, t: x + t, lambda x, t: (jnp.sum(jnp.abs(x + t)), -jnp.sign(x + t + 1e-9)))
    rule = DIRECTIONS[optimizer]()
    climb, step = at_start(jnp.ones(1), jnp.ones(1), rule), jax.jit(lambda c: trial(c, contrary, rule))
    failures = []
    for _ in range(1 + TRIALS):
        climb, outcome = step(climb)
        failures.append(bool(outcome.failed))
    # The first trial is the start; then every one of the search is paid.
    assert failures == [False] * TRIALS + [True]
    assert float(climb.point[0]) == 1.0


@pytest.mark.parametrize("optimizer", DIRECTIONS)
def test_labels_and_steps_commute(optimizer: Any, points: Points, problem_of: Problems, random_mixture: Random) -> None:
    problem, mixture = problem_of("diagonal"), random_mixture(points, K, "diagonal", seed=1)
    algorithm = GradientAscent(optimizer=optimizer).bind(problem)
    order = np.array([1, 2, 0])

    @jax.jit
    def after_three(start: Mixture) -> Mixture:
        key = jax.random.key(0)
        state = algorithm.init(key, start)
        for _ in range(3):
            state, _ = algorithm.step(key, state)
        return algorithm.mixture(state)

    first, last = after_three(mixture.permute(order)), after_three(mixture).permute(order)
    for a, b in zip(jax.tree.leaves(first), jax.tree.leaves(last), strict=True):
        # Sums over components in another order; Adam divides by the root of small squares.
        np.testing.assert_allclose(a, b, rtol=1e-8, atol=1e-9)


@pytest.mark.parametrize("optimizer", ["adam", "lbfgs"])
def test_a_stationary_start_is_convergence(optimizer: Any, points: Points, random_mixture: Random) -> None:
    # One component's optimum is known: the sample moments.
    problem = Problem(points, 1, "diagonal")
    best, _ = jax.jit(problem.em_step)(random_mixture(points, 1, "diagonal", seed=0))
    algorithm = GradientAscent(optimizer=optimizer).bind(problem)
    key = jax.random.key(0)
    _, info = jax.jit(lambda start: algorithm.step(key, algorithm.init(key, start)))(best)
    assert bool(info.converged) and bool(info.stopped) and bool(info.ok)


def test_a_run_that_leaves_the_numbers_stops_and_says_so(
    points: Points, problem_of: Problems, random_mixture: Random
) -> None:
    problem = problem_of("diagonal")
    algorithm = GradientAscent(optimizer="gradient", learning_rate=1e6).bind(problem)
    key = jax.random.key(0)
    state = jax.jit(algorithm.init)(key, random_mixture(points, K, "diagonal", seed=0))
    step = jax.jit(algorithm.step)
    for _ in range(5):
        state, info = step(key, state)
        if bool(info.stopped):
            break
    assert bool(info.stopped) and not bool(info.ok) and not bool(info.converged)


@pytest.mark.parametrize(("part", "registry"), [("weights", WEIGHTS), ("scales", SCALES)])
def test_every_chart_can_be_chosen(part: str, registry: dict[str, Any]) -> None:
    assert get_args(GradientAscent.model_fields[part].annotation) == tuple(registry)


@pytest.mark.parametrize(("weights", "scales"), [("raw", "log_cholesky"), ("softmax", "raw")])
def test_a_step_out_of_the_mixtures_stops_at_the_last_one_and_says_so(
    weights: Any, scales: Any, points: Points, problem_of: Problems, random_mixture: Random
) -> None:
    problem, start = problem_of("diagonal"), random_mixture(points, K, "diagonal", seed=0)
    # So long a step leaves along the first gradient, whatever it is.
    algorithm = GradientAscent(optimizer="gradient", learning_rate=50.0, weights=weights, scales=scales).bind(problem)
    key = jax.random.key(0)
    begun = jax.jit(algorithm.init)(key, start)
    ended, info = jax.jit(algorithm.step)(key, begun)
    assert bool(info.stopped) and bool(info.collapsed) and not bool(info.ok) and not bool(info.converged)
    for a, b in zip(jax.tree.leaves(algorithm.mixture(ended)), jax.tree.leaves(start), strict=True):
        # To the chart and back.
        np.testing.assert_allclose(a, b, rtol=1e-12)


@pytest.mark.parametrize(
    "bad",
    [{"optimizer": "newton"}, {"learning_rate": 0.0}, {"learning_rate": float("inf")}, {"max_iterations": 0}],
)
def test_settings_out_of_range_are_refused(bad: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=next(iter(bad))):
        GradientAscent(**bad)
