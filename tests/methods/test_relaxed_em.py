"""Relaxed EM: EM's step at another length, with the rate of the theory, and monotone for lengths up to one."""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.typing import NDArray

from workbench.errors import InputError
from workbench.methods import RelaxedEM
from workbench.methods.em_variants import between
from workbench.mixture import COVARIANCES, Mixture
from workbench.problem import Problem

K = 3
# How far rounding may lower log_joint in one step, relative to its size: as for EM.
FALL = 1e-9
# Each family once, both priors in turn; compiling is what costs.
TURNS = [(family, ("flat", "conjugate")[i % 2]) for i, family in enumerate(COVARIANCES)]
EVERYDAY = 2

Points = NDArray[np.float64]
Problems = Callable[..., Problem]
Random = Callable[..., Mixture]


@partial(jax.jit, static_argnames=("method", "steps"))
def walk(method: RelaxedEM, problem: Problem, start: Mixture, steps: int) -> tuple[Mixture, jax.Array]:
    """The mixture after every step, and the log_joint of the one before it. Leaves [T, ...], [T]"""
    algorithm = method.bind(problem)

    def step(state: Any, _: None) -> Any:
        state, _ = algorithm.step(jax.random.key(0), state)
        return state, (algorithm.mixture(state), state.log_joint)

    return jax.lax.scan(step, algorithm.init(jax.random.key(0), start), None, length=steps)[1]


def test_length_one_is_em(points: Points, problem_of: Problems, random_mixture: Random, em_step: Any) -> None:
    problem, mixture = problem_of("full"), random_mixture(points, K, "full", seed=0)
    path, _ = walk(RelaxedEM(length=1.0), problem, mixture, 5)
    for t in range(5):
        mixture, _ = em_step(problem, mixture)
        for ours, em in zip(jax.tree.leaves(path), jax.tree.leaves(mixture), strict=True):
            # A covariance squared and factored again: some eps, times its condition.
            np.testing.assert_allclose(ours[t], em, rtol=1e-10, atol=1e-10 * np.max(np.abs(em)))


@pytest.mark.parametrize(
    ("family", "prior"),
    [*TURNS[:EVERYDAY], *(pytest.param(*turn, marks=pytest.mark.slow) for turn in TURNS[EVERYDAY:])],
)
def test_a_step_shorter_than_ems_never_falls(
    family: str, prior: str, points: Points, problem_of: Problems, random_mixture: Random
) -> None:
    _, values = walk(RelaxedEM(length=0.6), problem_of(family, prior), random_mixture(points, K, family, seed=0), 40)
    assert np.all(np.isfinite(values)) and np.min(np.diff(values)) >= -FALL * np.max(np.abs(values))


@pytest.mark.parametrize("length", [0.5, 1.3])
def test_the_rate_follows_from_ems_and_the_length(length: float, problem_of: Problems) -> None:
    # EM's rate on faithful waiting, two components of unequal variance, is known: .658. The rest of its spectrum lies
    # so much lower that 1 - length (1 - r) is largest in size for the same direction.
    waiting = Problem(problem_of("full", "flat", 2, "faithful").x[:, 1], 2, "spherical")
    start = Mixture.from_covariances([0.4, 0.6], [[54.0], [80.0]], [30.0, 30.0], "spherical")
    path, _ = walk(RelaxedEM(length=length), waiting, start, 45)
    means = np.asarray(path.means[:, 0, 0])
    moves = np.diff(means)
    # By then the rates are constant to 1e-4, the moves some 1e-8 and their rounding 1e-14; the figure has three digits.
    late = 24 if length > 1 else 38
    assert moves[late] / moves[late - 1] == pytest.approx(1 - length * (1 - 0.658), abs=1e-3)


@pytest.mark.slow
def test_the_steps_commute_with_affine_maps(points: Points, random_mixture: Random) -> None:
    matrix, shift = np.array([[0.3, 2.0], [-1.0, 0.5]]), np.array([5.0, -40.0])
    problem, start = Problem(points, K), random_mixture(points, K, "full", seed=0)
    moved = Problem(points @ matrix.T + shift, K)
    here, _ = walk(RelaxedEM(length=1.5), problem, start, 5)
    there, _ = walk(RelaxedEM(length=1.5), moved, start.affine(matrix, shift), 5)
    last = jax.tree.map(lambda leaf: leaf[-1], here).affine(matrix, shift)
    for a, b in zip(jax.tree.leaves(last), jax.tree.leaves(there), strict=True):
        # Rounding of the units, magnified by a few steps.
        np.testing.assert_allclose(a, b[-1], rtol=1e-8, atol=1e-8 * np.max(np.abs(a)))


def test_a_step_that_would_leave_the_covariances_is_ems(
    points: Points, problem_of: Problems, random_mixture: Random, em_step: Any
) -> None:
    # Ten times as wide as the data: twice EM's step would go below zero.
    problem, start = problem_of("full"), random_mixture(points, K, "full", seed=0, width=10.0)
    image, _ = em_step(problem, start)
    assert not np.all(np.isfinite(between(start, image, 1.9).scales))
    path, _ = walk(RelaxedEM(length=1.9), problem, start, 1)
    for ours, em in zip(jax.tree.leaves(path), jax.tree.leaves(image), strict=True):
        np.testing.assert_allclose(ours[0], em, rtol=1e-13, atol=1e-13 * np.max(np.abs(em)))  # compiled apart


@pytest.mark.parametrize(("length", "promised"), [(1.0, True), (1.5, False)])
def test_a_fall_breaks_a_promise_up_to_length_one(
    length: float, promised: bool, points: Points, random_mixture: Random
) -> None:
    problem, start = Problem(points, K), random_mixture(points, K, "full", seed=0)
    state = RelaxedEM(length=length).bind(problem).init(jax.random.key(0), start)
    for value in (-100.0, -101.0):
        object.__setattr__(problem, "em_step", lambda m, v=value: (m, jnp.asarray(v)))
        state, info = RelaxedEM(length=length).bind(problem).step(jax.random.key(0), state)
    assert bool(info.ok) is not promised and not bool(info.converged) and int(info.passes) == 1


def test_a_step_into_a_singular_covariance_is_collapse(points: Points) -> None:
    x = np.concatenate([np.zeros(10), points[:, 0] + 50.0])
    start = Mixture.from_covariances([0.2, 0.8], [[0.0], [53.0]], [1.0, 10.0], "spherical")
    algorithm = RelaxedEM().bind(Problem(x, 2, "spherical"))
    state, info = jax.jit(algorithm.step)(jax.random.key(0), algorithm.init(jax.random.key(0), start))
    assert bool(info.collapsed) and bool(info.stopped) and not bool(info.converged)
    for kept, old in zip(jax.tree.leaves(algorithm.mixture(state)), jax.tree.leaves(start), strict=True):
        np.testing.assert_array_equal(kept, old)


def test_what_em_refuses_is_refused(problem_of: Problems) -> None:
    with pytest.raises(InputError, match="no closed-form M-step"):
        RelaxedEM().check(problem_of("full", "independent"))


@pytest.mark.parametrize("length", [0.0, 2.0, float("nan")])
def test_lengths_beyond_the_stable_ones_are_refused(length: float) -> None:
    with pytest.raises(InputError, match="length"):
        RelaxedEM(length=length)
