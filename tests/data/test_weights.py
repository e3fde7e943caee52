"""Weights of rows: what is refused, what is read from files, and that a row of weight w is w equal rows."""

from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

from workbench.data import Dataset, Wanted, check_weights, check_whole, observed_rows, read_file, ties_of
from workbench.data.moments import moments_of, number_of
from workbench.data.weights import even_rows
from workbench.errors import InputError
from workbench.problem import Problem

X = np.random.default_rng(0).normal(size=(6, 2)).round(1)
WHOLE = np.array([2.0, 1.0, 3.0, 1.0, 4.0, 1.0])
REPEATED = np.repeat(X, WHOLE.astype(int), axis=0)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ([1, 2, 3], r"weights: shape is \(3,\); give one weight for each of 6 rows"),
        ([1, 2, np.nan, 1, 1, 1], "weights: data row 3 is nan; give a finite number, or leave the row out"),
        ([1, np.inf, 1, 1, 1, 1], "weights: data row 2 is inf"),
        ([1, 2, 1, -0.5, 1, 1], "weights: data row 4 is -0.5; a weight counts equal observations; give 0 or more"),
        ([0] * 6, "weights: all are 0, so that no row counts"),
        (list("abcdef"), "weights: dtype is <U1; give numbers"),
        (np.ma.array(np.ones(6), mask=[1, 0, 0, 0, 0, 0]), "weights: is a masked array"),
        (np.full(6, 1 / 6), "weights: sum to 1, and a weight counts equal observations: fewer than 2 .* scale the"),
    ],
)
def test_what_is_no_weight_is_refused(given: Any, says: str) -> None:
    with pytest.raises(InputError, match=says):
        Problem(X, 1, weights=given)


def test_weights_are_taken_from_whatever_holds_numbers() -> None:
    for given in (WHOLE.astype(int), WHOLE.tolist(), jnp.asarray(WHOLE), WHOLE.astype(np.float32), WHOLE > 0):
        np.testing.assert_array_equal(check_weights(given, 6), np.asarray(given, float))


def test_moments_and_ties_are_those_of_the_repeated_rows() -> None:
    ours, theirs = moments_of(X, WHOLE), moments_of(REPEATED)
    assert ours.num_points == theirs.num_points == 12 and isinstance(ours.num_points, int)
    # Sums of a dozen terms in another order.
    np.testing.assert_allclose(ours.mean, theirs.mean, rtol=1e-14)
    np.testing.assert_allclose(ours.covariance, theirs.covariance, rtol=1e-13)
    assert ties_of(X, WHOLE) == ties_of(REPEATED)
    assert number_of(np.array([0.5, 1.0])) == 1.5


def test_rows_of_weight_zero_are_left_out() -> None:
    weights = np.array([0.0, 2.0, 1.0, 0.0, 1.0, 1.0])
    problem = Problem(X, 1, weights=weights)
    np.testing.assert_array_equal(problem.x, X[weights > 0])
    assert problem.num_rows == 4 and problem.num_points == 5
    with pytest.raises(InputError, match="2 rows are fewer than 3 components"):
        Problem(X, 3, weights=[0, 5, 0, 5, 0, 0])


def test_whole_weights_list_every_observation() -> None:
    rng = np.random.default_rng(0)
    np.testing.assert_array_equal(X[observed_rows(WHOLE, 12, rng)], REPEATED)
    np.testing.assert_array_equal(X[even_rows(WHOLE, 12)], REPEATED)
    # Of more observations than wanted, the choice is that of the repeated rows.
    some = REPEATED[np.sort(np.random.default_rng(5).choice(12, 7, replace=False))]
    np.testing.assert_array_equal(X[observed_rows(WHOLE, 7, np.random.default_rng(5))], some)


def test_other_weights_are_rounded_at_random_without_bias() -> None:
    weights = np.array([0.3, 1.7, 2.5, 0.25, 3.25])
    rng = np.random.default_rng(1)
    drawn = np.stack([np.bincount(observed_rows(weights, 100, rng), minlength=5) for _ in range(4000)])
    assert np.all(drawn.sum(axis=1) == 8)  # the sum of the weights
    assert np.all(np.abs(drawn - weights) < 1.0)
    # A count is one of two neighbours, with a standard deviation of at most a half: four standard errors.
    np.testing.assert_allclose(drawn.mean(axis=0), weights, atol=4 * 0.5 / np.sqrt(4000))


