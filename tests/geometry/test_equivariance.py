"""A change of units: EM's path is equivariant, and that of ascent only as far as its coordinates are."""

from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

from workbench.geometry.stability import Units, ascent_path, em_path, farthest
from workbench.mixture import Mixture
from workbench.problem import Problem
from workbench.studies.coordinates import CHANGES, matrix_of

STEPS = 5


@pytest.fixture(scope="module", params=CHANGES)
def pair(request: Any, two_groups: Problem, shapes: dict[str, Mixture]) -> tuple[str, Problem, Problem, Any, Any]:
    """The change, the problem in both units, and the start in both."""
    matrix = matrix_of(request.param, 2)
    return (
        request.param,
        two_groups,
        Problem(two_groups.x @ matrix.T, 2),
        shapes["better"],
        shapes["better"].affine(matrix),
    )


def gap_of_ascent(pair: tuple[str, Problem, Problem, Any, Any], units: Units) -> float:
    _, problem, moved, start, there = pair
    rate = jnp.asarray(0.05)
    path = ascent_path(problem, start, rate, units=units, steps=STEPS)
    return float(farthest(problem, path, ascent_path(moved, there, rate, units=units, steps=STEPS), moved))


def test_em_is_affine_equivariant(pair: tuple[str, Problem, Problem, Any, Any]) -> None:
    _, problem, moved, start, there = pair
    gap = farthest(problem, em_path(problem, start, steps=STEPS), em_path(moved, there, steps=STEPS), moved)
    # Rounding of 40 terms, carried through five steps.
    assert float(gap) < 1e-12


def test_ascent_in_data_units_is_not(pair: tuple[str, Problem, Problem, Any, Any]) -> None:
    assert not gap_of_ascent(pair, "data") < 1e-6


def test_working_units_absorb_a_change_of_the_columns_units_but_no_rotation(
    pair: tuple[str, Problem, Problem, Any, Any],
) -> None:
    gap = gap_of_ascent(pair, "working")
    assert gap < 1e-12 if pair[0] == CHANGES[0] else gap > 1e-6


def test_a_rotation_is_one() -> None:
    turned = matrix_of(CHANGES[1], 4)
    np.testing.assert_allclose(turned @ turned.T, np.eye(4), atol=1e-15)
    assert np.linalg.det(turned) == pytest.approx(1.0, rel=1e-14)
