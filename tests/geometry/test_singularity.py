"""Escapes: the slope is minus one for each collapsed point and direction, whatever the others do."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from workbench.errors import InputError
from workbench.geometry.singularity import Flat, escape, fitted_slope
from workbench.mixture import Mixture
from workbench.problem import Problem

Points = NDArray[np.float64]
WIDTHS = np.log(np.geomspace(1e-2, 1e-7, 21))


@pytest.fixture(scope="module")
def cloud() -> Points:
    """40 points of 3 columns in general position, but for rows 0 and 1, which are equal."""
    x = np.random.default_rng(2).normal(size=(40, 3)) * [1.0, 20.0, 0.1] + [5.0, 0.0, 1.0]
    x[1] = x[0]
    return x


@pytest.mark.parametrize(
    ("family", "rows", "theory"),
    [
        ("full", (5,), -3.0),  # one point, three directions
        ("full", (0,), -6.0),  # a tied value counts twice
        ("full", (5, 6, 7), -3.0),  # three points on a plane, one direction
        ("spherical", (5,), -3.0),
    ],
)
def test_the_slope_is_minus_one_for_each_point_and_direction(
    family: str, rows: tuple[int, ...], theory: float, cloud: Points, random_mixture: Callable[..., Mixture]
) -> None:
    problem = Problem(cloud, 2, family)
    found = escape(problem, random_mixture(cloud, 2, family, seed=0), 0, Flat.through(problem, rows), WIDTHS)
    assert found.theory == theory
    # What is left of the other component on the collapsed points is of the order of the width, at most 3e-5.
    assert found.slope == pytest.approx(theory, abs=1e-4)
    assert np.all(np.diff(found.log_likelihoods[10:]) > 0)


@pytest.mark.parametrize("rows", [(5,), (5, 6)])
def test_the_likelihood_on_the_way_is_scipys(
    rows: tuple[int, ...], cloud: Points, random_mixture: Any, reference_log_likelihood: Any
) -> None:
    problem, mixture = Problem(cloud, 2), random_mixture(cloud, 2, "full", seed=0)
    found = escape(problem, mixture, 1, Flat.through(problem, rows), np.log(np.geomspace(0.1, 0.01, 6)))
    root = np.asarray(problem.rows.matrix)
    z = (cloud - cloud.mean(0)) @ np.linalg.inv(root).T
    along = np.linalg.svd((z[rows[1:], :] - z[rows[0]]).T)[0][:, : len(rows) - 1]
    beside = np.eye(3) - along @ along.T
    own = np.linalg.inv(root) @ np.asarray(mixture.covariances)[1] @ np.linalg.inv(root).T
    kept = along @ along.T @ own @ along @ along.T
    covariance = root @ (kept + 0.01**2 * beside) @ root.T
    means = np.stack([mixture.means[0], cloud[rows[0]]])
    narrow = Mixture.from_covariances(mixture.weights, means, np.stack([mixture.covariances[0], covariance]))
    # A component of condition 1e4, in the units of the data.
    assert found.log_likelihoods[-1] == pytest.approx(reference_log_likelihood(narrow, cloud), rel=1e-9)


def test_em_steps_of_the_others_raise_the_curve_and_leave_the_slope(cloud: Points, random_mixture: Any) -> None:
    problem, mixture = Problem(cloud, 2), random_mixture(cloud, 2, "full", seed=0)
    held, settled = (escape(problem, mixture, 0, Flat.through(problem, (5,)), WIDTHS, steps=steps) for steps in (0, 3))
    assert np.all(settled.log_likelihoods >= held.log_likelihoods)
    assert settled.slope == pytest.approx(-3.0, abs=1e-4)


@pytest.mark.parametrize(
    ("family", "rows"),
    [("tied", (0,)), ("diagonal", (3, 4)), ("full", (3, 4, 5, 6)), ("full", ()), ("full", (40,)), ("full", (-1,))],
)
def test_what_no_component_can_shrink_onto_is_refused(family: str, rows: tuple[int, ...], cloud: Points) -> None:
    with pytest.raises(InputError, match="rows: "):
        Flat.through(Problem(cloud, 2, family), rows)


def test_too_few_widths_for_a_slope_are_refused(cloud: Points, random_mixture: Any) -> None:
    problem, mixture = Problem(cloud, 2), random_mixture(cloud, 2, "full", seed=0)
    with pytest.raises(InputError, match="log_sigmas: needs at least 6"):
        escape(problem, mixture, 0, Flat.through(problem, (5,)), WIDTHS[:5])


def test_the_fitted_slope_is_numpys() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(2, 12))
    (expected, _), covariance = np.polyfit(x, y, 1, cov="unscaled")
    residuals = y - np.polyval(np.polyfit(x, y, 1), x)
    error = np.sqrt(covariance[0, 0] * residuals @ residuals / 10)
    assert fitted_slope(x, y) == pytest.approx((expected, error), rel=1e-10)
