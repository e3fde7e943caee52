"""Data sets and their points: what is refused, and which properties transformations preserve."""

import dataclasses
import zlib
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.special import logsumexp
from scipy.stats import multivariate_normal

from workbench.data import (
    Dataset,
    Simulator,
    Truth,
    as_points,
    check_points,
    dataset_names,
    load_dataset,
)
from workbench.errors import InputError

SIMULATED = Simulator(3, 3, 40, separation=2.0, imbalance=2.0, anisotropy=3.0).draw(seed=1)


def message_of(call: Callable[[], object]) -> str:
    with pytest.raises(InputError) as caught:
        call()
    return str(caught.value)


def small(x: NDArray[np.float64], units: str = "km/s") -> Dataset:
    return Dataset("small", x, tuple(f"c{d}" for d in range(x.shape[1])), None, units, "made up")


def log_density(truth: Truth, x: NDArray[np.float64]) -> NDArray[np.float64]:
    parts = [multivariate_normal(m, c).logpdf(x) for m, c in zip(truth.means, truth.covariances, strict=True)]
    return np.asarray(logsumexp(np.stack(parts, axis=1), axis=1, b=truth.weights))  # [N]


def truth_of(data: Dataset) -> Truth:
    assert data.truth is not None
    return data.truth


# --- points ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["int8", "uint16", "int64", "float16", "float32", ">f8"])
def test_numeric_types_become_float64_with_the_same_values(dtype: str) -> None:
    x = np.array([[1, 2], [3, 5]], dtype=dtype)
    points = as_points(x)
    assert points.dtype == np.dtype("float64") and points.dtype.isnative
    np.testing.assert_array_equal(points, x)


def test_a_plain_list_is_one_column() -> None:
    np.testing.assert_array_equal(as_points([1, 2, 3]), [[1.0], [2.0], [3.0]])
    assert as_points([]).shape == (0, 1)


@pytest.mark.parametrize(
    ("x", "fragment"),
    [
        (["a", "b"], "<U1"),
        ([True, False], "bool"),
        ([1j, 2j], "complex"),
        ([None, "a"], "object, with 'a' in it"),
        (np.array(["2020-01-01"], dtype="datetime64[D]"), "datetime64"),
    ],
)
def test_a_type_that_is_not_numeric_is_refused(x: object, fragment: str) -> None:
    message = message_of(lambda: as_points(x, "y.npy"))  # type: ignore[arg-type]
    assert message.startswith("y.npy: dtype is") and fragment in message and "give integers or floats" in message


@pytest.mark.parametrize("shape", [(), (2, 3, 4)])
def test_only_one_or_two_axes_are_points(shape: tuple[int, ...]) -> None:
    message = message_of(lambda: as_points(np.ones(shape), "y"))
    assert message.startswith(f"y: shape is {shape}") and "give [N, D]" in message


def test_ragged_rows_are_refused() -> None:
    assert message_of(lambda: as_points([[1.0, 2.0], [3.0]], "y")).startswith("y: rows differ in length")


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_cell_that_is_not_finite_is_named_by_row_and_column(bad: float) -> None:
    x = np.arange(12.0).reshape(6, 2)
    x[3, 1] = bad
    message = message_of(lambda: check_points(x, "a.csv", columns=["u", "v"]))
    assert message.startswith(f"a.csv: data row 4, column 'v' is {bad}") and "remove the row" in message
    assert "column 'x2'" in message_of(lambda: check_points(x, "a.csv"))


def test_a_constant_column_is_named_with_its_value_and_remedy() -> None:
    x = np.column_stack([np.arange(5.0), np.full(5, 0.1)])
    message = message_of(lambda: check_points(x, "a.csv", columns=["u", "v"]))
    assert message.startswith("a.csv: column 'v' is constant (0.1)") and message.endswith("drop it")


@pytest.mark.parametrize(
    ("shape", "components", "fragment"),
    [
        ((5, 0), 1, "no columns; give at least one"),
        ((0, 2), 1, "no rows; give at least 2"),
        ((1, 2), 1, "only one row; give at least 2"),
        ((3, 2), 4, "3 rows are fewer than 4 components; ask for at most 3"),
        ((6,), 1, "shape is (6,); give [N, D]"),
        ((6, 1, 1), 1, "shape is (6, 1, 1); give [N, D]"),
    ],
)
def test_a_shape_that_cannot_be_fitted_is_refused(shape: tuple[int, ...], components: int, fragment: str) -> None:
    x = np.arange(float(np.prod(shape))).reshape(shape)
    message = message_of(lambda: check_points(x, "a.csv", components))
    assert message.startswith("a.csv: ") and fragment in message


