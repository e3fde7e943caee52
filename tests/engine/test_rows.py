"""Rows: the change to working units and back loses nothing."""

from collections.abc import Callable

import jax
import numpy as np
import pytest
from numpy.typing import NDArray

from workbench.engine.layout import FEWEST, MOST, Layout
from workbench.engine.rows import Rows
from workbench.mixture import COVARIANCES, Covariance, Mixture

FAMILIES = pytest.mark.parametrize("family", COVARIANCES.values(), ids=COVARIANCES)
Points = NDArray[np.float64]


def working_points(rows: Rows) -> Points:
    """Points in working units without the padding. [N, D]"""
    counted = np.asarray(rows.counted)
    return np.concatenate([z[:, :n].T for z, n in zip(np.asarray(rows.z), counted, strict=True)])


@FAMILIES
def test_rows_are_the_points_in_order_in_other_units(family: Covariance, points: Points) -> None:
    rows = Rows.of(points, family)
    back = working_points(rows) @ np.asarray(rows.matrix).T + np.asarray(rows.shift)
    # One product with a matrix and its inverse, of condition below 100; relative to the largest entry.
    np.testing.assert_allclose(back, points, rtol=0, atol=1e-14 * np.max(np.abs(points)))


@FAMILIES
def test_working_data_have_mean_zero_and_unit_variance(family: Covariance, points: Points) -> None:
    z = working_points(Rows.of(points, family))
    np.testing.assert_allclose(z.mean(0), 0.0, atol=1e-13)
    assert np.mean(z**2) == pytest.approx(1.0, rel=1e-13)
    if family.has_correlations:
        np.testing.assert_allclose(z.T @ z / len(z), np.eye(2), atol=1e-13)


@pytest.mark.parametrize("n", [2, MOST - 1, MOST, MOST + 1, 3 * MOST])
def test_every_point_is_counted_once_and_padding_is_zero(n: int) -> None:
    x = np.random.default_rng(n).normal(size=(n, 1))
    rows = Rows.of(x, COVARIANCES["full"])
    assert rows.num_points == n and rows.z.shape[-1] <= MOST
    assert int(np.sum(rows.counted)) == n
    padding = [z[:, k:] for z, k in zip(np.asarray(rows.z), np.asarray(rows.counted), strict=True)]
    assert all(np.all(z == 0) for z in padding)
    np.testing.assert_allclose(rows.total, np.sum(working_points(rows) ** 2), rtol=1e-13)


@FAMILIES
def test_a_mixture_survives_the_way_to_working_units_and_back(
    family: Covariance, points: Points, random_mixture: Callable[..., Mixture]
) -> None:
    rows, mixture = Rows.of(points, family), random_mixture(points, 3, family.name, seed=0)
    back = rows.from_working(rows.to_working(mixture))
    for got, expected in zip(jax.tree.leaves(back), jax.tree.leaves(mixture), strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-12, atol=1e-12)


@FAMILIES
def test_density_in_working_units_differs_by_the_log_determinant(
    family: Covariance, points: Points, random_mixture: Callable[..., Mixture]
) -> None:
    rows, mixture = Rows.of(points, family), random_mixture(points, 3, family.name, seed=0)
    _, expected = np.linalg.slogdet(np.asarray(rows.matrix))
    assert float(rows.log_determinant) == pytest.approx(expected, rel=1e-13)
    working = rows.to_working(mixture).log_density(working_points(rows))
    # Two densities, each about ten operations at a condition number of 1e4.
    np.testing.assert_allclose(working - expected, mixture.log_density(points), rtol=1e-11)


@pytest.mark.parametrize("scale", [1e-150, 1e-6, 1e6, 1e100])
def test_working_rows_do_not_depend_on_the_units_of_the_data(scale: float, points: Points) -> None:
    plain = working_points(Rows.of(points, COVARIANCES["full"]))
    # Powers of ten are not exact in binary: one more relative rounding error of 1e-16, times the condition number.
    np.testing.assert_allclose(working_points(Rows.of(scale * points, COVARIANCES["full"])), plain, atol=1e-11)


@pytest.mark.parametrize("devices", [1, 2, 3])
@pytest.mark.parametrize("row_bytes", [8, 1000, 10**6])
@pytest.mark.parametrize("n", [2, 1000, 4097, 10**6])
def test_chunks_hold_every_row_with_little_padding_and_as_many_for_each_device(
    n: int, row_bytes: int, devices: int
) -> None:
    chunks, size = Layout.of(n, row_bytes, devices)
    assert chunks % devices == 0 and size % 8 == 0 and size <= MOST
    # Sizes are rounded up to a multiple of 8, so each chunk has less than 8 rows of padding.
    assert n <= chunks * size < n + 8 * chunks
    # Chunks of equal size may be half as large as the bound, which is at least `FEWEST`.
    assert size >= min(FEWEST // 2, n // (2 * devices))


@FAMILIES
def test_rows_are_found_by_their_number(family: Covariance, points: Points) -> None:
    rows = Rows.of(points, family)
    index = np.array([0, 59, 7])
    # One product with a matrix and its inverse, of condition below 100; relative to the largest entry.
    np.testing.assert_allclose(rows.at(index), points[index], rtol=0, atol=1e-14 * np.max(np.abs(points)))
