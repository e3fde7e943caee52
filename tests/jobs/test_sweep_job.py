"""A sweep from the command line: its cells are those of `run`, one that cannot be is a failure, and all are shown."""

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest
import tomli_w
from click.testing import CliRunner, Result

from workbench.cli import cli
from workbench.experiment import parse_experiment
from workbench.jobs.experiment import Setting
from workbench.jobs.running import Reuse, run_job
from workbench.jobs.store import Store
from workbench.jobs.sweep import SweepJob


def command(*words: object) -> Result:
    return CliRunner().invoke(cli, [str(word) for word in words], prog_name="workbench", catch_exceptions=False)


@pytest.fixture
def base(tiny: dict[str, Any]) -> dict[str, Any]:
    return {**tiny, "methods": {"em": tiny["methods"]["em"]}}


@pytest.fixture
def file(base: dict[str, Any], tmp_path: Path) -> Path:
    """Two seeds of one method."""
    path = tmp_path / "mine.toml"
    path.write_text(tomli_w.dumps({**base, "sweep": {"grid": {"seed": [0, 1]}}}), encoding="utf-8")
    return path


def rows(folder: Path) -> list[dict[str, str]]:
    result = command("table", folder, "--format", "csv")
    assert result.exit_code == 0
    return list(csv.DictReader(io.StringIO(result.stdout)))


def test_every_cell_is_a_row_and_the_page_and_the_figure_show_them(file, tmp_path):
    out = tmp_path / "out"
    result = command("run", file, "--out", out)
    assert result.exit_code == 0, result.output
    assert "2 cells; " in result.stdout
    assert {(row["method"], row["seed"], row["state"]) for row in rows(out)} == {("em", s, "done") for s in "01"}
    assert all(float(row["passes"]) > 0 and float(row["log_joint"]) < 0 for row in rows(out))
    (job,) = (out / "jobs").glob("sweep-*.toml")
    page = (out / "pages" / f"{job.stem}.html").read_text(encoding="utf-8")
    assert page == (out / "report.html").read_text(encoding="utf-8")
    assert "2 cells; " in page and "Swept settings: seed." in page
    drawn = out / "figures" / job.stem / "sweep.png"
    assert drawn.read_bytes().startswith(b"\x89PNG")
    compared = command("compare", out)
    assert "2 cells; " in compared.stdout
    told = json.loads(command("compare", out, "--format", "json").stdout)
    assert told["sweep"] == "mine"
    assert [cell["seed"] for cell in told["cells"]] == [0, 1]


def test_a_cell_is_that_of_run_and_is_not_run_again(file, base, tmp_path):
    out = tmp_path / "out"
    (tmp_path / "one.toml").write_text(tomli_w.dumps({**base, "seed": 1}), encoding="utf-8")
    assert command("run", tmp_path / "one.toml", "--out", out).exit_code == 0
    (before,) = (out / "cells").glob("em-*/manifest.json")
    stamp = before.stat().st_mtime_ns
    cell = Setting.of(parse_experiment({**base, "seed": 1}, "x"), ".").cell("em")
    assert cell.key == before.parent.name
    assert command("run", file, "--out", out).exit_code == 0
    assert before.stat().st_mtime_ns == stamp
    assert len(list((out / "cells").glob("em-*"))) == 2


def test_a_setting_that_no_data_suit_is_a_failing_cell_and_the_others_run(file, tmp_path):
    out = tmp_path / "out"
    result = command("run", file, "--out", out, "--sweep", "seed=[0]", "--sweep", "model.components=[2, 500]")
    assert result.exit_code == 1, result.output
    assert "2 cells, 1 failed (InputError: " in result.stdout
    states = {row["model_components"]: row["state"] for row in rows(out)}
    assert states == {"2": "done", "500": "failed"}
    (why,) = [row["why"] for row in rows(out) if row["state"] == "failed"]
    assert "500" in why
    assert (out / "report.html").is_file()
    # It stays as it is until it is asked for.
    assert (
        command("run", file, "--out", out, "--sweep", "seed=[0]", "--sweep", "model.components=[2, 500]").exit_code == 1
    )
    assert command("plot", out).exit_code == 0


