"""Gradient ascent: an honest price for every trial of a line search, and steps that do not care about labels."""

from collections.abc import Callable
from typing import Any, get_args

import jax
import numpy as np
import pytest
from numpy.typing import NDArray
from pydantic import ValidationError

from workbench.charts import SCALES, WEIGHTS
from workbench.methods import GradientAscent
from workbench.methods.gradient_ascent import LEARNING_RATES, LINE_SEARCH_TRIALS
from workbench.mixture import Mixture
from workbench.problem import Problem

K = 3
OPTIMIZERS = (*LEARNING_RATES, "lbfgs")
Points = NDArray[np.float64]
Random = Callable[..., Mixture]
Problems = Callable[..., Problem]


def test_every_optimizer_has_a_learning_rate_or_searches_its_own() -> None:
    assert set(get_args(GradientAscent.model_fields["optimizer"].annotation)) == set(OPTIMIZERS)


@pytest.mark.parametrize("optimizer", ["gradient", "lbfgs"])
def test_passes_are_the_evaluations_of_the_likelihood(
    optimizer: Any,
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
    algorithm = GradientAscent(optimizer=optimizer).bind(problem_of("diagonal"))
    init, step = jax.jit(algorithm.init), jax.jit(algorithm.step)
    key, paid, trials = jax.random.key(0), 0, []
    state = init(key, random_mixture(points, K, "diagonal", seed=0))
    for _ in range(15):
        state, info = step(key, state)
        jax.block_until_ready(state)
        jax.effects_barrier()
        paid += int(info.passes)
        trials.append(int(info.passes))
        assert len(calls) == paid
    if optimizer == "lbfgs":
        # The count means something only where some search needed more than one trial.
        assert max(trials[1:]) > 1 and max(trials) <= 1 + LINE_SEARCH_TRIALS
    else:
        # The gradient at the start is owed by the first step.
        assert trials == [2] + [1] * 14


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_labels_and_steps_commute(optimizer: Any, points: Points, problem_of: Problems, random_mixture: Random) -> None:
    problem, mixture = problem_of("diagonal"), random_mixture(points, K, "diagonal", seed=1)
    algorithm = GradientAscent(optimizer=optimizer).bind(problem)
    order = np.array([1, 2, 0])

    @jax.jit
    def after_three(start: Mixture) -> Mixture:
        key = jax.random.key(0)
        state = algorithm.init(key, start)
        for _ in range(1 if optimizer == "lbfgs" else 3):
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
    best, _ = problem.em_step(random_mixture(points, 1, "diagonal", seed=0))
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
    state = algorithm.init(key, random_mixture(points, K, "diagonal", seed=0))
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
    with pytest.raises(ValidationError, match=next(iter(bad))):
        GradientAscent(**bad)
