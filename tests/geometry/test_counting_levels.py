"""Passes to several levels are counted on one climb, as they are one by one."""

import jax
import numpy as np
import pytest

from workbench.geometry.coupling import natural_share
from workbench.geometry.rate import Counted, passes_to
from workbench.geometry.singularity import Path, falls, falls_in_rounding
from workbench.methods import EM
from workbench.problem import Problem
from workbench.starts import RandomPoints, draw_starts


def test_levels_counted_together_are_those_counted_alone() -> None:
    x = np.concatenate([np.linspace(-3, 0, 30), np.linspace(1, 4, 30)])
    problem = Problem(x, 2, "tied")
    starts = draw_starts(RandomPoints(), problem, 3, 0)
    mixture = jax.tree.map(lambda leaf: leaf[0], starts)
    step = jax.jit(problem.em_step)
    for _ in range(20):
        mixture = step(mixture)[0]
    best = float(problem.log_joint(mixture))
    levels = np.array([best - 5.0, best - 1.0, best])
    together = passes_to(EM(tolerance=0.0), problem, starts, levels, 400)
    for place, level in enumerate(levels):
        alone = passes_to(EM(tolerance=0.0), problem, starts, level, 400)
        np.testing.assert_array_equal(together.passes[:, place], alone.passes)
        np.testing.assert_array_equal(together.arrived[:, place], alone.arrived)


def test_one_gaussian_is_coupled_in_its_natural_parameters_as_its_sufficient_statistics_are() -> None:
    # In one column the information is the covariance of x and x^2: 1, 2 m and 4 m^2 + 2 for unit variance.
    share = jax.jit(natural_share)
    for m in (0.0, 0.5, 3.0):
        r = 2 * m / np.sqrt(4 * m**2 + 2)
        expected = np.sqrt(2 * r**2) / np.sqrt(2 + 2 * r**2)
        assert float(share(np.array([m]), np.eye(1))) == pytest.approx(expected, abs=1e-9)


def test_a_fall_next_to_a_singularity_is_rounding_and_one_far_from_it_is_not() -> None:
    values = np.array([[0.0, 1.0, 1.0 - 1e-5, 2.0]])

    def path(width: float) -> Path:
        return Path(values, values, np.full((1, 4), np.log(width)))

    assert falls(values) == (1, 3)
    # N eps / width^2 is 2e-3 nats for 10 points at a width of 1e-6, and 2e-11 at a width of .01.
    assert falls_in_rounding(path(1e-6), 10) == 1
    assert falls_in_rounding(path(1e-2), 10) == 0


def test_a_restart_that_climbs_past_the_optimum_did_not_arrive_there() -> None:
    counted = Counted(np.array([[1, 2], [3, 9]]), np.array([[True, True], [True, False]]), np.array([-90.0, -100.0]))
    assert counted.at(-100.0, 1e-8).arrived.tolist() == [[False, False], [True, False]]
    assert counted.at(-100.0, 11.0).arrived.tolist() == counted.arrived.tolist()
