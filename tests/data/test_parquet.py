"""Points in Parquet and large NPY files give the same numbers as points in memory, or one clear error message."""

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow
import pyarrow.parquet
import pytest
from numpy.typing import NDArray

from workbench.data import Wanted, files, read_file
from workbench.data.moments import moments_of
from workbench.data.parquet import ParquetPoints
from workbench.engine import layout, rows
from workbench.engine.keys import named_key
from workbench.errors import InputError
from workbench.loop.run import run
from workbench.methods import EM
from workbench.problem import Problem
from workbench.starts import RandomPoints, draw_starts

Points = NDArray[np.float64]
N = 1003


@pytest.fixture
def points() -> Points:
    rng = np.random.default_rng(5)
    return np.asarray(rng.normal(size=(N, 2)) + 5.0 * rng.integers(2, size=(N, 1)))


@pytest.fixture
def file(points: Points, tmp_path: Path) -> Path:
    """A file with row groups of 100 rows, with a column of text besides the numbers."""
    path = tmp_path / "points.parquet"
    table = pyarrow.table({"a": points[:, 0], "name": ["x"] * N, "b": points[:, 1]})
    pyarrow.parquet.write_table(table, path, row_group_size=100)
    return path


@pytest.mark.parametrize(("first", "last"), [(0, N), (0, 0), (99, 101), (100, 200), (250, 777), (1000, 5000), (-3, N)])
def test_slices_are_those_of_the_array(first: int, last: int, file: Path, points: Points) -> None:
    lazy = ParquetPoints(file, ("a", "b"))
    assert lazy.shape == points.shape and len(lazy) == N and lazy.nbytes == points.nbytes
    np.testing.assert_array_equal(lazy[first:last], points[first:last])


def test_a_small_file_is_read_whole(file: Path, points: Points) -> None:
    data = read_file(file, columns=["b", "a"])
    assert isinstance(data.x, np.ndarray) and data.columns == ("b", "a")
    np.testing.assert_array_equal(data.x, points[:, ::-1])


@pytest.mark.parametrize("suffix", ["parquet", "npy"])
def test_a_large_file_is_fitted_from_where_it_is(
    suffix: str, file: Path, points: Points, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = Problem(points, 2)
    starts = draw_starts(RandomPoints(), expected, 2, seed=0)
    end = run(EM(), expected, starts, named_key(0, "em")).log_joint[:, -1]
    monkeypatch.setattr(files, "READ_AT_MOST", 0)
    monkeypatch.setattr(rows, "RESIDENT_BYTES", 0)
    monkeypatch.setattr(layout, "READ_BYTES", 4_000)
    np.save(file.with_suffix(".npy"), points)
    data = read_file(file.with_suffix(f".{suffix}"), columns=["a", "b"] if suffix == "parquet" else None)
    problem = Problem(data.x, 2)
    assert problem.rows.stream is not None and problem.num_points == N
    if suffix == "parquet":
        assert isinstance(problem.x, ParquetPoints)
    got = run(EM(), problem, starts, named_key(0, "em")).log_joint[:, -1]
    np.testing.assert_allclose(got, end, rtol=1e-10)


def test_moments_are_numpys(file: Path, points: Points) -> None:
    n, mean, covariance = moments_of(ParquetPoints(file, ("a", "b")))  # type: ignore[arg-type]
    assert n == N
    # Rounding of sums of a thousand terms.
    np.testing.assert_allclose(mean, points.mean(0), rtol=1e-13)
    np.testing.assert_allclose(covariance, np.cov(points.T, ddof=0), rtol=1e-12)


@pytest.mark.parametrize(
    ("columns", "message"),
    [(None, "column 'name' is string, not numeric"), (["a", "z"], "unknown column 'z'. Allowed: a, name, b")],
)
def test_wrong_columns_are_named(columns: list[str] | None, message: str, file: Path) -> None:
    with pytest.raises(InputError, match=message):
        read_file(file, columns=columns)


def test_classes_ids_and_missing_cells_are_those_of_a_table(tmp_path: Path) -> None:
    path = tmp_path / "birds.parquet"
    frame = pd.DataFrame({"a": [1.0, 2.0, None, 4.0], "kind": list("xyxy"), "n": [4, 3, 2, 1]}, index=list("pqrs"))
    frame.to_parquet(path)
    data = read_file(path, wanted=Wanted(label="kind", missing="drop"))
    assert data.columns == ("a", "n") and data.x.tolist() == [[1, 4], [2, 3], [4, 1]]
    assert data.labels is not None and data.labels.tolist() == ["x", "y", "y"]
    # The index, which pandas keeps as a column, names the rows.
    assert data.ids is not None and data.ids.tolist() == ["p", "q", "s"]
    named = read_file(path, wanted=Wanted(["a"], identity="n", missing="drop"))
    assert named.ids is not None and named.ids.tolist() == ["4", "3", "1"]


def test_missing_values_and_damage_are_one_message(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "holes.parquet"
    pyarrow.parquet.write_table(pyarrow.table({"a": [1.0, None, 2.0]}), path)
    with pytest.raises(InputError, match=r"data row 2, column 'a' is missing \(''\); fill it in"):
        read_file(path)
    monkeypatch.setattr(files, "READ_AT_MOST", 0)
    with pytest.raises(InputError, match="column 'a' has missing values in row group 0"):
        read_file(path)
    path.write_bytes(b"PAR1 and nothing else")
    with pytest.raises(InputError, match=r"is not a readable Parquet file \(.*\); write it again"):
        read_file(path)


def test_a_column_of_parquet_is_the_weights(points: Points, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, counts = tmp_path / "counts.parquet", 1 + np.arange(N) % 4
    table = pyarrow.table({"a": points[:, 0], "count": counts, "b": points[:, 1]})
    pyarrow.parquet.write_table(table, path, row_group_size=100)
    for most in (files.READ_AT_MOST, 1):  # in memory, and read by parts
        monkeypatch.setattr(files, "READ_AT_MOST", most)
        data = read_file(path, wanted=Wanted(weights="count"))
        assert data.columns == ("a", "b")
        np.testing.assert_array_equal(data.weights, counts)  # type: ignore[arg-type]
        np.testing.assert_array_equal(np.asarray(data.x), points)
