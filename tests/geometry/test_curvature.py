"""Gradient and Hessian in a chart, against derivatives of the density summed point by point."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import workbench as wb
from workbench.charts import Chart
from workbench.geometry.curvature import curvature_at, places, raveled
from workbench.starts import draw_starts


@pytest.fixture(scope="module")
def problem() -> wb.Problem:
    return wb.Problem(np.random.default_rng(0).normal(size=(40, 2)), 3, prior=wb.ConjugatePrior())


def start_of(problem: wb.Problem) -> wb.Mixture:
    return jax.tree.map(lambda leaf: leaf[0], draw_starts(wb.RandomPoints(), problem, 1, 3))


@pytest.mark.slow
def test_curvature_is_that_of_the_density_summed_point_by_point(problem: wb.Problem) -> None:
    mixture = start_of(problem)
    u, constrain = raveled(mixture, Chart.of(problem, weights="log_ratio"))

    def plain(v: jax.Array) -> jax.Array:
        built = constrain(v)
        return jnp.sum(built.log_density(problem.x)) + problem.log_prior(built)

    found = curvature_at(problem, mixture)
    # Two sums of 40 terms, and derivatives of both: rounding, relative to the largest entry.
    np.testing.assert_allclose(found.log_joint, plain(u), rtol=1e-12)
    np.testing.assert_allclose(found.gradient, jax.grad(plain)(u), rtol=0, atol=1e-10)
    np.testing.assert_allclose(found.hessian, jax.hessian(plain)(u), rtol=0, atol=1e-9)
    assert np.array_equal(found.hessian, found.hessian.T)


@pytest.mark.parametrize("family", wb.mixture.COVARIANCES)
def test_every_coordinate_has_its_place(family: str) -> None:
    x = np.random.default_rng(0).normal(size=(40, 2))
    problem = wb.Problem(x, 3, family)
    chart, mixture = Chart.of(problem), start_of(problem)
    found, u = places(mixture, chart), raveled(mixture, chart)[0]
    assert found.parameter.shape == found.component.shape == u.shape
    # Moving the coordinates of one component moves the parameters of no other, but for the weights' sum.
    mine = (found.component == 1) & (found.parameter > 0)
    moved = raveled(mixture, chart)[1](u + 0.1 * mine)
    same = np.all(np.isclose(moved.means, mixture.means), axis=1)
    np.testing.assert_array_equal(same, [True, False, True])
    assert (found.component == -1).any() == problem.covariance.is_shared
