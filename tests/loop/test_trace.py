"""The trace: results are read off it in the same way for all methods, and the best is the best sound one."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from workbench.errors import InputError
from workbench.loop.trace import Trace, passes_text
from workbench.mixture import Mixture
from workbench.problem import Problem
from workbench.soundness import Soundness

R, T = 3, 4


@pytest.fixture(scope="module")
def problem() -> Problem:
    rng = np.random.default_rng(0)
    return Problem(np.concatenate([rng.normal(size=20), rng.normal(8.0, 1.0, 20)]), 2)


def test_a_trace_of_another_problem_is_refused(problem):
    other = Problem(np.column_stack([problem.x[:, 0], problem.x[::-1, 0] ** 2]), 3, "diagonal")
    message = "problem: has 3 diagonal components in 2 columns, and the trace is of 2 full components in 1 columns"
    with pytest.raises(InputError, match=message):
        trace_of(RISING).best(other)


def trace_of(log_joint: Any, *, deviations: Any = None, draws: int = 0, collapsed: Any = None) -> Trace:
    """A trace with the given scores [R, T] whose mixtures are told apart by their second mean, 8 + r + t / 10."""
    scores = np.asarray(log_joint, float)
    r, t = scores.shape
    place = 8.0 + np.arange(r)[:, None] + np.arange(t) / 10
    scales = np.ones((r, t, 2, 1, 1))
    scales[:, :, 1, 0, 0] = 1.0 if deviations is None else deviations
    means = np.stack([np.zeros((r, t)), place], axis=-1)[..., None]
    family = Mixture.from_covariances([1.0], [[0.0]], [[[1.0]]]).covariance
    return Trace(
        mixtures=Mixture(np.full((r, t, 2), 0.5), means, scales, family),  # type: ignore[arg-type]
        log_joint=scores,
        log_likelihood=scores,
        passes=np.tile(np.arange(t), (r, 1)),
        ok=np.ones((r, t), bool),
        converged=np.ones(r, bool),
        collapsed=np.zeros(r, bool) if collapsed is None else np.asarray(collapsed),
        seconds=np.arange(t, dtype=float),
        compile_seconds=1.0,
        score_seconds=0.5,
        draws=draws,
    )


RISING = np.arange(R * T).reshape(R, T)


def test_shapes_and_ends() -> None:
    trace = trace_of(RISING)
    assert (trace.num_restarts, trace.num_rows, trace.is_sampler) == (R, T, False)
    np.testing.assert_array_equal(trace.ends.means[:, 1, 0], [8.3, 9.3, 10.3])
    assert float(trace.at(1, 2).means[1, 0]) == 9.2


def test_a_point_estimate_answers_with_its_last_mixture_and_a_sampler_with_its_draws() -> None:
    assert trace_of(RISING).answer.weights.shape == (R, 1, 2)
    sampler = trace_of(RISING, draws=3)
    assert sampler.is_sampler and sampler.answer.weights.shape == (R, 3, 2)
    np.testing.assert_array_equal(sampler.answer.means[0, :, 1, 0], [8.1, 8.2, 8.3])


def test_best_is_the_highest_end_and_not_a_row_on_the_way(problem: Problem) -> None:
    scores = np.array([[0.0, 99.0, 1.0, 2.0], [0.0, 1.0, 2.0, 5.0], [0.0, 0.0, 0.0, 4.0]])
    trace = trace_of(scores)
    assert trace.best_place(problem) == (1, 3)
    best = trace.best(problem)
    assert best is not None and isinstance(best.means, jax.Array)
    assert float(best.means[1, 0]) == pytest.approx(9.3)


def test_best_of_a_sampler_is_its_highest_draw(problem: Problem) -> None:
    scores = np.array([[99.0, 1.0, 2.0, 3.0], [0.0, 1.0, 7.0, 5.0]])
    assert trace_of(scores, draws=3).best_place(problem) == (1, 2)


def test_a_spike_is_never_best(problem: Problem) -> None:
    deviations = np.ones((R, T))
    deviations[2, -1] = 1e-8
    assert trace_of(RISING, deviations=deviations).best_place(problem) == (1, 3)


def test_a_restart_that_stopped_on_the_brink_of_collapse_is_never_best(problem: Problem) -> None:
    assert trace_of(RISING, collapsed=[False, False, True]).best_place(problem) == (1, 3)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_score_that_is_not_finite_is_never_best(value: float, problem: Problem) -> None:
    scores = RISING.astype(float)
    scores[2, -1] = value
    assert trace_of(scores).best_place(problem) == (1, 3)


def test_there_is_no_best_where_nothing_is_sound(problem: Problem) -> None:
    trace = trace_of(RISING, deviations=1e-8)
    assert trace.best(problem) is None and trace.best_place(problem) is None


def test_best_follows_the_rule_it_is_given(problem: Problem) -> None:
    deviations = np.ones((R, T))
    deviations[2, -1] = 1e-8
    trace = trace_of(RISING, deviations=deviations)
    anything = Soundness(min_relative_eigenvalue=0.0, min_relative_size=0.0)
    assert trace.best_place(problem, anything) == (2, 3)


def test_equal_scores_give_the_first_restart(problem: Problem) -> None:
    assert trace_of(np.zeros((R, T))).best_place(problem) == (0, 3)


def test_a_trace_is_a_pytree() -> None:
    trace = trace_of(RISING)
    doubled = jax.tree.map(lambda leaf: 2 * jnp.asarray(leaf, float), trace)
    assert isinstance(doubled, Trace) and doubled.draws == trace.draws
    np.testing.assert_array_equal(doubled.log_joint, 2.0 * RISING)


@pytest.mark.parametrize(
    ("passes", "text"),
    [(0, "0"), (7.0, "7"), (1234, "1,234"), (0.00256, "0.00256"), (31.5, "31.5"), (1234.25, "1,234")],
)
def test_prices_read_whole_where_they_are_and_to_three_digits_where_not(passes: float, text: str) -> None:
    assert passes_text(passes) == text
