"""EM with a floor: scikit-learn's steps, and the objectives they do not climb."""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.mixture import GaussianMixture

from workbench.loop.run import run
from workbench.methods import FlooredEM
from workbench.mixture import Mixture
from workbench.problem import Problem

Points = NDArray[np.float64]


@pytest.mark.parametrize(("family", "theirs"), [("full", "full"), ("spherical", "spherical")])
def test_steps_are_scikit_learns(
    family: str, theirs: str, points: Points, problem_of: Callable[..., Problem], random_mixture: Callable[..., Mixture]
) -> None:
    problem, mixture, floor = problem_of(family), random_mixture(points, 3, family, seed=3), 0.5
    precisions = np.linalg.inv(np.asarray(mixture.covariances))
    reference = GaussianMixture(
        3,
        covariance_type=theirs,
        reg_covar=floor,
        tol=0.0,
        max_iter=3,
        weights_init=np.asarray(mixture.weights),
        means_init=np.asarray(mixture.means),
        precisions_init=precisions if family == "full" else precisions[:, 0, 0],
    )
    with pytest.warns(match="did not converge"):
        reference.fit(points)
    step = jax.jit(FlooredEM(reg_covar=floor).map(problem))
    # Its run begins with the E-step at the stated mixture, as ours does.
    for _ in range(3):
        mixture, _ = step(mixture)
    np.testing.assert_allclose(mixture.weights, reference.weights_, rtol=1e-9)
    np.testing.assert_allclose(mixture.means, reference.means_, rtol=1e-9)
    ours = np.asarray(mixture.covariances)
    np.testing.assert_allclose(ours if family == "full" else ours[:, 0, 0], reference.covariances_, rtol=1e-9)


def test_the_likelihood_falls_on_the_way_to_where_it_stops(
    batch_at_rows: Callable[..., Mixture],
) -> None:
    # Three tight groups and a floor of their own size: EM would end above where the floor does.
    rng = np.random.default_rng(0)
    x = np.concatenate([rng.normal(m, 0.1, 20) for m in (-1.0, 0.0, 1.0)])
    problem = Problem(x, 3, "spherical")
    trace = run(FlooredEM(reg_covar=0.05), problem, batch_at_rows(problem, 4, 0), jax.random.key(0))
    assert trace.ok.all() and trace.converged.all()
    falls = np.diff(trace.log_likelihood, axis=1) < -1e-6
    assert np.any(falls)


def test_a_component_on_one_point_stands_on_the_floor(points: Points, problem_of: Any) -> None:
    problem, floor = problem_of("diagonal"), 1e-4
    covariances = np.array([[1e-4, 1e-4], *[np.var(points, axis=0)] * 2])
    start = Mixture.from_covariances([1 / 3] * 3, np.stack([points[0], *points[1:3]]), covariances, "diagonal")
    mixture, _ = jax.jit(FlooredEM(reg_covar=floor).map(problem))(start)
    # The other points are hundreds of deviations away: their responsibilities vanish, and with them the scatter.
    np.testing.assert_allclose(np.asarray(mixture.scales)[0] ** 2, floor, rtol=1e-9)