def test_as_many_components_as_rows_are_allowed() -> None:
    check_points(np.arange(8.0).reshape(4, 2), "a.csv", components=4)


def test_duplicate_rows_pass_and_stay() -> None:
    x = np.array([[1.0], [1.0], [2.0]])
    check_points(x, "a.csv")
    assert len(small(x).standardise().x) == 3


# --- data sets ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "fragment"),
    [
        ({"x": np.zeros(4)}, "float64 (4,); give as_points(x)"),
        ({"x": np.zeros((4, 2), dtype=np.int64)}, "int64 (4, 2); give as_points(x)"),
        ({"columns": ("u",)}, "1 column names for 2 columns"),
        ({"columns": ("u", "u")}, "column 'u' appears twice"),
        ({"labels": np.array(["a", "b"])}, "labels have shape (2,); give one for each of 4 rows"),
    ],
)
def test_a_data_set_that_contradicts_itself_is_refused(change: dict[str, object], fragment: str) -> None:
    fields: dict[str, object] = {
        **{"name": "mine", "x": np.zeros((4, 2)), "columns": ("u", "v"), "labels": None},
        **{"units": "cm", "source": "made up"},
    }
    message = message_of(lambda: Dataset(**(fields | change)))  # type: ignore[arg-type]
    assert message.startswith("mine: ") and fragment in message


def test_a_data_set_cannot_be_reassigned() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        small(np.zeros((2, 1))).name = "other"  # type: ignore[misc]


@pytest.mark.parametrize("name", dataset_names())
def test_selecting_reorders_columns_and_their_points_alike(name: str) -> None:
    data = load_dataset(name)
    back = data.select(data.columns[::-1])
    assert back.columns == data.columns[::-1]
    np.testing.assert_array_equal(back.x, data.x[:, ::-1])
    assert back.labels is data.labels


@pytest.mark.parametrize(
    ("columns", "fragments"),
    [
        (["waitng"], ["unknown column 'waitng'", "Did you mean 'waiting'?", "Allowed: eruptions, waiting"]),
        (["waiting", "waiting"], ["column 'waiting' appears twice"]),
        ([], ["columns is empty", "eruptions, waiting"]),
        ("waiting", ["must be a list", "['waiting']"]),
    ],
)
def test_a_wrong_selection_is_refused(columns: list[str], fragments: list[str]) -> None:
    message = message_of(lambda: load_dataset("faithful").select(columns))
    assert message.startswith("faithful: ")
    assert all(fragment in message for fragment in fragments)


def test_dividing_by_a_unit_says_so() -> None:
    data = load_dataset("galaxies").divide(1000)
    assert data.units == "1000 km/s"
    assert data.x[0, 0] == 9.172


@pytest.mark.parametrize(
    ("units", "unit", "said"),
    [("none", 10.0, "10"), ("1000 km/s", 0.5, "0.5 x (1000 km/s)"), ("cm", 1234567, "1234567 cm")],
)
def test_units_stay_readable(units: str, unit: float, said: str) -> None:
    assert small(np.ones((2, 1)), units).divide(unit).units == said


@pytest.mark.parametrize("unit", [0.0, -1.0, np.nan, np.inf])
def test_a_unit_must_be_a_positive_number(unit: float) -> None:
    message = message_of(lambda: load_dataset("galaxies").divide(unit))
    assert message == f"galaxies: unit must be a finite number above 0, got {unit!r}"


def test_standardising_a_constant_column_is_refused() -> None:
    x = np.column_stack([np.arange(4.0), np.ones(4)])
    assert "small: column 'c1' is constant (1)" in message_of(small(x).standardise)


@pytest.mark.parametrize("pair", [(0.0, 5e-324), (-1e308, 1e308)])
def test_standardising_outside_float64_is_refused(pair: tuple[float, float]) -> None:
    message = message_of(small(np.array(pair)[:, None]).standardise)
    assert message.startswith("small: column 'c0' has standard deviation") and "divide it first" in message


