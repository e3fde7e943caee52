"""Newton's method: exact curvature, quadratic convergence, steps away from saddles, and a price that counts sweeps."""

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree
from numpy.typing import NDArray
from scipy.optimize import minimize

from workbench.charts import Chart, derivatives
from workbench.errors import InputError
from workbench.methods import NaturalGradient, Newton
from workbench.methods.newton import LARGEST
from workbench.mixture import COVARIANCES, Mixture
from workbench.problem import Problem

K = 2
KEY = jax.random.key(0)

Points = NDArray[np.float64]
Problems = Callable[..., Problem]
Random = Callable[..., Mixture]
Walk = Callable[..., list[Any]]


@pytest.fixture(scope="module")
def walk() -> Walk:
    """States and infos of so many steps; the program is compiled once for each shape."""
    method = Newton(gradient_tolerance=1e-12)
    step = jax.jit(lambda problem, state: method.bind(problem).step(KEY, state))

    def walked(problem: Problem, start: Mixture, steps: int, radius: float = 1.0) -> list[Any]:
        state, taken = method.bind(problem).init(KEY, start)._replace(radius=jnp.asarray(radius)), []
        for _ in range(steps):
            state, info = step(problem, state)
            taken.append((state, info))
        return taken

    return walked


@pytest.mark.slow
def test_the_derivatives_are_those_of_the_density_row_by_row(
    points: Points, problem_of: Problems, random_mixture: Random
) -> None:
    problem, mixture = problem_of("tied", "flat", K), random_mixture(points, K, "tied", seed=0)
    chart = Chart.of(problem, weights="log_ratio")
    x, unravel = ravel_pytree(chart.unconstrain(mixture))

    def one_pass(y: jax.Array) -> jax.Array:
        return problem.log_joint(chart.constrain(unravel(y)))

    def plainly(y: jax.Array) -> jax.Array:
        return jnp.sum(chart.constrain(unravel(y)).log_density(points))

    here = jax.jit(lambda y: derivatives(one_pass, y))(x)
    hessian = jax.jit(jax.jacrev(jax.jacfwd(plainly)))(x)
    np.testing.assert_allclose(here.hessian, hessian, atol=1e-10 * np.max(np.abs(hessian)))  # sums in another order
    np.testing.assert_array_equal(here.hessian, here.hessian.T)
    np.testing.assert_allclose(here.gradient, jax.grad(plainly)(x), atol=1e-10 * np.max(np.abs(hessian)))


@pytest.fixture(scope="module")
def diagonal(problem_of: Problems, points: Points, random_mixture: Random, walk: Walk) -> tuple[Problem, list[Any]]:
    """Twenty-five steps on one problem."""
    problem = problem_of("diagonal", "conjugate", K)
    return problem, walk(problem, random_mixture(points, K, "diagonal", seed=0), 25)


def test_it_ends_where_scipys_trust_region_and_em_end(
    diagonal: tuple[Problem, list[Any]], points: Points, random_mixture: Random, em_step: Any
) -> None:
    problem, taken = diagonal
    chart = Chart.of(problem, weights="log_ratio")
    end = chart.constrain(taken[-1][0].u)
    x, unravel = ravel_pytree(chart.unconstrain(random_mixture(points, K, "diagonal", seed=0)))
    at = jax.jit(
        lambda y: derivatives(lambda z: -problem.log_joint(chart.constrain(unravel(z))) / problem.num_points, y)
    )
    found = minimize(
        lambda y: tuple(np.asarray(a) for a in at(y)[:2]),
        np.asarray(x),
        jac=True,
        hess=lambda y: np.asarray(at(y).hessian),
        method="trust-exact",
        options={"gtol": 1e-10},
    )
    # The objective is flat to 1e-16 there; the coordinates to the root of that.
    assert -found.fun * problem.num_points == pytest.approx(float(problem.log_joint(end)), rel=1e-12)
    np.testing.assert_allclose(ravel_pytree(taken[-1][0].u)[0], found.x, atol=1e-6)
    image, _ = em_step(problem, end)
    for stays, was in zip(jax.tree.leaves(image), jax.tree.leaves(end), strict=True):
        np.testing.assert_allclose(stays, was, rtol=1e-8)  # a gradient of 1e-12 per point


def test_it_converges_quadratically(diagonal: tuple[Problem, list[Any]]) -> None:
    slopes = np.array([float(np.max(np.abs(state.here.gradient))) for state, _ in diagonal[1]])
    begun = int(np.argmax(slopes < 0.1))
    assert np.min(slopes) < 1e-13  # per point: rounding
    for now, following in pairwise(slopes[begun:]):
        assert following <= 5 * now**2 + 1e-13  # the constant seen is 1.1
    # It is seen: some step doubled the digits.
    assert np.any((slopes[begun:-1] > 1e-5) & (slopes[begun + 1 :] < slopes[begun:-1] ** 1.7))