def test_a_sweep_of_which_every_cell_fails_still_has_its_page(file, tmp_path, recwarn):
    result = command("run", file, "--out", tmp_path / "out", "--set", "model.components=500")
    assert result.exit_code == 1
    assert "2 cells, 2 failed" in result.stdout
    assert "2 failed" in (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert [str(warning.message) for warning in recwarn] == []


def test_a_failing_method_ends_no_other_cell(file, tmp_path, monkeypatch):
    ran = SweepJob.run

    def failing(self: SweepJob, cell: Any, checkpoint: Any, progress: Any) -> Any:
        if cell.coordinates["seed"] == 0:
            raise TypeError("a mistake")
        return ran(self, cell, checkpoint, progress)

    monkeypatch.setattr(SweepJob, "run", failing)
    result = command("run", file, "--out", tmp_path / "out")
    assert result.exit_code == 1
    assert "TypeError: a mistake" in result.stdout
    assert {row["seed"]: row["state"] for row in rows(tmp_path / "out")} == {"0": "failed", "1": "done"}


def test_tables_as_values_and_settings_of_data_are_swept(base, tmp_path):
    methods = [{"em": {"max_iterations": 3}}, {"em": {"max_iterations": 4}}]
    grid = {"methods": methods, "data.simulate.separation": [3.0, 4.0]}
    job = SweepJob("mine", {**base, "sweep": {"grid": grid}})
    store = Store(tmp_path)
    found = job.result(store, run_job(job, store, reuse=Reuse()))
    assert found.failed == 0
    assert [row["data_simulate_separation"] for row in found.rows] == [3.0, 4.0] * 2
    assert [row["method_max_iterations"] for row in found.rows] == [3, 3, 4, 4]
    assert len({row["log_joint"] for row in found.rows}) == 4


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--sweep", "seed=3"], "--sweep seed: give a list of values"),
        (["--sweep", "model.covariance=[ful, tied]"], "--sweep model.covariance"),
        (["--sweep", 'model.covariance=["ful", "oblong"]'], "unknown 'ful'"),
        (["--methods", "em"], "--methods: "),
        (["--sweep", "sed=[1]"], "sed: "),
        (["--sweep", "data.dataset=[1]"], "data"),
    ],
)
def test_wrong_input_is_one_message_and_runs_nothing(file, tmp_path, words, said):
    result = command("run", file, "--out", tmp_path / "out", *words)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith("Error: ") and said in result.stderr
    assert "Traceback" not in result.stderr
    assert not (tmp_path / "out").exists()


def test_every_mistake_names_the_file_once_and_its_key(file, tmp_path):
    words = ["--sweep", 'model.covariance=["ful"]', "--sweep", "restarts=[0]"]
    lines = command("run", file, "--out", tmp_path / "out", *words).stderr.removeprefix("Error: ").splitlines()
    assert [line.split(": ")[:2] for line in lines] == [[str(file), "restarts"], [str(file), "model.covariance"]]


class TestValidate:
    def test_a_sweep_is_ok_and_its_cells_are_counted(self, file):
        result = command("validate", file)
        assert (result.exit_code, result.stdout) == (0, f"{file}: ok, 2 cells\n")

    def test_a_cell_that_cannot_be_run_is_named_with_its_setting(self, base, file):
        sweep = {"grid": {"model.components": [2, 500]}}
        file.write_text(tomli_w.dumps({**base, "sweep": sweep}), encoding="utf-8")
        result = command("validate", file)
        assert (result.exit_code, result.stdout) == (2, "")
        assert result.stderr.startswith(f"Error: {file}: em (model.components = 500): ")

    def test_wrong_keys_are_named(self, base, file):
        file.write_text(tomli_w.dumps({**base, "sweep": {"grid": {"model.components": [2, 0]}}}), encoding="utf-8")
        result = command("validate", file)
        assert result.exit_code == 2
        assert result.stderr.startswith(f"Error: {file}: model.components: ")

    def test_the_schema_takes_a_sweep_and_no_other_key(self):
        schema = json.loads(command("schema").stdout)
        experiment = schema["$defs"]["Experiment"]
        assert experiment["additionalProperties"] is False
        assert experiment["properties"]["sweep"] == {"$ref": "#/$defs/SweepConfig"}
        assert set(schema["$defs"]["SweepConfig"]["properties"]) == {"grid", "zip", "cells"}
