"""Natural gradient ascent: the metric is that of the rows' scores, tends to the curvature, and counts in the price."""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree
from numpy.typing import NDArray

from workbench.charts import Chart, derivatives
from workbench.errors import InputError
from workbench.methods import NaturalGradient
from workbench.methods.natural_gradient import empirical_fisher
from workbench.mixture import COVARIANCES, Mixture
from workbench.problem import Problem

K = 2
KEY = jax.random.key(0)
# Tied covariances are shared and full ones are matrices; compiling is what costs.
EVERYDAY = ("tied", "diagonal")

Points = NDArray[np.float64]
Problems = Callable[..., Problem]
Random = Callable[..., Mixture]


@pytest.mark.parametrize(
    "family", [name if name in EVERYDAY else pytest.param(name, marks=pytest.mark.slow) for name in COVARIANCES]
)
def test_the_metric_is_the_sum_of_the_outer_products_of_the_scores(
    family: str, points: Points, problem_of: Problems, random_mixture: Random
) -> None:
    problem = problem_of(family, "flat", K)
    chart = Chart.of(problem, weights="log_ratio")
    x, unravel = ravel_pytree(chart.unconstrain(random_mixture(points, K, family, seed=0)))

    @jax.jit
    def both(y: jax.Array) -> tuple[jax.Array, jax.Array]:
        def constrain(z: jax.Array) -> Mixture:
            return chart.constrain(unravel(z))

        return empirical_fisher(constrain, y, problem.rows), jax.jacfwd(lambda z: constrain(z).log_density(points))(y)

    metric, scores = both(x)
    np.testing.assert_allclose(metric, scores.T @ scores, atol=1e-11 * np.max(np.abs(metric)))  # another order of sums


def test_a_row_of_known_component_has_the_score_of_its_own_alone(points: Points, random_mixture: Random) -> None:
    known = np.where(np.arange(len(points)) % 3 == 0, np.arange(len(points)) % K, -1)
    problem = Problem(points, K, "diagonal", label_known=known)
    chart = Chart.of(problem, weights="log_ratio")
    x, unravel = ravel_pytree(chart.unconstrain(random_mixture(points, K, "diagonal", seed=0)))

    @jax.jit
    def both(y: jax.Array) -> tuple[jax.Array, jax.Array]:
        def constrain(z: jax.Array) -> Mixture:
            return chart.constrain(unravel(z))

        def terms(z: jax.Array) -> jax.Array:
            joint = constrain(z).component_log_joint(points)
            own = joint[np.arange(len(points)), np.maximum(known, 0)]
            return jax.numpy.where(known < 0, jax.nn.logsumexp(joint, axis=1), own)

        return empirical_fisher(constrain, y, problem.rows), jax.jacfwd(terms)(y)

    metric, scores = both(x)
    np.testing.assert_allclose(metric, scores.T @ scores, atol=1e-11 * np.max(np.abs(metric)))  # another order of sums


@pytest.mark.slow
def test_where_the_model_is_right_the_metric_is_the_curvature() -> None:
    # 20,000 draws of a known mixture: the information matrix equality, to noise of 1 / sqrt(N) times moments of scores.
    truth = Mixture.from_covariances([0.4, 0.6], [[-1.5], [1.5]], [1.0, 0.5], "spherical")
    x, _ = truth.sample(jax.random.key(1), 20_000)
    problem = Problem(np.asarray(x), K, "spherical")
    chart = Chart.of(problem, weights="log_ratio")
    u, unravel = ravel_pytree(chart.unconstrain(truth))

    @jax.jit
    def both(y: jax.Array) -> tuple[jax.Array, jax.Array]:
        def constrain(z: jax.Array) -> Mixture:
            return chart.constrain(unravel(z))

        hessian = derivatives(lambda z: -problem.log_joint(constrain(z)), y).hessian
        return empirical_fisher(constrain, y, problem.rows), hessian

    metric, hessian = both(u)
    ratios = np.linalg.eigvals(np.linalg.solve(metric, hessian)).real
    np.testing.assert_allclose(ratios, 1.0, atol=0.1)


def test_log_joint_never_falls_and_the_score_vanishes_where_it_ends_at_the_stated_price(
    points: Points, problem_of: Problems, random_mixture: Random, em_step: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[None] = []
    likelihood = Problem.log_likelihood

    def counted(self: Problem, mixture: Mixture) -> jax.Array:
        jax.debug.callback(lambda: calls.append(None))
        return likelihood(self, mixture)

    monkeypatch.setattr(Problem, "log_likelihood", counted)
    problem = problem_of("diagonal", "conjugate", K)
    algorithm = NaturalGradient().bind(problem)
    init, step = jax.jit(algorithm.init), jax.jit(algorithm.step)
    state, infos, values = init(KEY, random_mixture(points, K, "diagonal", seed=0)), [], []
    values.append(float(state.value))
    paid, parameters = 0.0, K - 1 + 4 * K
    while len(infos) < 200 and not (infos and bool(infos[-1].stopped)):
        state, info = step(KEY, state)
        jax.block_until_ready(state)
        jax.effects_barrier()
        infos.append(info)
        values.append(float(state.value))
        paid += float(info.passes)
        # Trials of the search and the gradient at the start; a metric for every step.
        assert paid == len(calls) + len(infos) * (1 + parameters / 2)
    assert bool(infos[-1].converged) and all(bool(info.ok) for info in infos)
    assert np.all(np.diff(values) < 0)
    assert np.max(np.abs(state.gradient)) <= 1e-6
    end = algorithm.mixture(state)
    image, _ = em_step(problem, end)
    for stays, was in zip(jax.tree.leaves(image), jax.tree.leaves(end), strict=True):
        np.testing.assert_allclose(stays, was, rtol=1e-4)  # that gradient against the flattest curvature


@pytest.mark.parametrize("bad", [{"damping": 0.0}, {"damping": float("inf")}, {"max_iterations": 0}])
def test_settings_out_of_range_are_refused(bad: dict[str, float]) -> None:
    with pytest.raises(InputError, match=next(iter(bad))):
        NaturalGradient(**bad)  # type: ignore[arg-type]
