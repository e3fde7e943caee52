"""Estimates of stored methods as files of one's own, and standard errors of an experiment by one command."""

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

from workbench.cli import cli
from workbench.cli.estimates import aside


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


def test_errors_of_some_methods_run_these_alone(config: Path) -> None:
    shown = command("errors", config, "--out", config.parent / "one", "--methods", "em", "--ways", "observed")
    assert shown.exit_code == 0, shown.stderr
    assert "Standard errors of em" in shown.stdout and "squarem" not in shown.stdout


def test_a_way_without_errors_is_left_out_of_a_table_for_a_paper_and_said(config: Path, tmp_path: Path) -> None:
    header, *rows = (config.parent / "mine.csv").read_text(encoding="utf-8").splitlines()
    known = [f"{row},{'ab'[place] if place < 2 else ''}" for place, row in enumerate(sorted(rows, key=float)[::99])]
    text = "\n".join([f"{header},kind", *known, *(f"{row}," for row in rows[1:-1])])
    (tmp_path / "mine.csv").write_text(text, encoding="utf-8")
    own = config.read_text(encoding="utf-8").replace("[model]", 'label_known = "kind"\n[model]')
    (tmp_path / "mine.toml").write_text(own, encoding="utf-8")
    asked = ("errors", tmp_path / "mine.toml", "--out", tmp_path / "out", "--ways", "observed,parametric")
    for form, mark in (("latex", "% "), ("markdown", "")):
        shown = command(*asked, "--methods", "em", "--format", form).stdout
        (said,) = (line for line in shown.splitlines() if "left out" in line)
        assert said.startswith(f"{mark}parametric is left out: ")
        assert "& parametric" not in shown and "| parametric" not in shown


def test_a_mode_under_a_prior_is_no_maximum_of_the_likelihood_in_every_form(config: Path, tmp_path: Path) -> None:
    """LaTeX prints it, where other notes are comments."""
    own = (*("--set", "prior.family=conjugate"), "--out", tmp_path / "out")
    said = "not maximum likelihood: for that, fit without the prior"
    fitted = command("fit", config, *own)
    assert fitted.exit_code == 0 and " ".join(fitted.stdout.split()).count(said) == 1
    errors = ("errors", config, *own, "--methods", "em", "--ways", "observed")
    for words in (errors, ("estimates", tmp_path / "out", "--methods", "em")):
        latex = command(*words, "--format", "latex").stdout
        (printed,) = (line for line in latex.splitlines() if said in line)
        assert printed.startswith(r"\par\smallskip{\footnotesize These are the mode") and "-{}-set prior" in printed
        assert (latex.count(said), command(*words, "--format", "markdown").stdout.count(said)) == (1, 1)
    assert latex == (tmp_path / "out" / "fit" / "estimates.tex").read_text(encoding="utf-8")
    assert said not in command("errors", config, "--out", tmp_path / "flat", "--ways", "observed").stdout


def test_the_name_of_a_config_is_no_markup_in_a_title(config: Path, tmp_path: Path) -> None:
    odd = tmp_path / "x\n\\input{y}<b>|$&.toml"
    odd.write_text(config.read_text(encoding="utf-8").replace("mine.csv", str(config.parent / "mine.csv")), "utf-8")
    assert command("fit", odd, "--out", tmp_path / "out").exit_code == 0
    file = (tmp_path / "out" / "fit" / "estimates.tex").read_text(encoding="utf-8")
    for more in ((), ("--errors", "observed")):
        latex, markdown, table = (
            command("estimates", tmp_path / "out", "--methods", "em", *more, "--format", form).stdout
            for form in ("latex", "markdown", "table")
        )
        for text in (file, latex):
            assert next(line for line in text.splitlines() if r"\input" in line).startswith(r"% x \input{y}<b>|$&: ")
        assert not [line for line in (file + latex).splitlines() if line.startswith(r"\input")]
        assert markdown.startswith(r"x \\input\{y\}\<b\>\|\$\&: ")
        assert table.startswith(r"x \input{y}<b>|$&: ")


def test_what_stands_beside_a_table_stays_on_its_line_and_is_no_markup() -> None:
    text = "x\n\\input{y}<b>|$&: a\r\x1b[31m"
    assert aside(text, "latex") == "% x \\input{y}<b>|$&: a \\x1b[31m"
    assert aside(text, "markdown") == "x \\\\input\\{y\\}\\<b\\>\\|\\$\\&: a \\\\x1b\\[31m"
    assert aside(text, "table") == "x \\input{y}<b>|$&: a \\x1b[31m"
    marks = ("# a", "- a", "12. a", "+ a", "=")
    assert [aside(mark, "markdown") for mark in marks] == ["\\# a", "\\- a", "12\\. a", "\\+ a", "\\="]


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
