"""Every rule of starts on rows with weights."""

import jax
import numpy as np
import pytest

from workbench.problem import Problem
from workbench.starts import STARTS, KMeans, RandomPoints, Stated, draw_starts

K, R = 3, 4
DRAWN = [rule for rule, start in STARTS.items() if not issubclass(start, Stated)]

# They draw a random number for each row, and there are fewer rows.
BY_ROW = ("random_points", "random_responsibilities")


def data() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(40, 2)) + np.repeat([[0, 0], [5, 0], [0, 6], [9, 9]], 10, axis=0)
    return x, rng.integers(1, 4, 40).astype(float)


@pytest.mark.parametrize("rule", [rule for rule in DRAWN if rule not in BY_ROW])
def test_a_start_is_that_of_the_repeated_rows(rule: str) -> None:
    x, weights = data()
    problems = Problem(x, K, weights=weights), Problem(np.repeat(x, weights.astype(int), axis=0), K)
    ours, theirs = (draw_starts(STARTS[rule](), problem, R, seed=0) for problem in problems)
    for one, other in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-9)  # working units differ by rounding


@pytest.mark.parametrize("rule", DRAWN)
def test_rows_of_next_to_no_weight_draw_no_component(rule: str) -> None:
    x, _ = data()
    weights = np.where(np.arange(40) < 30, 1.5, 1e-9)  # the last group hardly counts
    starts = draw_starts(STARTS[rule](), Problem(x, K, weights=weights), R, seed=0)
    assert np.max(np.asarray(starts.means)) < 8.0  # between the last group, at nine, and the others


def test_random_points_are_drawn_by_their_weights() -> None:
    x, weights = data()
    weights[:5] = 200.0
    starts = draw_starts(RandomPoints(), Problem(x, K, weights=weights), 40, seed=0)
    heavy = np.isclose(np.asarray(starts.means)[:, :, None], x[:5], atol=1e-9).all(-1).any((1, 2))
    # The heavy rows hold 93 % of the weight, so that three draws miss them in 1 of 2,700 starts.
    assert np.sum(heavy) >= 38


def test_fractions_are_rounded_at_random() -> None:
    x, weights = data()
    starts = draw_starts(KMeans(), Problem(x, K, weights=0.6 * weights), R, seed=0)
    assert np.all(np.isfinite(np.asarray(starts.means))) and np.all(np.asarray(starts.weights) > 0)
