"""Mixtures of equal value are distinct optima, unless labels, a plateau or an early stop explain the difference."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from workbench.compare import Comparison, summarise, table
from workbench.compare.optima import same_optimum
from workbench.loop.trace import Trace
from workbench.mixture import Mixture
from workbench.problem import Problem


@pytest.fixture(scope="module")
def square() -> Problem:
    """Four groups of ten points at the corners of a square, the same when the two columns are exchanged."""
    rng = np.random.default_rng(0)
    half = rng.normal(size=(20, 2)) + np.repeat([[4.0, 4.0], [-4.0, -4.0], [4.0, -4.0]], [5, 5, 10], axis=0)
    return Problem(np.concatenate([half, half[:, ::-1]]), 2)


def pair(problem: Problem, column: int) -> Mixture:
    """Two components that part the points by the sign of a column."""
    groups = [problem.x[problem.x[:, column] < 0], problem.x[problem.x[:, column] > 0]]
    covariances = np.stack([np.cov(group.T, bias=True) for group in groups])
    weights = [len(group) / len(problem.x) for group in groups]
    return Mixture.from_covariances(weights, np.stack([group.mean(0) for group in groups]), covariances)


def test_two_mixtures_of_one_value_are_two_optima_and_the_reading_says_so(
    square: Problem, trace_of: Callable[..., Trace]
) -> None:
    across, along = pair(square, 0), pair(square, 1)
    trace = trace_of(square, [[across], [along], [across.permute([1, 0])], [along], [across]])
    # The columns are exchangeable: the values are equal but for rounding.
    assert np.ptp(trace.log_joint) < 1e-9
    comparison = Comparison(square, {"em": trace})
    (found,) = summarise(comparison)
    assert [optimum.restarts for optimum in found.optima] in ([3, 2], [2, 3])
    assert (found.reached_best, found.equal_elsewhere) in ((3, 2), (2, 3))
    assert "starts of em end on the same value and another mixture" in table(comparison).reading


def test_a_permutation_and_a_step_short_of_the_end_are_one_optimum(square: Problem) -> None:
    one = pair(square, 0)
    short = replace(one, means=one.means + 1e-3)
    assert same_optimum(square, one, one.permute([1, 0]))
    assert same_optimum(square, one, short)
    assert not same_optimum(square, one, pair(square, 1))


def test_mixtures_on_one_plateau_are_one_optimum(square: Problem) -> None:
    # One Gaussian twice: the weights are free, and as mixtures of components they lie far apart.
    mean, covariance = square.x.mean(0), np.cov(square.x.T, bias=True)
    halves, tenth = (
        Mixture.from_covariances([w, 1 - w], np.stack([mean] * 2), np.stack([covariance] * 2)) for w in (0.5, 0.1)
    )
    assert same_optimum(square, halves, tenth)
