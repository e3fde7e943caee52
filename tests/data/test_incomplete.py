"""Points with missing cells: patterns, checks, and the Gaussian that completes them."""

import numpy as np
import pytest
from scipy.optimize import approx_fprime
from scipy.stats import multivariate_normal

from workbench.data.incomplete import Patterns, check_incomplete, check_pairs, completed_by_gaussian
from workbench.data.moments import moments_of
from workbench.errors import InputError

N, D = 60, 3
MIXED = np.array([[1.0, 0.6, -0.4], [0.0, 1.0, 0.5], [0.0, 0.0, 1.0]])


@pytest.fixture
def x() -> np.ndarray:
    """Correlated points in units far apart, a fifth of whose cells are missing. [N, D]"""
    rng = np.random.default_rng(0)
    whole = rng.normal(size=(N, D)) @ MIXED * [1.0, 1e3, 1e-2] + [0.0, 1e4, 5.0]
    lost = rng.random((N, D)) < 0.2
    lost[np.all(lost, axis=1)] = False
    return np.where(lost, np.nan, whole)


def observed_log_likelihood(x: np.ndarray, mean: np.ndarray, covariance: np.ndarray) -> float:
    """Of the cells that are there, row by row."""
    rows = [(row[there], there) for row, there in zip(x, ~np.isnan(x), strict=True)]
    return float(sum(multivariate_normal(mean[t], covariance[np.ix_(t, t)]).logpdf(r) for r, t in rows))


def test_rows_with_the_same_cells_share_a_pattern_and_every_row_has_one(x: np.ndarray) -> None:
    patterns = Patterns.of(x)
    assert len(np.unique(patterns.observed, axis=0)) == len(patterns.observed)
    assert sorted(np.concatenate(patterns.members)) == list(range(N))
    for observed, members in zip(patterns.observed, patterns.members, strict=True):
        np.testing.assert_array_equal(~np.isnan(x[members]), np.broadcast_to(observed, (len(members), D)))
    sizes = [len(members) for members in patterns.members]
    assert sizes == sorted(sizes, reverse=True)


def test_no_direction_raises_the_likelihood_of_the_gaussian_that_is_found(x: np.ndarray) -> None:
    x = (x - np.nanmean(x, axis=0)) / np.nanstd(x, axis=0)  # SciPy takes columns of units far apart for collinear ones
    moments, _ = completed_by_gaussian(x)
    i, j = np.tril_indices(D)

    def moved(step: np.ndarray) -> float:
        """At a step of the mean, and of the covariance's entries."""
        change = np.zeros((D, D))
        change[i, j] = change[j, i] = step[D:]
        return observed_log_likelihood(x, moments.mean + step[:D], moments.covariance + change)

    slope = approx_fprime(np.zeros(D + len(i)), moved, 1e-6)
    # Differences of a curvature of some N over a step of 1e-6, and EM's tolerance.
    assert np.max(np.abs(slope)) < 20 * N * 1e-6


def test_without_a_missing_cell_the_moments_are_those_of_the_points(x: np.ndarray) -> None:
    whole = x[~np.any(np.isnan(x), axis=1)]
    moments, completed = completed_by_gaussian(whole)
    np.testing.assert_allclose(moments.covariance, moments_of(whole).covariance, rtol=1e-11)
    np.testing.assert_array_equal(completed, whole)


def test_a_missing_cell_is_completed_by_its_mean_given_the_others(x: np.ndarray) -> None:
    moments, completed = completed_by_gaussian(x)
    np.testing.assert_array_equal(completed[~np.isnan(x)], x[~np.isnan(x)])
    row = int(np.flatnonzero(np.isnan(x[:, 1]) & ~np.isnan(x[:, 0]) & ~np.isnan(x[:, 2]))[0])
    there, s = [0, 2], moments.covariance
    expected = moments.mean[1] + s[1, there] @ np.linalg.solve(
        s[np.ix_(there, there)], x[row, there] - moments.mean[there]
    )
    # EM stops within 1e-9 standard deviations of the Gaussian that completes.
    assert completed[row, 1] == pytest.approx(expected, abs=1e-7 * np.sqrt(s[1, 1]))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda x: x.__setitem__((4, slice(None)), np.nan), "data row 5: no cell has a value"),
        (lambda x: x.__setitem__((0, 1), np.inf), "data row 1, column 'b' is inf"),
        (lambda x: np.copyto(x[:, 2], 1.0, where=~np.isnan(x[:, 2])), "column 'c' has fewer than two different values"),
    ],
)  # fmt: skip
def test_points_that_no_mixture_can_be_fitted_to_are_refused(x: np.ndarray, change: object, message: str) -> None:
    check_incomplete(x, "x", 2, columns=("a", "b", "c"))
    change(x)  # type: ignore[operator]
    with pytest.raises(InputError, match=message):
        check_incomplete(x, "x", 2, columns=("a", "b", "c"))


def test_columns_that_are_never_there_together_are_named(x: np.ndarray) -> None:
    check_pairs(x, "x", ("a", "b", "c"))
    x[: N // 2, 0] = np.nan
    x[N // 2 :, 2] = np.nan
    with pytest.raises(InputError, match=r"columns 'a' and 'c' have values together in 0 rows.*diagonal"):
        check_pairs(x, "x", ("a", "b", "c"))