def test_what_needs_whole_weights_says_so() -> None:
    with pytest.raises(InputError, match=r"weights: Gibbs needs whole observations, and the weight of row 2 is 0\.5"):
        check_whole(np.array([1.0, 0.5]), "Gibbs")
    problem = Problem(X, 1, weights=WHOLE)
    np.testing.assert_array_equal(problem.observations("this"), REPEATED)


TABLE = "a,b,count,tag\n1,2,3,x\n2,1,0,y\n4,7,1,z\n5,,2,w\n"


def test_a_column_of_a_table_is_the_weights(tmp_path: Path) -> None:
    path = tmp_path / "counts.csv"
    path.write_text(TABLE)
    data = read_file(path, wanted=Wanted(identity="tag", missing="drop", weights="count"))
    assert data.columns == ("a", "b") and data.weights is not None and data.ids is not None
    np.testing.assert_array_equal(data.weights, [3, 0, 1])
    assert data.ids.tolist() == ["x", "y", "z"] and data.counted.x.tolist() == [[1, 2], [4, 7]]


@pytest.mark.parametrize(
    ("wanted", "text", "says"),
    [
        (Wanted(weights="counts"), TABLE, "weights: unknown column 'counts'. Did you mean 'count'"),
        (Wanted(columns=("a", "count"), weights="count"), TABLE, "column 'count' is both weights and in columns"),
        (
            Wanted(columns=("a",), weights="count"),
            TABLE.replace("0,y", "?,y"),
            "data row 2, column 'count' is no number",
        ),
        (Wanted(columns=("a",), weights="count"), TABLE.replace("0,y", "-1,y"), "'count': data row 2 is -1"),
    ],
)
def test_a_column_that_is_no_weights_is_refused(wanted: Wanted, text: str, says: str, tmp_path: Path) -> None:
    path = tmp_path / "counts.csv"
    path.write_text(text)
    with pytest.raises(InputError, match=says):
        read_file(path, wanted=wanted)


def test_arrays_carry_weights_as_a_column_or_beside_the_points(tmp_path: Path) -> None:
    both = np.column_stack([X, WHOLE])
    np.save(tmp_path / "x.npy", both)
    np.savez(tmp_path / "x.npz", x=X, w=WHOLE)
    for path, name in ((tmp_path / "x.npy", "x3"), (tmp_path / "x.npz", "w")):
        data = read_file(path, wanted=Wanted(weights=name))
        np.testing.assert_array_equal(data.x, X)
        np.testing.assert_array_equal(data.weights, WHOLE)  # type: ignore[arg-type]


def test_whole_weights_are_split_as_the_repeated_rows_would_be() -> None:
    data = Dataset("mine", X, ("a", "b"), None, "", "", weights=WHOLE)
    repeated = Dataset("mine", REPEATED, ("a", "b"), None, "", "")
    for part, expected in zip(data.split(0.34, seed=0), repeated.split(0.34, seed=0), strict=True):
        assert part.weights is not None
        np.testing.assert_array_equal(np.repeat(part.x, part.weights.astype(int), axis=0), expected.x)


def test_other_weights_go_with_their_rows() -> None:
    data = Dataset("mine", X, ("a", "b"), None, "", "", weights=WHOLE / 2)
    train, test = data.split(0.34, seed=0)
    assert len(train.x) == 4 and len(test.x) == 2
    for part in (train, test):
        places = [int(np.flatnonzero((row == X).all(axis=1))[0]) for row in part.x]
        np.testing.assert_array_equal(part.weights, WHOLE[places] / 2)  # type: ignore[arg-type]


def test_columns_are_standardised_as_those_of_the_repeated_rows() -> None:
    standard = Dataset("mine", X, ("a", "b"), None, "", "", weights=WHOLE).standardise()
    repeated = Dataset("mine", REPEATED, ("a", "b"), None, "", "").standardise()
    np.testing.assert_allclose(np.repeat(standard.x, WHOLE.astype(int), axis=0), repeated.x, rtol=1e-12)
