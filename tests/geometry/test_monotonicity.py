"""Falling steps are counted: EM has none under any closed-form prior, and EM with a floor has many."""

from collections.abc import Callable

import jax
import numpy as np
import pytest

from workbench.geometry.singularity import falls, path_of
from workbench.loop.run import score
from workbench.methods import EM, FlooredEM
from workbench.mixture import BoundedRatioPrior, ChenTanPrior, Mixture, Prior
from workbench.problem import Problem

STEPS = 40


@pytest.fixture(scope="module")
def x() -> np.ndarray:
    rng = np.random.default_rng(0)
    return np.concatenate([rng.normal(m, 0.1, 20) for m in (-1.0, 0.0, 1.0)])


def test_a_path_is_scored_as_the_judge_scores(x: np.ndarray, batch_at_rows: Callable[..., Mixture]) -> None:
    problem = Problem(x, 3, "spherical", ChenTanPrior())
    starts = batch_at_rows(problem, 2, 0)
    path = path_of(EM(), problem, starts, STEPS)
    assert path.log_joint.shape == (2, STEPS + 1)
    log_joint, log_likelihood = score(problem, jax.tree.map(lambda leaf: np.asarray(leaf)[:, None], starts))
    np.testing.assert_allclose(path.log_joint[:, 0], log_joint[:, 0], rtol=1e-12)
    np.testing.assert_allclose(path.log_likelihood[:, 0], log_likelihood[:, 0], rtol=1e-12)
    # All components are as wide as the data at the start.
    np.testing.assert_allclose(path.log_width[:, 0], 0.0, atol=0.05)


@pytest.mark.parametrize("prior", [ChenTanPrior(strength=1.0), BoundedRatioPrior(ratio=2.0)])
def test_em_never_lowers_log_joint_under_a_remedy(
    prior: Prior, x: np.ndarray, batch_at_rows: Callable[..., Mixture]
) -> None:
    problem = Problem(x, 3, "spherical", prior)
    path = path_of(EM(), problem, batch_at_rows(problem, 4, 0), STEPS)
    assert falls(path.log_joint) == (0, 4 * STEPS)


def test_a_floor_lowers_the_likelihood(x: np.ndarray, batch_at_rows: Callable[..., Mixture]) -> None:
    problem = Problem(x, 3, "spherical")
    path = path_of(FlooredEM(reg_covar=0.05), problem, batch_at_rows(problem, 4, 0), STEPS)
    fallen, steps = falls(path.log_likelihood)
    assert fallen > 0 and steps == 4 * STEPS


def test_rounding_and_steps_that_were_not_taken_are_no_falls() -> None:
    # 1e-12 of the size is 4,500 eps, below the 1e4 that EM's own monitor allows.
    values = np.array([[-100.0, -100.0 * (1 + 1e-12), -99.0, np.nan, np.nan], [-100.0, -101.0, -102.0, -50.0, -50.0]])
    assert falls(values) == (2, 6)