@pytest.mark.parametrize(
    ("transformed", "log_jacobian"),
    [
        (SIMULATED.divide(2.5), 3 * np.log(2.5)),
        (SIMULATED.standardise(), np.log(SIMULATED.x.std(axis=0)).sum()),
        (SIMULATED.select(["x3", "x1", "x2"]), 0.0),
    ],
    ids=["divide", "standardise", "select"],
)
def test_truth_stays_the_density_of_the_transformed_points(transformed: Dataset, log_jacobian: float) -> None:
    expected = log_density(truth_of(SIMULATED), SIMULATED.x) + log_jacobian
    # Condition numbers of the covariances are below 100, so 1e-12 allows for rounding only.
    np.testing.assert_allclose(log_density(truth_of(transformed), transformed.x), expected, rtol=1e-12, atol=1e-12)


def test_truth_of_fewer_columns_is_the_marginal() -> None:
    truth, part = truth_of(SIMULATED), truth_of(SIMULATED.select(["x3", "x1"]))
    project = np.array([[0.0, 0.0, 1.0], [1.0, 0.0, 0.0]])
    np.testing.assert_array_equal(part.means, truth.means @ project.T)
    np.testing.assert_array_equal(part.covariances, project @ truth.covariances @ project.T)
    np.testing.assert_array_equal(part.weights, truth.weights)


# --- splits ---------------------------------------------------------------------------------------------


def indexed(num_points: int) -> Dataset:
    x = np.arange(float(num_points))[:, None]
    return dataclasses.replace(small(x), labels=np.arange(num_points).astype(np.str_))


@given(st.integers(4, 60), st.floats(0, 0.45), st.integers(0, 10))
def test_a_split_keeps_every_row_once_and_in_order(num_points: int, fraction: float, seed: int) -> None:
    if 0 < fraction * num_points < 0.5:
        fraction = 0.0  # rounds to no test row, which is refused; see below
    train, test = indexed(num_points).split(fraction, seed)
    assert abs(len(test.x) - fraction * num_points) <= 0.5
    assert sorted([*train.x[:, 0], *test.x[:, 0]]) == list(range(num_points))
    for part in (train, test):
        assert (np.diff(part.x[:, 0]) > 0).all()
        assert part.labels is not None
        np.testing.assert_array_equal(part.labels.astype(np.float64), part.x[:, 0])


def test_a_split_depends_on_the_seed_only() -> None:
    def rows(seed: int) -> list[float]:
        return list(indexed(50).split(0.2, seed)[1].x[:, 0])

    assert rows(3) == rows(3)
    assert rows(3) != rows(4)


def test_a_split_draws_from_its_own_generator() -> None:
    # Pinned, so that a stored run can be split again in the same way. The simulator must not share these numbers.
    order = np.random.default_rng([3, zlib.crc32(b"split")]).permutation(50)
    assert set(indexed(50).split(0.2, 3)[1].x[:, 0]) == set(order[:10])


def test_a_larger_test_part_contains_the_smaller() -> None:
    small_part, large_part = (set(indexed(50).split(f, 0)[1].x[:, 0]) for f in (0.1, 0.4))
    assert small_part < large_part


def test_no_test_fraction_gives_an_empty_test_part_and_all_rows_to_train() -> None:
    train, test = SIMULATED.split(0.0, seed=0)
    assert test.x.shape == (0, 3) and test.labels is not None and len(test.labels) == 0
    np.testing.assert_array_equal(train.x, SIMULATED.x)
    assert train.truth is SIMULATED.truth


@pytest.mark.parametrize(
    ("fraction", "seed", "fragment"),
    [
        (1.0, 0, "test_fraction must lie in [0, 1), got 1.0"),
        (-0.1, 0, "test_fraction must lie in [0, 1), got -0.1"),
        (float("nan"), 0, "test_fraction must lie in [0, 1), got nan"),
        (0.01, 0, "test_fraction = 0.01 of 10 rows leaves 10 to train and 0 to test"),
        (0.9, 0, "test_fraction = 0.9 of 10 rows leaves 1 to train and 9 to test"),
        (0.2, -1, "seed must be a whole number of at least 0, got -1"),
        (0.2, True, "seed must be a whole number of at least 0, got True"),
        (0.2, 0.5, "seed must be a whole number of at least 0, got 0.5"),
    ],
)
def test_an_impossible_split_is_refused(fraction: float, seed: int, fragment: str) -> None:
    assert fragment in message_of(lambda: indexed(10).split(fraction, seed))
