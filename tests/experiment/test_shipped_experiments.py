import json
import tomllib
from pathlib import Path

import jsonschema
import pytest

from workbench.data import dataset_names
from workbench.experiment import parse_experiment, read_experiment
from workbench.experiment.sweep import is_sweep, read_sweep
from workbench.jobs.sweep import SweepJob
from workbench.studies.reading import is_study, schema_of_files

FOLDER = Path(__file__).parents[2] / "experiments"
LEDGER = FOLDER / "claims.toml"
SWEEPS = [file for file in sorted(FOLDER.glob("*.toml")) if is_sweep(file)]
FILES = [file for file in sorted(FOLDER.glob("*.toml")) if file not in (LEDGER, *SWEEPS) and not is_study(file)]

# Those that the issue asks for.
PROMISED = {
    "old_faithful",
    "faithful_waiting",
    "galaxies",
    "acidity",
    "iris",
    "simulated_overlap",
    "simulated_separated",
}


@pytest.fixture(scope="module")
def schema() -> dict[str, object]:
    return json.loads((FOLDER / "schema.json").read_text(encoding="utf-8"))


def test_the_promised_experiments_are_shipped():
    assert {file.stem for file in FILES} >= PROMISED


@pytest.mark.parametrize("file", FILES, ids=lambda f: f.stem)
def test_a_shipped_experiment_can_be_solved_by_every_method_it_names(file):
    experiment = read_experiment(file)
    train, heldout = experiment.data.load(experiment.seed, file.parent)
    experiment.check(experiment.problem(train))
    assert (len(heldout.x) > 0) == (experiment.data.test_fraction > 0)


@pytest.mark.parametrize("file", FILES, ids=lambda f: f.stem)
def test_a_shipped_experiment_survives_being_resolved(file):
    experiment = read_experiment(file)
    assert parse_experiment(experiment.resolved(), "resolved") == experiment


@pytest.mark.parametrize("file", SWEEPS, ids=lambda f: f.stem)
def test_a_shipped_sweep_can_be_run(file):
    job = SweepJob(file.stem, read_sweep(file), file.parent)
    job.check()
    assert len(job.cells()) > len(job.swept) > 1


@pytest.mark.parametrize("file", [*FILES, *SWEEPS], ids=lambda f: f.stem)
def test_a_shipped_experiment_names_its_schema_and_says_in_one_comment_what_it_shows(file):
    first, second, third = file.read_text(encoding="utf-8").splitlines()[:3]
    assert first == "#:schema ./schema.json"
    assert second.startswith("# ") and second.endswith(".")
    assert third == ""


def test_the_promised_data_are_those_of_the_experiments():
    used = {read_experiment(file).data.dataset for file in FILES} - {None}
    assert used <= set(dataset_names())
    assert used >= {"faithful", "galaxies", "acidity", "iris"}


@pytest.mark.parametrize("name", ["simulated_overlap", "simulated_separated"])
def test_the_truth_of_a_simulated_experiment_is_known(name):
    train, _ = read_experiment(FOLDER / f"{name}.toml").data.load(0, FOLDER)
    assert train.truth is not None
    assert train.labels is not None


def test_the_labels_of_iris_are_known():
    train, _ = read_experiment(FOLDER / "iris.toml").data.load(0, FOLDER)
    assert set(train.labels) == {"setosa", "versicolor", "virginica"}


def test_the_schema_is_current(schema):
    """Written by `workbench schema > experiments/schema.json`."""
    assert schema == schema_of_files()


def test_the_schema_is_a_schema(schema):
    jsonschema.Draft202012Validator.check_schema(schema)


@pytest.mark.parametrize("file", FILES, ids=lambda f: f.stem)
def test_an_editor_accepts_a_shipped_experiment(schema, file):
    jsonschema.Draft202012Validator(schema).validate(tomllib.loads(file.read_text(encoding="utf-8")))


@pytest.mark.parametrize(
    ("change", "path"),
    [
        ({"sed": 1}, []),
        ({"seed": -1}, ["seed"]),
        ({"model": {"components": "two"}}, ["model", "components"]),
        ({"model": {"components": 2, "covariance": "ful"}}, ["model", "covariance"]),
        ({"prior": {"family": "conjugat"}}, ["prior"]),
    ],
)
def test_an_editor_underlines_a_mistake(schema, change, path):
    values = {"data": {"dataset": "iris"}, "model": {"components": 2}, "methods": {"em": {"method": "em"}}}
    validator = jsonschema.Draft202012Validator(schema)
    assert validator.is_valid(values)
    (error,) = validator.iter_errors(values | change)
    assert list(error.absolute_path) == path