def test_log_joint_never_falls_and_the_infos_say_so(diagonal: tuple[Problem, list[Any]], log_joint: Any) -> None:
    problem, taken = diagonal
    chart = Chart.of(problem, weights="log_ratio")
    values = [float(log_joint(problem, chart.constrain(state.u))) for state, _ in taken]
    assert np.min(np.diff(values)) >= -1e-12 * abs(values[-1])
    assert all(bool(info.ok) for _, info in taken) and bool(taken[-1][1].converged)


def test_a_refused_trial_is_paid_for_and_the_hessian_is_not_looked_up_again(
    points: Points, problem_of: Problems, random_mixture: Random, walk: Walk
) -> None:
    problem, start = problem_of("diagonal", "conjugate", K), random_mixture(points, K, "diagonal", seed=0)
    (first, paid), (_, again) = walk(problem, start, 2, LARGEST)
    # Widths cannot change by a factor of exp(100).
    assert bool(first.known) and float(first.radius) == LARGEST / 4 and bool(paid.ok)
    np.testing.assert_array_equal(ravel_pytree(first.u)[0], ravel_pytree(Newton().bind(problem).init(KEY, start).u)[0])
    assert (int(paid.passes), int(again.passes)) == (2 + 2 * K + 2 * K + K - 1, 1)


def test_passes_are_the_trials_and_the_sweeps_of_the_hessians(
    points: Points, problem_of: Problems, random_mixture: Random, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[None] = []
    likelihood = Problem.log_likelihood

    def counted(self: Problem, mixture: Mixture) -> jax.Array:
        jax.debug.callback(lambda: calls.append(None))
        return likelihood(self, mixture)

    monkeypatch.setattr(Problem, "log_likelihood", counted)
    problem = problem_of("spherical", "flat", K)
    algorithm = Newton(radius=30.0).bind(problem)
    step, state = jax.jit(algorithm.step), algorithm.init(KEY, random_mixture(points, K, "spherical", seed=0))
    parameters, prices = 2 * K + K + K - 1, []
    for _ in range(8):
        calls.clear()
        state, info = step(KEY, state)
        jax.block_until_ready(state)
        jax.effects_barrier()
        # The trial; and, where the point is new, the pass that the Hessian differentiates.
        assert int(info.passes) == len(calls) + parameters * (len(calls) - 1)
        prices.append(int(info.passes))
    assert set(prices) == {1, 2 + parameters}  # steps of both kinds


def test_a_saddle_is_left_along_its_negative_curvature(
    points: Points, problem_of: Problems, random_mixture: Random, walk: Walk, em_step: Any, log_joint: Any
) -> None:
    # Two equal components stay equal under EM, while a diagonal covariance cannot follow the correlation of the points.
    problem, one = problem_of("diagonal", "conjugate", K), random_mixture(points, 1, "diagonal", seed=0)
    saddle = Mixture(jnp.full(K, 1 / K), jnp.repeat(one.means, K, 0), jnp.repeat(one.scales, K, 0), one.covariance)
    for _ in range(50):
        saddle, there = em_step(problem, saddle)
    taken = walk(problem, saddle, 25)
    first, info = taken[0]
    assert float(np.max(np.abs(first.here.gradient))) < 1e-12 and not bool(info.converged)
    end = Newton().bind(problem).mixture(taken[-1][0])
    assert bool(taken[-1][1].converged) and float(log_joint(problem, end)) > float(there) + 1.0


def test_one_component_is_solved_in_a_few_steps(points: Points, random_mixture: Random, walk: Walk) -> None:
    problem = Problem(points, 1)
    taken = walk(problem, random_mixture(points, 1, "full", seed=0), 10)
    end = Newton().bind(problem).mixture(taken[-1][0])
    assert bool(taken[-1][1].converged)
    np.testing.assert_allclose(end.means[0], points.mean(0), rtol=1e-10)  # the sample moments
    np.testing.assert_allclose(end.covariances[0], np.cov(points.T, bias=True), rtol=1e-10)


@pytest.mark.parametrize("method", [Newton(), NaturalGradient()])
def test_more_parameters_than_a_dense_matrix_is_for_are_refused(method: Any) -> None:
    x = np.random.default_rng(0).normal(size=(60, 20))
    method.check(Problem(x, 2))
    with pytest.raises(InputError, match=rf"{method.method} takes at most 500 parameters, .* got 692"):
        method.check(Problem(x, 3))


@pytest.mark.parametrize("bad", [{"radius": 0.0}, {"radius": 2 * LARGEST}, {"gradient_tolerance": -1.0}])
def test_settings_out_of_range_are_refused(bad: dict[str, float]) -> None:
    with pytest.raises(InputError, match=next(iter(bad))):
        Newton(**bad)


@pytest.mark.slow
@pytest.mark.parametrize("prior", ["flat", "conjugate", "independent"])
@pytest.mark.parametrize("family", COVARIANCES)
def test_every_family_and_prior_converges(
    family: str, prior: str, points: Points, problem_of: Problems, random_mixture: Random, walk: Walk
) -> None:
    taken = walk(problem_of(family, prior, K), random_mixture(points, K, family, seed=0), 60)
    assert all(bool(info.ok) for _, info in taken) and any(bool(info.converged) for _, info in taken)
