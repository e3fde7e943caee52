"""Starts from a stored model: its values become part of a run's identity, in the units that are fitted."""

import itertools
import shutil
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

import workbench as wb
from workbench.cli import cli
from workbench.experiment import Experiment, read_experiment
from workbench.jobs.experiment import ExperimentJob
from workbench.mixture import Mixture

N, D, K = 40, 2, 2


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of two groups, and a model of them."""
    made = tmp_path_factory.mktemp("warm")
    rng = np.random.default_rng(0)
    x = rng.normal(size=(N, D)) * [1.0, 30.0] + (np.arange(N) % 2)[:, None] * [6.0, 90.0]
    lines = ["a,b", *(f"{a:.6f},{b:.6f}" for a, b in x)]
    (made / "d.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    mixture = Mixture.from_covariances([0.4, 0.6], [[0.0, 1.0], [6.0, 90.0]], [np.diag([1.0, 900.0])] * K, "full")
    mixture.save(made / "model.json", columns=("a", "b"))
    return made


def config_of(folder: Path, starts: str, data: str = "", model: str = "components = 2") -> Path:
    file = folder / "warm.toml"
    text = f'restarts = 2\n[data]\nfile = "d.csv"\n{data}\n[model]\n{model}\n[starts]\n{starts}\n[methods.em]\n'
    file.write_text(text, encoding="utf-8")
    return file


def job_of(file: Path) -> ExperimentJob:
    return ExperimentJob.of(read_experiment(file), "warm", file.parent)


def keys_of(job: ExperimentJob) -> list[str]:
    return [cell.key for cell in job.cells()]


def test_a_run_begins_at_the_model_and_is_known_by_its_values(folder: Path) -> None:
    job = job_of(config_of(folder, 'rule = "given"\nfile = "model.json"'))
    saved = Mixture.load(folder / "model.json")
    (mixture,) = (job.setting._starts(method) for method in job.setting.experiment.methods.values())
    np.testing.assert_array_equal(mixture.means[1], saved.means)
    np.testing.assert_allclose(mixture.scales[1], saved.scales, rtol=1e-14)
    # The identity is that of the values: no path is in it, and another file of the same content changes nothing.
    assert "model.json" not in str(job.identity())
    shutil.copy(folder / "model.json", folder / "copy.json")
    assert keys_of(job_of(config_of(folder, 'rule = "given"\nfile = "copy.json"'))) == keys_of(job)
    shifted = Mixture.from_covariances(saved.weights, np.asarray(saved.means) + 0.5, saved.covariances, "full")
    shifted.save(folder / "copy.json", columns=("a", "b"))
    assert keys_of(job_of(config_of(folder, 'rule = "given"\nfile = "copy.json"'))) != keys_of(job)


@pytest.mark.usefixtures("light")
def test_a_results_folder_stands_for_its_fit_and_a_stored_run_needs_no_file(folder: Path, tmp_path: Path) -> None:
    for name in ("d.csv", "model.json"):
        shutil.copy(folder / name, tmp_path / name)
    cold = config_of(tmp_path, 'rule = "random_points"')
    out = tmp_path / "first"
    runner = CliRunner()
    file = config_of(tmp_path, 'rule = "given"\nfile = "first"')
    none = runner.invoke(cli, ["run", str(file), "--out", str(tmp_path / "second")])
    assert none.exit_code == 2 and "starts.file" in none.output
    cold = config_of(tmp_path, 'rule = "random_points"')
    done = runner.invoke(cli, ["fit", str(cold), "--out", str(out)])
    assert done.exit_code == 0, done.output
    file = config_of(tmp_path, 'rule = "given"\nfile = "first"')
    assert runner.invoke(cli, ["validate", str(file)]).exit_code == 0
    warm = runner.invoke(cli, ["run", str(file), "--out", str(tmp_path / "second")])
    assert warm.exit_code == 0, warm.output
    shutil.rmtree(out)
    again = runner.invoke(cli, ["compare", str(tmp_path / "second")])
    assert again.exit_code == 0, again.output
    (tmp_path / "first").mkdir()
    empty = runner.invoke(cli, ["run", str(file), "--out", str(tmp_path / "third")])
    assert empty.exit_code == 2 and "holds no fit/model.json; `workbench fit FILE --out first`" in empty.output


# Spherical covariances are diagonal in the units of the file where columns are scaled each by its own number.
UNITS = ("divide_by = 10.0", "standardize = true", 'standardize = true\ncolumns = ["a"]')
DAILY = (("full", UNITS[0]), ("full", UNITS[2]), ("spherical", UNITS[1]))


@pytest.mark.usefixtures("light")
@pytest.mark.parametrize(
    ("family", "data"),
    [
        pytest.param(*pair, marks=() if pair in DAILY else pytest.mark.slow)
        for pair in itertools.product(("full", "spherical"), UNITS)
    ],
)
def test_a_model_in_the_units_of_the_file_is_brought_into_those_of_the_fit(
    family: str, data: str, folder: Path, tmp_path: Path
) -> None:
    shutil.copy(folder / "d.csv", tmp_path / "d.csv")
    model = f'components = 2\ncovariance = "{family}"'
    cold = config_of(tmp_path, 'rule = "random_points"', data, model)
    done = CliRunner().invoke(cli, ["fit", str(cold), "--out", str(tmp_path / "out")])
    assert done.exit_code == 0, done.output
    experiment = read_experiment(cold)
    fitted = wb.run_experiment(experiment, name="warm", out=tmp_path / "out", folder=tmp_path)
    end = fitted["em"].best(fitted.problem)
    assert end is not None
    located = read_experiment(config_of(tmp_path, 'rule = "given"\nfile = "out"', data, model)).located(tmp_path)
    drawn = located.starts.draw(fitted.problem, 1, 0)
    # Twice through a change of units, and a factorisation.
    np.testing.assert_allclose(drawn.means[0], end.canonical().means, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(drawn.scales[0], end.canonical().scales, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(
    ("starts", "data", "model", "why"),
    [
        ("model.json", "", "components = 3", "holds 2 components, and model.components = 3"),
        (
            "model.json",
            "",
            'components = 2\ncovariance = "tied"',
            "has full covariances, and model.covariance = 'tied'",
        ),
        ("model.json", 'columns = ["a"]', "components = 2", r"is of 2 columns, and the data have 1: \['a'\]"),
        ("model.json", 'columns = ["b", "a"]', "components = 2", "is of the columns a, b, and the data have b, a"),
        ("none.json", "", "components = 2", "cannot be read"),
        ("d.csv", "", "components = 2", "is not JSON"),
    ],
)
def test_a_model_that_does_not_fit_is_one_message(starts: str, data: str, model: str, why: str, folder: Path) -> None:
    file = config_of(folder, f'rule = "given"\nfile = "{starts}"', data, model)
    with pytest.raises(wb.InputError, match=f"^starts.file: .*{why}"):
        job_of(file)


def test_python_takes_a_file_too(folder: Path) -> None:
    data = wb.read_file(folder / "d.csv")
    problem = wb.Problem(data, K)
    one = wb.compare(problem, "em", restarts=1, starts=wb.Given(file=str(folder / "model.json")))
    other = wb.compare(problem, "em", restarts=1, starts=wb.Mixture.load(folder / "model.json"))
    np.testing.assert_array_equal(one["em"].log_joint, other["em"].log_joint)
    with pytest.raises(wb.InputError, match=r"starts\.file: .* is of 2 columns, and the data have"):
        wb.compare(wb.Problem(data.x[:, :1], K), "em", starts=wb.Given(file=str(folder / "model.json")))
    with pytest.raises(wb.InputError, match="Given: give weights, means and covariances, or file, not both"):
        wb.Given(file="m.json", weights=[1.0])


def test_labellings_of_a_file_are_those_of_its_values(folder: Path) -> None:
    located = read_experiment(config_of(folder, 'rule = "labellings"\nfile = "model.json"')).located(folder)
    assert isinstance(located, Experiment)
    drawn = located.starts.draw(wb.Problem(wb.read_file(folder / "d.csv"), K), 2, 0)
    np.testing.assert_array_equal(drawn.means[1], np.asarray(drawn.means[0])[::-1])
