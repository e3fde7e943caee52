"""Factors of many small matrices at a time equal NumPy's, whether written out or by LAPACK."""

import numpy as np
import pytest

from workbench.mixture.arithmetic import (
    WRITTEN_OUT,
    lower_inverse,
    lower_root,
    lower_root_of_inverse,
    lower_triangular_of,
    products,
    squares,
)

SIDES = (1, 2, 4, WRITTEN_OUT + 1)


def matrices(side: int) -> np.ndarray:
    """Positive definite matrices stacked along the last axis. [2, D, D, 5]"""
    roots = np.random.default_rng(side).normal(size=(2, 5, side, side)) + 2 * np.eye(side)
    return np.moveaxis(roots @ np.swapaxes(roots, -1, -2), 1, -1)


def first(a: object) -> np.ndarray:
    """Move the last axis before the matrix axes, as NumPy expects."""
    return np.moveaxis(np.asarray(a), -1, 1)


@pytest.mark.parametrize("side", SIDES)
def test_factors_are_those_of_numpy(side: int) -> None:
    a = matrices(side)
    root = np.linalg.cholesky(first(a))
    np.testing.assert_allclose(first(lower_root(a)), root, rtol=1e-10, atol=1e-10)
    np.testing.assert_allclose(first(lower_inverse(lower_root(a))), np.linalg.inv(root), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("side", SIDES)
def test_the_root_of_an_inverse_is_lower_triangular_and_gives_it(side: int) -> None:
    a = matrices(side)
    found = first(lower_root_of_inverse(a))
    np.testing.assert_array_equal(found, np.tril(found))
    np.testing.assert_allclose(np.swapaxes(found, -1, -2) @ found, first(a), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("side", SIDES)
def test_products_squares_and_triangles_are_those_of_numpy(side: int) -> None:
    a, b = matrices(side), matrices(side)[..., ::-1]
    np.testing.assert_allclose(first(products(a, b)), first(a) @ first(b), rtol=1e-12)
    np.testing.assert_allclose(first(squares(a)), np.swapaxes(first(a), -1, -2) @ first(a), rtol=1e-12)
    rows, columns = np.tril_indices(side, -1)
    diagonal = np.moveaxis(np.diagonal(a, axis1=1, axis2=2), -1, 1)
    found = lower_triangular_of(diagonal, a[:, rows, columns])
    np.testing.assert_array_equal(first(found), np.tril(first(a)))


def test_what_is_not_positive_definite_has_no_root() -> None:
    a = np.moveaxis(np.array([[[1.0, 2.0], [2.0, 1.0]]]), 0, -1)
    assert np.isnan(np.asarray(lower_root(a))).any()
