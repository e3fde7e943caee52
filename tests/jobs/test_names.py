"""One of several jobs of a folder is chosen by its name or its id, or by a part of it; names say what differs."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from workbench.cli import cli
from workbench.errors import InputError
from workbench.experiment import parse_experiment
from workbench.jobs.experiment import run_experiment
from workbench.jobs.names import jobs_of, named, newest_of
from workbench.jobs.registry import found_in, results_in
from workbench.jobs.store import Store
from workbench.jobs.table import table_of_folder, varying
from workbench.report import redraw


@dataclass(frozen=True)
class Job:
    name: str
    id: str


JOBS = [
    Job("iris (seed = 0)", "experiment-0aa1"),
    Job("iris (seed = 1)", "experiment-0ab2"),
    Job("iris", "select-0ab2"),
    Job("galaxies", "experiment-77c0"),
]
FOLDER = Path("results/all")


def test_a_whole_name_comes_before_parts_of_others() -> None:
    assert named(JOBS, None, FOLDER) == JOBS
    assert named(JOBS, "iris", FOLDER) == [JOBS[2]]
    assert named(JOBS, "seed", FOLDER) == JOBS[:2]
    assert newest_of(JOBS, "seed = 1", FOLDER) == (JOBS[1], "")
    assert newest_of(JOBS[3:], None, FOLDER) == (JOBS[3], "")


def test_of_several_the_newest_is_shown_and_the_others_are_named() -> None:
    found, others = newest_of(JOBS, None, FOLDER)
    assert found == JOBS[3]
    assert others == (
        "results/all: the newest of 4 jobs, 'galaxies'; --job NAME shows another: 'iris', 'iris (seed = 1)', "
        "'iris (seed = 0)'"
    )
    assert newest_of(JOBS, "seed", FOLDER)[0] == JOBS[1]
    # Two choices of K of one experiment have one name.
    assert newest_of([JOBS[2], JOBS[2]], None, FOLDER)[1] == "results/all: the newest of 2 jobs, 'iris'"


def test_an_id_or_its_beginning_chooses_as_a_name_does() -> None:
    assert named(JOBS, "experiment-0ab2", FOLDER) == [JOBS[1]]
    assert named(JOBS, "select-0", FOLDER) == [JOBS[2]]
    assert named(JOBS, "0aa", FOLDER) == [JOBS[0]]
    assert named(JOBS, "0ab2", FOLDER) == [JOBS[1], JOBS[2]]
    assert named([], "0ab2", FOLDER) == []


@pytest.mark.parametrize("given", ["experiment-0aa1", "0aa1"])
def test_a_name_that_is_the_id_of_another_job_is_refused_with_both(given: str) -> None:
    jobs = [*JOBS, Job(given, "sweep-11")]
    with pytest.raises(InputError, match=rf"'{given}' is the name of sweep-11 and the id of 'iris \(seed = 0\)'; give"):
        named(jobs, given, FOLDER)
    assert named(jobs, "sweep-11", FOLDER) == [jobs[-1]]
    assert named(jobs, JOBS[0].name, FOLDER) == [JOBS[0]]
    own = [*JOBS, Job("experiment-5", "experiment-5")]
    assert named(own, "experiment-5", FOLDER) == [own[-1]]


@pytest.mark.parametrize("given", ["galaxy", "", "ab2"])
def test_a_name_that_is_not_there_is_one_message_with_every_id(given: str) -> None:
    with pytest.raises(InputError, match=f"--job: results/all has no job '{given}'") as raised:
        named(JOBS, given, FOLDER)
    assert all(f"{job.id} ({job.name})" in str(raised.value) for job in JOBS)
    assert ("Did you mean 'galaxies'?" in str(raised.value)) is (given == "galaxy")
    assert "\n" not in str(raised.value)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, tiny: dict[str, Any]) -> Path:
    """A folder of three experiments of one name, whose family and methods differ, and one of another name."""
    out = tmp_path_factory.mktemp("several")
    methods = {"em": {"max_iterations": 5}}
    more = methods | {"gentle": {"method": "em", "max_iterations": 6}}
    for name, family, own in (
        ("mine", "full", methods),
        ("mine", "spherical", methods),
        ("mine", "full", more),
        ("other", "tied", methods),
    ):
        values = {**tiny, "methods": own, "model": {**tiny["model"], "covariance": family}}
        run_experiment(parse_experiment(values, "x"), name=name, out=out)
    return out


def test_jobs_of_one_name_are_named_by_what_differs_alone(folder: Path) -> None:
    names = [job.name for job in jobs_of(Store(folder))]
    assert names == [
        "mine (methods = em, model.covariance = full)",
        "mine (methods = em, model.covariance = spherical)",
        "mine (methods = em gentle, model.covariance = full)",
        "other",
    ]
    # The same names wherever jobs are listed.
    assert [each.name for each in results_in(folder)] == names == [each.name for each in found_in(folder)]
    redraw(folder)
    assert all(f">{name}</a>" in (folder / "report.html").read_text(encoding="utf-8") for name in names)


def test_every_command_on_a_stored_folder_takes_the_ids_that_status_prints(folder: Path) -> None:
    def said(*words: str) -> str:
        result = CliRunner().invoke(cli, words)
        assert result.exit_code == 0, result.output
        return result.output

    home = str(folder)
    rows = json.loads(said("status", home, "--format", "json"))
    assert len({row["id"] for row in rows}) == len(rows) == 4
    own = next(row for row in rows if "spherical" in row["name"])
    said_once = (
        ("compare", home, "--format", "json"),
        ("estimates", home, "--format", "json"),
        ("table", home, "--format", "csv"),
    )
    for words in said_once:
        assert "spherical" in said(*words, "--job", own["id"]), words
    assert [json.loads(said(*said_once[0], "--job", row["id"]))["experiment"] for row in rows] == [
        row["name"] for row in rows
    ]
    assert len(json.loads(said("table", home, "--job", own["id"], "--format", "json"))) == own["cells"] == 1
    assert len(table_of_folder(folder).rows) == 4
    assert said("compare", home, "--format", "csv", "--job", own["id"]).count("\n") == 2
    drawn = {words: said(*words, home, "--job", own["id"]) for words in (("report",), ("plot",))}
    assert all(own["id"] in text and not any(r["id"] in text for r in rows if r is not own) for text in drawn.values())
    assert "spherical" in said("plot", home, "--figure", "classification", "--format", "png", "--job", own["id"][-10:])


@pytest.mark.parametrize("command", ["compare", "estimates", "posterior", "plot", "report", "table"])
def test_an_id_that_no_job_has_is_one_line_in_every_command(command: str, folder: Path) -> None:
    result = CliRunner().invoke(cli, [command, str(folder), "--job", "experiment-f00"])
    assert result.exit_code == 2
    assert "--job: " in result.output and "has no job 'experiment-f00'." in result.output
    assert all(job.id in result.output for job in jobs_of(Store(folder)))


def test_the_table_keeps_the_settings_in_which_rows_differ(tiny: dict[str, Any], tmp_path: Path) -> None:
    """Rows that differ by family, K, background, missing rule or N alone are told apart on a narrow terminal."""
    (tmp_path / "x.csv").write_text("a,b\n" + "".join(f"{i % 7},{'' if i == 3 else i % 5}\n" for i in range(40)))
    base = {**tiny, "data": {"file": str(tmp_path / "x.csv"), "missing": "drop"}, "methods": {"em": {}}}
    model = tiny["model"]
    ones = (
        base,
        {**base, "data": {**base["data"], "missing": "marginal"}},
        {**base, "model": {**model, "covariance": "spherical"}},
        {**base, "model": {**model, "components": 3}},
        {**base, "model": {**model, "background": True}},
    )
    for values in ones:
        run_experiment(parse_experiment(values, "x"), name="mine", out=tmp_path / "out")
    shown = varying(table_of_folder(tmp_path / "out"))
    names = ("model_components", "model_covariance", "model_background", "num_points", "data_missing")
    assert set(shown.columns) >= set(names)
    head = "".join(shown.text(80).partition("─")[0].split())
    assert all(word in head for word in ("components", "covariance", "background", "missing", "points")), head
    assert len({job.name for job in jobs_of(Store(tmp_path / "out"))}) == len(ones)
