"""What is run anew because its data have changed says so, and what is run for the first time does not."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tomli_w
from click.testing import CliRunner

from workbench.cli import cli

pytestmark = pytest.mark.usefixtures("light")

SAYS = "the data have changed since"


def run(*words: object) -> None:
    result = CliRunner().invoke(cli, [str(word) for word in words], prog_name="workbench", catch_exceptions=False)
    assert result.exit_code == 0, result.output


@pytest.fixture
def config(tmp_path: Path, tiny: dict[str, Any]) -> dict[str, Any]:
    """An experiment on a file of 40 points."""
    put(tmp_path, shift=0.0)
    return {**tiny, "data": {"file": "points.csv"}, "methods": {"em": {"max_iterations": 5}}}


def put(folder: Path, shift: float) -> None:
    values = np.random.default_rng(0).normal(size=40) + np.where(np.arange(40) < 20, 0.0, 4.0 + shift)
    (folder / "points.csv").write_text("\n".join(["x", *map(repr, values.tolist())]), encoding="utf-8")


def study_of(config: dict[str, Any]) -> dict[str, Any]:
    subject = {"name": "mine", "data": config["data"], "model": {"components": 2}, "rows": [0]}
    return {"study": "escape", "subjects": [subject], "widths": 6, "steps": 1, "restarts": 2, "iterations": 5}


@pytest.mark.parametrize("kind", ["experiment", "sweep", "study"])
def test_a_file_that_has_changed_is_told_and_only_then(kind, config, tmp_path, caplog):
    sweep = {**config, "sweep": {"grid": {"seed": [0, 1]}}}
    config = {"experiment": config, "sweep": sweep, "study": study_of(config)}[kind]
    file, out = tmp_path / "mine.toml", tmp_path / "out"
    file.write_text(tomli_w.dumps(config), encoding="utf-8")
    for _ in range(2):
        run("run", file, "--out", out, "--quiet")
        assert SAYS not in caplog.text
    put(tmp_path, shift=1.0)
    run("run", file, "--out", out, "--quiet")
    assert caplog.text.count(SAYS) == 1
    run("run", file, "--out", out, "--quiet")
    assert caplog.text.count(SAYS) == 1


def test_other_settings_of_the_data_are_no_change_of_them(tiny, tmp_path, caplog):
    file = tmp_path / "mine.toml"
    file.write_text(tomli_w.dumps({**tiny, "methods": {"em": {"max_iterations": 5}}}), encoding="utf-8")
    for separation in (3.0, 4.0, 5.0):
        setting = f"data.simulate.separation={separation}"
        run("run", file, "--set", setting, "--out", tmp_path / "out", "--quiet")
    assert SAYS not in caplog.text
