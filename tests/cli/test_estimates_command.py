"""Estimates of stored methods as files of one's own, and standard errors of an experiment by one command."""

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

from workbench.cli import cli


def command(*words: object) -> Result:
    return CliRunner().invoke(cli, [*map(str, words)], prog_name="workbench", catch_exceptions=False)


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("estimates")
    rng = np.random.default_rng(5)
    x = np.concatenate([rng.normal(0.0, 1.0, 40), rng.normal(7.0, 1.5, 60)])
    (folder / "mine.csv").write_text("\n".join(["mass", *(f"{value:.6f}" for value in x)]), encoding="utf-8")
    path = folder / "mine.toml"
    path.write_text(
        '[data]\nfile = "mine.csv"\n[model]\ncomponents = 2\n[starts]\nrule = "kmeans"\n'
        "[methods.em]\n[methods.squarem]\n",
        encoding="utf-8",
    )
    return path


def test_errors_runs_what_is_missing_and_is_what_estimates_says_of_the_stored_run(config: Path) -> None:
    out = config.parent / "results"
    first = command("errors", config, "--out", out, "--ways", "observed,sandwich", "--format", "json")
    assert first.exit_code == 0, first.stderr
    stored = command("estimates", out, "--errors", "observed,sandwich", "--format", "json")
    assert first.stdout == stored.stdout
    rows = json.loads(first.stdout)
    assert {row["method"] for row in rows} == {"em", "squarem"}
    # The mean of a clear group of n points has the standard error of their mean, s / sqrt(n).
    mean = next(row for row in rows if row["method"] == "em" and row["parameter"] == "mean" and row["component"] == 2)
    sd = next(row for row in rows if row["method"] == "em" and row["parameter"] == "sd" and row["component"] == 2)
    assert mean["observed"] == pytest.approx(sd["estimate"] / np.sqrt(60), rel=0.05)
    shown = command("errors", config, "--out", out, "--ways", "observed")
    assert "Standard errors of em" in shown.stdout and "Standard errors of squarem" in shown.stdout


def test_errors_of_data_names_the_command_that_makes_a_config(config: Path) -> None:
    result = command("errors", config.parent / "mine.csv")
    assert result.exit_code == 2
    assert "workbench init " in result.stderr


def test_estimates_of_some_methods_go_into_a_file(config: Path, tmp_path: Path) -> None:
    out, table = config.parent / "results", tmp_path / "table.tex"
    command("errors", config, "--out", out, "--ways", "observed")
    written = command("estimates", out, "--methods", "squarem", "--format", "latex", "--out", table)
    assert written.exit_code == 0, written.stderr
    assert written.stdout == f"Written: {table}\n"
    text = table.read_text(encoding="utf-8")
    assert text.startswith("% mine: Estimates of squarem:") and r"\end{tabular}" in text
    assert text == command("estimates", out, "--method", "squarem", "--format", "latex").stdout
    both = command("estimates", out, "--methods", "em,squarem", "--format", "csv").stdout
    assert both == command("estimates", out, "--format", "csv").stdout
    unknown = command("estimates", out, "--methods", "em,nuts")
    assert (unknown.exit_code, unknown.stderr) == (
        2, f"Error: --methods: nuts: is not stored in {out}; it has em, squarem\n"
    )  # fmt: skip


def test_a_table_for_a_paper_is_that_of_the_newest_job(config: Path) -> None:
    """Whoever tried two numbers of components would otherwise have both tables in one file."""
    out = config.parent / "tried"
    command("errors", config, "--out", out, "--ways", "observed")
    command("errors", config, "--set", "model.components=1", "--out", out, "--ways", "observed")
    latex = command("estimates", out, "--methods", "em", "--format", "latex")
    assert latex.stdout.count("tabular") == 2  # its begin and its end
    assert latex.stdout.count("mean &") == 1
    assert "the newest of 2 jobs" in latex.stderr
    older = command("estimates", out, "--methods", "em", "--format", "latex", "--job", "components = 2")
    assert (older.stdout.count("mean &"), older.stderr) == (2, "")
    assert command("estimates", out, "--methods", "em").stdout.count("Estimates of em") == 2
