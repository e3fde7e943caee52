"""Tables of other packages are points with names of columns: pandas, polars, Arrow, xarray, mappings, structures."""

import sys
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import pandas as pd
import polars as pl
import pyarrow
import pytest
import xarray

import workbench as wb
from workbench.data import fate_of_missing, named_points, read_rows, read_table
from workbench.data.frames import table_of
from workbench.errors import InputError

X = np.array([[1.0, 0.5], [2.0, 1.5], [3.0, 3.5]])
COLUMNS: dict[str, Any] = {"mass": [1, 2, 3], "length": [0.5, 1.5, 3.5]}


class Series:
    """What is used of a column of polars."""

    def __init__(self, name: str, cells: Any) -> None:
        self.name, self.cells = name, np.asarray(cells)

    def to_numpy(self) -> np.ndarray:
        return self.cells


class Frame:
    """What is used of a data frame of polars."""

    def __init__(self, columns: dict[str, Any]) -> None:
        self.columns = columns

    def get_columns(self) -> list[Series]:
        return [Series(*each) for each in self.columns.items()]


class Stream:
    """A table that exports itself through Arrow's C interface alone."""

    def __init__(self, columns: dict[str, Any]) -> None:
        self.table = pyarrow.table(columns)

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        return self.table.__arrow_c_stream__(requested_schema)


def polars(columns: dict[str, Any]) -> Any:
    """A data frame of polars."""
    return pl.DataFrame(columns)


MAKERS: dict[str, Callable[[dict[str, Any]], Any]] = {
    "pandas": pd.DataFrame,
    "nullable": lambda columns: pd.DataFrame(columns).convert_dtypes(),
    "arrow dtypes": lambda columns: pd.DataFrame(columns).convert_dtypes(dtype_backend="pyarrow"),
    "like polars": Frame,
    "polars": polars,
    "arrow": pyarrow.table,
    "record batch": lambda columns: pyarrow.RecordBatch.from_pydict(columns),
    "arrow stream": Stream,
    "xarray set": lambda columns: xarray.Dataset({name: ("row", cells) for name, cells in columns.items()}),
    "mapping": dict,
}
TABLES = pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS)


@TABLES
def test_tables_are_points_with_names(make: Callable[[dict[str, Any]], Any]) -> None:
    points, names = named_points(make(COLUMNS))
    np.testing.assert_array_equal(points, X)
    assert points.dtype == np.float64 and points.flags.c_contiguous and names == ("mass", "length")
    problem = wb.Problem(make(COLUMNS), 1)
    assert problem.columns == ("mass", "length")


@TABLES
def test_classes_ids_and_missing_cells_of_tables_are_as_those_of_files(make: Callable[[dict[str, Any]], Any]) -> None:
    table = make({**COLUMNS, "age": [2.5, None, 4.5], "kind": ["a", "b", "a"], "tag": [7, 8, 9]})
    wanted = wb.Wanted(label="kind", identity="tag", missing="drop")
    data = read_table(table, wanted=wanted, name="birds")
    assert (data.name, data.columns, data.dropped) == ("birds", ("mass", "length", "age"), 1)
    assert data.x.tolist() == [[1, 0.5, 2.5], [3, 3.5, 4.5]]
    assert data.labels is not None and data.ids is not None
    assert (data.labels.tolist(), data.ids.tolist()) == (["a", "a"], ["7", "9"])


@TABLES
def test_words_in_a_table_are_one_message_that_names_their_column(make: Callable[[dict[str, Any]], Any]) -> None:
    table = make({**COLUMNS, "kind": ["a", "b", "a"]})
    expected = r"""3 cells in 3 rows are not numbers \('kind' 3\): data row 1, column 'kind' is 'a'"""
    with pytest.raises(InputError, match=expected) as caught:
        wb.Problem(table, 1)
    assert 'with wb.read_table(x, columns=[...]) or the groups with label="kind"' in str(caught.value)


def test_an_array_of_xarray_has_the_names_of_its_last_axis() -> None:
    named = xarray.DataArray(X, dims=("row", "column"), coords={"column": ["mass", "length"]})
    assert named_points(named)[1] == ("mass", "length")
    plain = xarray.DataArray(X, dims=("row", "column"))
    assert named_points(plain)[1] == ("x1", "x2")
    for table in (named, plain):
        np.testing.assert_array_equal(named_points(table)[0], X)
    waits = xarray.DataArray(X[:, 0], dims="row", name="wait")
    points, names = named_points(waits)
    assert (points.shape, names) == ((3, 1), ("wait",))


