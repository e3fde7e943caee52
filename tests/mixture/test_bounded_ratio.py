"""Hathaway's bound: which mixtures are within it, and an M-step that is the exact maximum within it."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar

from workbench.errors import InputError
from workbench.methods import METHODS
from workbench.mixture import COVARIANCES, BoundedRatioPrior, FlatPrior, Mixture
from workbench.mixture.prior.bounded_ratio import truncated
from workbench.problem import Problem

K, D = 3, 2
FAMILIES = pytest.mark.parametrize("family", COVARIANCES)
Points = NDArray[np.float64]
Random = Callable[..., Mixture]

log_prior = jax.jit(Problem.log_prior)


def ratio_of(mixture: Mixture, problem: Problem) -> float:
    """Largest eigenvalue over the smallest of all covariances, whitened by the family's units."""
    inverse = np.linalg.inv(np.asarray(problem.rows.matrix))
    values = np.linalg.eigvalsh(inverse @ np.asarray(mixture.covariances) @ inverse.T)
    return float(values.max() / values.min())


@FAMILIES
def test_the_density_is_flat_within_the_bound_and_zero_beyond(
    family: str, points: Points, random_mixture: Random
) -> None:
    mixture = random_mixture(points, K, family, seed=0)
    ratio = ratio_of(mixture, Problem(points, K, family))
    for factor, expected in ((1.001, 0.0), (0.999, -np.inf)):
        prior = BoundedRatioPrior(ratio=max(1.0, factor * ratio))
        assert float(log_prior(Problem(points, K, family, prior), mixture)) == expected


@pytest.mark.parametrize("family", ["full", "tied"])
def test_the_bound_moves_with_the_data_under_any_affine_map(
    family: str, points: Points, random_mixture: Random
) -> None:
    mixture, matrix = random_mixture(points, K, family, seed=0), np.array([[2.0, 5.0], [-0.1, 30.0]])
    here, there = Problem(points, K, family), Problem(points @ matrix.T, K, family)
    # The condition number of the map times that of the data is about 1e4, times eps.
    assert ratio_of(mixture.affine(matrix), there) == pytest.approx(ratio_of(mixture, here), rel=1e-10)


@pytest.mark.parametrize("seed", range(8))
def test_truncation_finds_the_best_interval(seed: int) -> None:
    rng = np.random.default_rng(seed)
    values, points = np.exp(3 * rng.normal(size=6)), rng.uniform(0.1, 5.0, 6)
    values[: seed // 2] = 0.0  # some variances are exactly zero
    ratio = float(np.exp(rng.uniform(0, 5)))

    def loss(variances: Points) -> float:
        return float(np.sum(points * (np.log(variances) + values / variances)))

    def at(log_m: float) -> float:
        return loss(np.clip(values, np.exp(log_m), ratio * np.exp(log_m)))

    got = np.asarray(truncated(jnp.asarray(values), jnp.asarray(points), jnp.asarray(ratio)))
    starts = np.linspace(-15, 15, 31)
    best = min(minimize_scalar(at, bounds=(a, a + 1), method="bounded").fun for a in starts)
    assert got.max() <= ratio * got.min() * (1 + 1e-12)
    # The search resolves log m to 1e-5, and the loss is flat there. The truncation is no worse than any m searched.
    assert best - 1e-6 < loss(got) <= best + 1e-12 * abs(best)


@pytest.mark.parametrize(("family", "ratio"), [("full", 3.0), ("tied", 1.02), ("diagonal", 2.0), ("spherical", 1.0)])
def test_the_m_step_is_the_maximum_within_the_bound(
    family: str, ratio: float, points: Points, random_mixture: Random
) -> None:
    problem = Problem(points, K, family, BoundedRatioPrior(ratio=ratio))
    mixture = random_mixture(points, K, family, seed=3)
    r = mixture.responsibilities(points)

    @jax.jit
    def expected_log_joint(m: Mixture) -> jax.Array:
        return jnp.sum(r * m.component_log_joint(points)) + problem.log_prior(m)

    new, _ = jax.jit(Problem.em_step)(problem, mixture)
    best = float(expected_log_joint(new))
    assert ratio_of(new, problem) == pytest.approx(ratio, rel=1e-9) and np.isfinite(best)
    rng = np.random.default_rng(0)
    for size in (1e-3, 1e-1):
        for _ in range(20):
            scales = np.asarray(new.scales) * np.exp(size * rng.normal(size=new.scales.shape))
            other = Mixture(new.weights, new.means, jnp.asarray(scales), new.covariance)
            # Outside the bound log_joint is minus infinity; within, no higher up to rounding of 60 terms of size 10.
            assert float(expected_log_joint(other)) <= best + 1e-11 * abs(best)


def test_a_wide_bound_changes_nothing(points: Points, random_mixture: Random, em_step: Any) -> None:
    mixture = random_mixture(points, K, "full", seed=1)
    bounded, flat = (
        em_step(Problem(points, K, "full", prior), mixture)[0] for prior in (BoundedRatioPrior(ratio=1e9), FlatPrior())
    )
    # An eigendecomposition and its inverse, in units changed by a matrix of condition number 1e2.
    np.testing.assert_allclose(bounded.covariances, flat.covariances, rtol=1e-11)


@pytest.mark.parametrize("name", ["ascent", "stochastic_ascent", "newton", "natural_gradient", "riemannian"])
def test_gradient_methods_are_refused_under_the_hard_bound(name: str, points: Points) -> None:
    with pytest.raises(InputError, match=r"a gradient does not vanish .*; use EM"):
        METHODS[name]().check(Problem(points, K, "full", BoundedRatioPrior()))
