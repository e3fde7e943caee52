"""The named data sets agree with `datasets.json` and can be fitted as they are."""

import hashlib
import json
import re
import subprocess
import sys

import numpy as np
import pytest
from sklearn import datasets as sklearn_datasets

from workbench.data import check_points, dataset_names, describe, load_dataset
from workbench.data.catalogue import sets
from workbench.errors import InputError

NAMES = dataset_names()
EXPECTED = {
    *("faithful", "geyser_azzalini_bowman", "galaxies", "galaxies_mass", "acidity", "iris", "crabs"),
    *("banknote", "diabetes", "wine13", "newcomb", "ruspini", "synth_tr", "pearson_crabs"),
}
LABELS = {
    "iris": {"setosa": 50, "versicolor": 50, "virginica": 50},
    "crabs": {"B.M": 50, "B.F": 50, "O.M": 50, "O.F": 50},
    "banknote": {"genuine": 100, "counterfeit": 100},
    "diabetes": {"normal": 76, "chemical": 36, "overt": 33},
    "wine13": {"1": 59, "2": 71, "3": 48},
    "synth_tr": {"0": 125, "1": 125},
}


def test_catalogue_holds_the_documented_sets() -> None:
    assert set(NAMES) == EXPECTED
    assert len(NAMES) == len(EXPECTED)


@pytest.mark.parametrize("name", NAMES)
def test_file_has_the_recorded_sha256(name: str) -> None:
    about = describe(name)
    assert hashlib.sha256(sets().joinpath(about.file).read_bytes()).hexdigest() == about.sha256


@pytest.mark.parametrize("name", NAMES)
def test_points_have_the_described_shape_columns_and_units(name: str) -> None:
    about, data = describe(name), load_dataset(name)
    assert data.x.shape == (about.num_points, about.dimensions)
    assert data.x.dtype == np.float64
    assert (data.name, data.columns, data.units) == (name, about.columns, about.units)
    assert (data.source, data.notes) == (about.source, about.caveats)


@pytest.mark.parametrize("name", NAMES)
def test_points_can_be_fitted_and_standardised(name: str) -> None:
    data = load_dataset(name)
    check_points(data.x, name, components=10, columns=data.columns)
    z = data.standardise().x
    # The largest mean over sd is 572, so rounding moves a standardised mean by about 572 eps = 1.3e-13.
    np.testing.assert_allclose(z.mean(axis=0), 0, atol=1e-12)
    np.testing.assert_allclose(z.std(axis=0), 1, rtol=1e-12)


@pytest.mark.parametrize("name", NAMES)
def test_every_point_has_the_published_label(name: str) -> None:
    labels = load_dataset(name).labels
    counts = None if labels is None else dict(zip(*np.unique(labels, return_counts=True), strict=True))
    assert counts == LABELS.get(name)


@pytest.mark.parametrize("name", NAMES)
def test_description_says_where_the_numbers_come_from(name: str) -> None:
    about = describe(name)
    for field in (about.units, about.topic, about.source, about.obtained_from, about.licence, about.caveats):
        assert field.strip()
    assert re.search(r"1[89]\d\d", about.source)  # the year of a publication


def test_catalogue_names_no_host_and_no_path() -> None:
    text = sets().joinpath("datasets.json").read_text(encoding="utf-8")
    assert "://" not in text and "\\\\" not in text
    assert not re.search(r"(^|[\s\"'(])[~.]*/\w", text, re.MULTILINE)
    assert not re.search(r"\w\.(org|com|net|io|dev|edu)\b", text)


def test_catalogue_lists_every_file_of_the_folder() -> None:
    present = {entry.name for entry in sets().iterdir()}
    assert present == {describe(name).file for name in NAMES} | {"datasets.json"}


def test_catalogue_counts_rows_and_columns_consistently() -> None:
    for entry in json.loads(sets().joinpath("datasets.json").read_text(encoding="utf-8"))["datasets"]:
        assert entry["n"] == entry["rows"]
        assert entry["d"] == len(entry["feature_columns"])
        assert set(entry["columns"]) == set(entry["feature_columns"]) | set(entry["label_columns"])


def test_crabs_row_number_is_neither_measured_nor_a_label() -> None:
    about = describe("crabs")
    assert about.columns == ("fl", "rw", "cl", "cw", "bd")
    assert about.label_columns == ("sp", "sex")


def test_iris_is_fishers_and_not_the_erroneous_copy() -> None:
    published = sklearn_datasets.load_iris()
    data = load_dataset("iris")
    np.testing.assert_array_equal(data.x, published.data)
    assert data.labels is not None
    assert data.labels.tolist() == published.target_names[published.target].tolist()
    assert len(data.x) - len(np.unique(data.x, axis=0)) == 1  # rows 102 and 143


def test_wine_differs_from_scikit_learn_in_the_two_documented_cells_only() -> None:
    x = load_dataset("wine13").x
    rows, columns = np.nonzero(x != sklearn_datasets.load_wine().data)
    assert (rows + 1).tolist() == [71, 172]
    assert (columns + 1).tolist() == [11, 10]  # hue, intensity


def test_the_two_galaxies_differ_in_the_78th_value_only() -> None:
    right, typed = load_dataset("galaxies").x[:, 0], load_dataset("galaxies_mass").x[:, 0]
    assert sorted(set(right) ^ set(typed)) == [26690, 26960]
    assert typed[77] == 26690


def test_pearsons_crabs_have_the_published_counts_at_the_midpoints() -> None:
    published = "1 3 5 2 7 10 13 19 20 25 40 31 60 62 54 74 84 86 96 85 75 47 43 24 19 9 5 0 1"
    counts = np.array([int(count) for count in published.split()])
    midpoints = 0.5815 + 0.004 * np.arange(29)
    # Decimals of four figures and a sum of two floats: equal up to one rounding error.
    np.testing.assert_allclose(load_dataset("pearson_crabs").x[:, 0], np.repeat(midpoints, counts), rtol=1e-15)
    assert counts.sum() == 1000


@pytest.mark.parametrize("ask", [describe, load_dataset])
def test_unknown_name_gives_the_nearest_spelling_and_all_names(ask: object) -> None:
    assert callable(ask)
    with pytest.raises(InputError, match=r"unknown data set 'faithfull'\. Did you mean 'faithful'") as caught:
        ask("faithfull")
    assert all(name in str(caught.value) for name in NAMES)


def test_data_layer_imports_nothing_slow() -> None:
    # `workbench/__init__.py` may import anything; the test is about what the data layer adds to that.
    code = "import sys, workbench; had = {*sys.modules}; import workbench.data; print(*{*sys.modules} - had)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    added = {module.split(".")[0] for module in done.stdout.split()}
    assert not added & {"jax", "jaxlib", "numpyro", "scipy", "sklearn", "pandas", "matplotlib", "pydantic"}
    inner = {module for module in done.stdout.split() if module.startswith("workbench.")}
    assert {name for name in inner if not name.startswith("workbench.data")} <= {"workbench.errors"}