def test_a_column_and_a_structured_array_keep_their_names() -> None:
    points, names = named_points(pd.Series([1.0, 2.0], name="wait"))
    assert (points.tolist(), names) == ([[1.0], [2.0]], ("wait",))
    records = np.array([(1, 0.5), (2, 1.5)], dtype=[("mass", int), ("length", float)])
    points, names = named_points(records)
    assert (points.tolist(), names) == ([[1, 0.5], [2, 1.5]], ("mass", "length"))


def test_arrays_have_no_names() -> None:
    for x in (X, X.tolist(), jnp.asarray(X)):
        assert table_of(x, "x") is None
        points, names = named_points(x)
        np.testing.assert_array_equal(points, X)
        assert names is None
    assert read_table(X).columns == ("x1", "x2")


def test_an_index_of_pandas_names_the_rows_unless_it_counts_them() -> None:
    frame = pd.DataFrame(COLUMNS, index=["p", "q", "r"])
    ids = read_table(frame).ids
    assert ids is not None and ids.tolist() == ["p", "q", "r"]
    assert read_table(frame.reset_index(drop=True)).ids is None
    again = pd.DataFrame({"Unnamed: 0": [0, 1, 2], **COLUMNS})
    data = read_table(again)
    assert data.columns == ("mass", "length") and data.ids is not None and data.ids.tolist() == ["0", "1", "2"]


def test_decimals_are_numbers_and_truth_values_dates_and_complex_numbers_are_not() -> None:
    assert read_table({"u": [Decimal("1.5"), Decimal("2.5")]}).x.tolist() == [[1.5], [2.5]]
    for cells in ([True, False], [1 + 2j, 2j], pd.to_datetime(["2020-01-01", "2021-01-01"])):
        with pytest.raises(InputError, match="2 cells in 2 rows are not numbers"):
            read_table(pd.DataFrame({"u": cells}))


def test_what_is_no_table_of_columns_is_told() -> None:
    doubled = pd.DataFrame(X, columns=["u", "u"])
    with pytest.raises(InputError, match="x: names column 'u' twice"):
        wb.Problem(doubled, 1)
    with pytest.raises(InputError, match=r"x: column 'v' has shape \(2,\); give columns of N cells each"):
        wb.Problem({"u": [1.0, 2.0, 3.0], "v": [1.0, 2.0]}, 1)
    with pytest.raises(InputError, match="x: is no table of columns"):
        wb.Problem({"u": [1.0, [2.0, 3.0]]}, 1)


def test_names_reach_messages_and_estimates() -> None:
    rng = np.random.default_rng(3)
    frame = pd.DataFrame(rng.normal(size=(60, 2)) + 6.0 * (np.arange(60) < 30)[:, None], columns=["mass", "length"])
    with pytest.raises(InputError, match="column 'mass' is constant"):
        wb.Problem(frame.assign(mass=1.0), 2)
    assert wb.compare(wb.Problem(frame, 2), "em", restarts=2).columns == ("mass", "length")


def test_excel_is_read_by_pandas_where_it_is_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "birds.xlsx"
    path.write_bytes(b"PK")
    monkeypatch.setitem(sys.modules, "openpyxl", None)
    with pytest.raises(InputError, match=r"install workbench\[excel\], or save the sheet as CSV"):
        read_rows(path, wb.Wanted())
    monkeypatch.undo()
    with pytest.raises(InputError, match="is not a readable Excel file"):
        read_rows(path, wb.Wanted())
    frame = pd.DataFrame({"mass": [1.5, 2.5, None, 4.0], "kind": list("abab"), "code": [1, 2, 3, 4]})
    frame.to_excel(path)
    data = wb.read_file(path, wanted=wb.Wanted(["mass"], "kind", "code", missing="drop"))
    assert data.x.tolist() == [[1.5], [2.5], [4.0]]
    assert data.labels is not None and data.ids is not None
    assert (data.labels.tolist(), data.ids.tolist()) == (["a", "b", "b"], ["1", "2", "4"])
    counted = read_rows(path, wb.Wanted(["code"]))
    assert counted.ids is not None and counted.ids.tolist() == ["0", "1", "2", "3"]


LOST: dict[str, Any] = {"mass": [1.0, 2.0, np.nan, 4.5], "length": [0.5, 1.5, 3.5, 2.0], "kind": list("abab")}


def test_what_becomes_of_missing_cells_is_an_argument(tmp_path: Path) -> None:
    path = tmp_path / "birds.csv"
    pd.DataFrame(LOST).to_csv(path)
    for read in (lambda **asked: read_table(pd.DataFrame(LOST), **asked), lambda **asked: wb.read_file(path, **asked)):
        kept = read(label="kind", missing="marginal")
        np.testing.assert_array_equal(kept.x, np.column_stack([LOST["mass"], LOST["length"]]))
        assert (kept.missing, kept.dropped) == ("marginal", 0)
        whole = read(label="kind", missing="drop")
        assert (whole.missing, whole.dropped, len(whole.x)) == ("refuse", 1, 3)
        with pytest.raises(InputError, match="missing: unknown 'keep'; allowed: refuse, drop, marginal"):
            read(missing="keep")
        with pytest.raises(InputError, match="wanted: stands in place of columns, label, identity and missing"):
            read(missing="drop", wanted=wb.Wanted(label="kind"))


