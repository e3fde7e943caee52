"""Every kind of job, in small, by the command line: shown, redrawn to the byte, listed, and run again from disk."""

import json
from pathlib import Path
from typing import Any

import pytest
import tomli_w
from click.testing import CliRunner, Result
from reader import Reader

from workbench.cli import cli
from workbench.jobs.registry import JOBS, stored_job
from workbench.jobs.running import run_job
from workbench.jobs.store import Store

Ran = tuple[str, Path, Result]


def command(*words: object) -> Result:
    return CliRunner().invoke(cli, [str(word) for word in words], prog_name="workbench", catch_exceptions=False)


def small(tiny: dict[str, Any]) -> dict[str, tuple[dict[str, Any], list[object], int]]:
    """For each kind of job: a config, the words of its command, and how many cells it has."""
    one = {**tiny, "methods": {"em": {"max_iterations": 50}}}
    gibbs = {"num_warmup": 20, "num_samples": 40, "num_chains": 2}
    simulate = {"components": 2, "dimensions": 2, "points": 16, "separation": 2.0}
    subject = {"name": "cloud", "data": {"simulate": simulate}, "model": {"components": 3}, "rows": [0]}
    study = {"study": "escape", "subjects": [subject], "widths": 6, "steps": 2, "restarts": 4, "iterations": 30}
    rounding = {"rounding": {"value": 1e4, "reason": "eps of the height"}}
    hills = {"sentence": "EM climbs.", "source": "1977", "config": "tiny.toml", "check": "several_maxima"}
    climbs = {**hills, "check": "em_never_falls", "thresholds": rounding}
    return {
        "experiment": (one, ["run"], 1),
        "sweep": ({**one, "sweep": {"grid": {"seed": [0, 1]}}}, ["run"], 2),
        "study": (study, ["run"], 3),
        "atlas": (one, ["atlas", "--starts", 20], 1),
        "claims": ({"claims": {"climbs": climbs, "hills": hills}}, ["run"], 2),
        "select": ({**one, "methods": {"em": {}, "gibbs": gibbs}}, ["select", "--components", "1:2"], 2),
    }


# What `select` computes takes half a minute of compiling.
KINDS = [pytest.param(kind, marks=pytest.mark.slow) if kind == "select" else kind for kind in JOBS]


@pytest.fixture(scope="module", params=KINDS)
def ran(request: pytest.FixtureRequest, tiny: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Ran:
    """A kind of job, its results folder, and what its command said."""
    folder = tmp_path_factory.mktemp(request.param)
    config, (verb, *options), _ = small(tiny)[request.param]
    (folder / "mine.toml").write_text(tomli_w.dumps(config), encoding="utf-8")
    (folder / "tiny.toml").write_text(tomli_w.dumps({**tiny, "methods": {"em": {}}}), encoding="utf-8")
    out = folder / "mine"
    return request.param, out, command(verb, folder / "mine.toml", *options, "--out", out)


@pytest.fixture
def cells(ran: Ran, tiny: dict[str, Any]) -> int:
    return small(tiny)[ran[0]][2]


def job_of(ran: Ran) -> Path:
    (file,) = (ran[1] / "jobs").glob("*.toml")
    assert file.name.startswith(f"{ran[0]}-")
    return file


def shown(out: Path) -> dict[str, bytes]:
    places = [*(out / "pages").rglob("*"), *(out / "figures").rglob("*"), out / "report.html"]
    return {str(place): place.read_bytes() for place in places if place.is_file()}


def test_its_page_and_figures_are_written_under_its_own_name(ran):
    _, out, result = ran
    assert result.exit_code == 0, result.output
    assert (out / "pages" / f"{job_of(ran).stem}.html").read_bytes() == (out / "report.html").read_bytes()
    drawn = list((out / "figures" / job_of(ran).stem).glob("*.png"))
    assert (ran[0] == "claims") == (not drawn)  # a ledger has its words and its table
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in drawn)
    assert list(out.rglob(".*")) == []


def test_its_page_is_sound_and_says_how_it_is_run_again(ran):
    page = Reader((ran[1] / "report.html").read_text(encoding="utf-8"))
    page.check()
    verb = {"atlas": "atlas", "select": "select", "claims": "claims"}.get(ran[0], "run")
    assert f"To run this again, use workbench {verb} NAME.toml" in page.text
    assert page.text.index("Where it comes from") < page.text.index("To run this again")
    assert len(page.all("img")) == len(list((ran[1] / "figures").rglob("*.png")))


def test_its_page_and_figures_are_redrawn_from_disk_to_the_byte(ran):
    before = shown(ran[1])
    result = command("plot", ran[1])
    assert result.exit_code == 0
    assert set(result.stdout.split("\n")) - {""} == set(before)
    after = shown(ran[1])
    assert after.keys() == before.keys()
    assert [name for name in before if after[name] != before[name]] == []


def test_what_it_found_is_printed_again(ran):
    result = command("compare", ran[1])
    assert result.exit_code == 0
    found = [line for line in result.stdout.splitlines() if line.strip()]
    assert len(found) > 1
    assert set(found) & set(ran[2].stdout.splitlines())
    (told,) = command("compare", ran[1], "--format", "json").stdout.splitlines()
    assert json.loads(told)


def test_its_cells_are_counted_and_listed(ran, cells):
    (counted,) = json.loads(command("status", ran[1], "--format", "json").stdout)
    assert (counted["id"], counted["cells"], counted["done"]) == (job_of(ran).stem, cells, cells)
    listed = json.loads(command("table", ran[1], "--format", "json").stdout)
    assert [(row["kind"], row["state"]) for row in listed] == [(ran[0], "done")] * cells


def test_it_runs_again_from_its_folder_alone_and_no_cell_anew(ran, cells, monkeypatch):
    kind, out, _ = ran
    store = Store(out)
    ((file, record),) = store.jobs()
    job = stored_job(out, record, str(file))
    assert type(job) is JOBS[kind]
    assert [cell.key for cell in job.all_cells()] == record["cells"]
    assert store.file_of(job) == file
    monkeypatch.setattr(JOBS[kind], "run", lambda *words: pytest.fail("a cell was run again"))
    outcomes = run_job(job, store)
    assert [(o.failure, o.stale) for o in outcomes] == [(None, None)] * cells
    job.result(store, outcomes)
    assert store.jobs() == [(file, record)]
