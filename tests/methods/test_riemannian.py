"""Riemannian ascent: it rises, does not depend on units, counts its trials, and ends at EM's optimum."""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np
import pytest
from numpy.typing import NDArray

from workbench.errors import InputError
from workbench.methods import Riemannian
from workbench.methods.riemannian import unaugment
from workbench.mixture import Mixture
from workbench.problem import Problem

K = 3
KEY = jax.random.key(0)
DIRECTIONS = pytest.mark.parametrize("direction", ["lbfgs", pytest.param("gradient", marks=pytest.mark.slow)])

Points = NDArray[np.float64]
Problems = Callable[..., Problem]
Random = Callable[..., Mixture]
Walk = Callable[..., list[Any]]


@pytest.fixture(scope="module")
def walk() -> Walk:
    """States and infos until it stops or so many steps are taken."""
    steps = {
        direction: jax.jit(lambda problem, state, d=direction: Riemannian(direction=d).bind(problem).step(KEY, state))
        for direction in ("gradient", "lbfgs")
    }
    begin = jax.jit(lambda problem, start: Riemannian().bind(problem).init(KEY, start))

    def walked(direction: str, problem: Problem, start: Mixture, most: int) -> list[Any]:
        state, taken = begin(problem, start), []
        if direction == "gradient":
            state = state._replace(inner=Riemannian(direction="gradient").bind(problem).init(KEY, start).inner)
        while len(taken) < most and not (taken and bool(taken[-1][1].stopped)):
            state, info = steps[direction](problem, state)
            taken.append((state, info))
        return taken

    return walked


@DIRECTIONS
def test_it_rises_at_each_step_and_ends_where_em_stays(
    direction: str, points: Points, problem_of: Problems, random_mixture: Random, walk: Walk, em_step: Any
) -> None:
    problem, start = problem_of("full", "conjugate"), random_mixture(points, K, "full", seed=0)
    taken = walk(direction, problem, start, 400)
    values = [float(state.value) for state, _ in taken]
    assert np.all(np.diff(values) < 0) and all(bool(info.ok) for _, info in taken)
    last, info = taken[-1]
    assert bool(info.converged) and not bool(info.collapsed)
    end, corners = unaugment(last.point, problem.rows)
    # A gradient of 1e-6 per point, against the flattest direction's curvature.
    np.testing.assert_allclose(corners, 1.0, atol=1e-4)
    image, value = em_step(problem, end)
    assert float(value) == pytest.approx(-problem.num_points * values[-1], rel=1e-8)
    for stays, was in zip(jax.tree.leaves(image), jax.tree.leaves(end), strict=True):
        np.testing.assert_allclose(stays, was, rtol=1e-4, atol=1e-4 * np.max(np.abs(was)))


def test_the_steps_commute_with_affine_maps(
    points: Points, problem_of: Problems, random_mixture: Random, walk: Walk
) -> None:
    # The metric does not change under x -> A x + b, a congruence of the augmented matrices.
    matrix, shift = np.array([[0.3, 2.0], [-1.0, 0.5]]), np.array([5.0, -40.0])
    problem, start = problem_of("full", "conjugate"), random_mixture(points, K, "full", seed=1)
    moved = Problem(points @ matrix.T + shift, K, prior=problem.prior)
    here = walk("lbfgs", problem, start, 6)
    there = walk("lbfgs", moved, start.affine(matrix, shift), 6)
    ends = [unaugment(taken[-1][0].point, p.rows)[0] for taken, p in ((here, problem), (there, moved))]
    assert [int(info.passes) for _, info in here] == [int(info.passes) for _, info in there]
    for a, b in zip(jax.tree.leaves(ends[0].affine(matrix, shift)), jax.tree.leaves(ends[1]), strict=True):
        # Rounding of the units, magnified by six quasi-Newton steps.
        np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-6 * np.max(np.abs(a)))


def test_passes_are_the_evaluations_of_the_likelihood(
    points: Points, problem_of: Problems, random_mixture: Random, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[None] = []
    likelihood = Problem.log_likelihood

    def counted(self: Problem, mixture: Mixture) -> jax.Array:
        jax.debug.callback(lambda: calls.append(None))
        return likelihood(self, mixture)

    monkeypatch.setattr(Problem, "log_likelihood", counted)
    algorithm = Riemannian(memory=3).bind(problem_of("full"))
    init, step = jax.jit(algorithm.init), jax.jit(algorithm.step)
    state, paid, trials = init(KEY, random_mixture(points, K, "full", seed=0)), 0, []
    for _ in range(10):
        state, info = step(KEY, state)
        jax.block_until_ready(state)
        jax.effects_barrier()
        paid += int(info.passes)
        trials.append(int(info.passes))
        assert len(calls) == paid
    # The count means something only where some search needed more than one trial.
    assert max(trials[1:]) > 1


@pytest.mark.slow
def test_a_component_that_closes_in_on_a_point_is_collapse(random_mixture: Random, walk: Walk) -> None:
    # Thirty equal rows beside a cloud, no prior: the likelihood has no bound.
    rng = np.random.default_rng(0)
    x = np.concatenate([np.tile([[6.0, 6.0]], (30, 1)), rng.normal(size=(30, 2)), [[6.1, 6.0], [6.0, 6.1]]])
    problem = Problem(x, 2)
    start = Mixture.from_covariances([0.5, 0.5], [[6.0, 6.0], [0.0, 0.0]], np.tile(np.eye(2), (2, 1, 1)))
    _, info = walk("lbfgs", problem, start, 200)[-1]
    assert bool(info.collapsed) and bool(info.stopped) and not bool(info.converged)


@pytest.mark.parametrize("family", ["tied", "diagonal", "spherical"])
def test_other_families_than_full_are_refused(family: str, problem_of: Problems) -> None:
    with pytest.raises(InputError, match=rf"riemannian needs full covariances, got '{family}'"):
        Riemannian().check(problem_of(family))


@pytest.mark.parametrize("bad", [{"direction": "adam"}, {"memory": 0}, {"gradient_tolerance": -1.0}])
def test_settings_out_of_range_are_refused(bad: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=next(iter(bad))):
        Riemannian(**bad)