@pytest.mark.parametrize("table", [LOST, np.column_stack([LOST["mass"], LOST["length"]])], ids=["mapping", "array"])
def test_a_missing_cell_is_told_in_the_words_of_python(table: Any) -> None:
    with pytest.raises(InputError) as caught:
        read_table(table, columns=None, label="kind" if isinstance(table, dict) else None)
    assert str(caught.value).endswith(
        "is missing (''); fill it in, leave the row out with missing=\"drop\", let its other cells count with "
        'missing="marginal", or choose columns with columns=[...]'
    )


def test_a_column_of_names_is_told_from_one_of_groups() -> None:
    table = {"tag": [f"b{n}" for n in range(9)] + [None], "kind": list("aabbccaabb"), "mass": list(range(10))}
    with pytest.raises(InputError) as caught:
        wb.Problem(table, 1)
    assert str(caught.value).endswith(
        'name the columns to use with wb.read_table(x, columns=[...]), the groups with label="kind" or the names of '
        'the rows with identity="tag"'
    )
    data = read_table({**table, "tag": [f"b{n}" for n in range(10)]}, label="kind", identity="tag")
    assert data.columns == ("mass",) and data.ids is not None and data.ids[9] == "b9"


@pytest.mark.parametrize(
    ("lost", "missing", "sentence"),
    [
        (2, "drop", "2 rows with missing cells were left out."),
        (1, "drop", "1 row with a missing cell was left out."),
        (2, "marginal", "2 rows with missing cells count by their other cells."),
        (1, "marginal", "1 row with a missing cell counts by its other cells."),
        (0, "drop", ""),
        (0, "marginal", ""),
        (0, "refuse", ""),
    ],
)
def test_what_became_of_rows_with_missing_cells_is_a_sentence(lost: int, missing: Any, sentence: str) -> None:
    x = np.arange(12.0).reshape(6, 2)
    x[:lost, 0] = np.nan
    assert fate_of_missing(read_table(x, missing=missing)) == sentence


def test_a_row_of_weight_0_counts_by_no_cell() -> None:
    table = {"mass": [np.nan, np.nan, 2.0, 4.5], "length": [0.5, 1.5, 3.5, 2.0], "count": [0, 2, 1, 1]}
    data = read_table(table, wanted=wb.Wanted(weights="count", missing="marginal"))
    assert fate_of_missing(data) == "1 row with a missing cell counts by its other cells."


def test_names_that_are_whole_numbers_are_names() -> None:
    x = np.random.default_rng(0).normal(size=(20, 3))
    frame = pd.DataFrame(x).assign(kind="a")
    found = wb.read_table(frame, columns=[2, 0], label="kind")
    assert found.columns == ("2", "0")
    np.testing.assert_array_equal(found.x, x[:, [2, 0]])
    assert wb.read_table(frame, columns=frame.columns[:2]).columns == ("0", "1")
    with pytest.raises(wb.InputError, match=r"unknown column '5'\. Allowed: 0, 1, 2, kind"):
        wb.read_table(frame, columns=[5])


def test_spans_of_time_are_no_numbers() -> None:
    frame = pd.DataFrame({"a": [0.5, 1.5, 3.0], "span": pd.to_timedelta([1, 2, 4], "s")})
    with pytest.raises(wb.InputError, match="3 cells in 3 rows are not numbers"):
        wb.read_table(frame)
    assert wb.read_table(frame, columns=["a"]).columns == ("a",)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"weights": 3}, "weights: give the name of a column as text, got 3"),
        ({"label": ["a"]}, r"label: give the name of a column as text, got \['a'\]"),
        ({"missing": "bogus"}, "missing: unknown 'bogus'; allowed: refuse, drop, marginal"),
        ({"columns": 3}, "columns: give a list of names of columns as text, got 3"),
        ({"exclude": "a"}, "exclude: give a list of names of columns as text, got 'a'"),
    ],
)
def test_what_is_wanted_is_checked_where_it_is_said(values: dict[str, Any], message: str) -> None:
    with pytest.raises(wb.InputError, match=message):
        wb.Wanted(**values)


def test_a_mapping_in_place_of_what_is_wanted_is_refused() -> None:
    wanted: Any = {"label": "a"}
    with pytest.raises(wb.InputError, match=r"wanted must be of type Wanted, got dict \(as wb\.Wanted\(columns="):
        wb.read_table({"a": [1.0, 2.0]}, wanted=wanted)
