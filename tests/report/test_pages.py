"""The pages of a folder: each job has its own, one page leads to all, and names are text wherever they come from."""

from pathlib import Path
from typing import Any

import pytest
from standins import Steps

from workbench.jobs.running import run_job
from workbench.jobs.store import Store
from workbench.jobs.study import StudyJob
from workbench.jobs.sweep import SweepJob
from workbench.report.pages import publish, redraw, shown_of

pytestmark = pytest.mark.usefixtures("steps_registered")

HOSTILE = "<script>alert(1)</script>"


def put(store: Store, job: Any) -> Path:
    """Run a job, publish it, and return its file."""
    run_job(job, store)
    file = store.file_of(job)
    (record,) = [record for path, record in store.jobs() if path == file]
    shown = shown_of(store, file, record)
    assert shown is not None
    publish(store, file, shown)
    return file


@pytest.fixture
def sweeps(tiny: dict[str, Any]) -> list[SweepJob]:
    """Two sweeps of one experiment."""
    one = {**tiny, "methods": {"em": {"max_iterations": 5}}}
    seeds = ([0, 1], [2, 3])
    return [SweepJob(f"mine {seed}", {**one, "sweep": {"grid": {"seed": seed}}}) for seed in seeds]


def contents(folder: Path, job: Path) -> dict[str, bytes]:
    own = [folder / "pages" / f"{job.stem}.html", *(folder / "figures" / job.stem).iterdir()]
    return {str(path): path.read_bytes() for path in own}


def test_two_jobs_of_one_folder_keep_their_pages_and_figures_and_one_page_leads_to_both(sweeps, tmp_path):
    store = Store(tmp_path)
    first = put(store, sweeps[0])
    before = contents(tmp_path, first)
    assert (tmp_path / "report.html").read_bytes() == before[str(tmp_path / "pages" / f"{first.stem}.html")]
    second = put(store, sweeps[1])
    assert first != second
    assert contents(tmp_path, first) == before
    assert {Path(name).suffix for name in before} == {".html", ".png"}
    assert contents(tmp_path, second).keys().isdisjoint(before)
    index = (tmp_path / "report.html").read_text(encoding="utf-8")
    for file, name in ((first, "mine [0, 1]"), (second, "mine [2, 3]")):
        assert f'<a href="pages/{file.stem}.html">{name}</a>' in index
    redraw(tmp_path)
    assert contents(tmp_path, first) == before
    assert (tmp_path / "report.html").read_text(encoding="utf-8") == index


def test_the_page_of_a_folder_leads_to_jobs_of_different_kinds(sweeps, tmp_path):
    store = Store(tmp_path)
    files = [put(store, sweeps[0]), put(store, StudyJob(Steps(log=str(tmp_path / "log"))))]
    index = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert all(f'href="pages/{file.stem}.html"' in index for file in files)
    assert all(f'<td class="words">{kind}</td>' in index for kind in ("sweep", "study"))


def test_a_job_of_which_nothing_is_finished_is_named_without_a_page(tmp_path):
    store = Store(tmp_path)
    put(store, StudyJob(Steps(log=str(tmp_path / "log"), upto=2)))
    store.keep(StudyJob(Steps(log=str(tmp_path / "log"), upto=3), name="later"))
    redraw(tmp_path)
    index = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "later (nothing finished)" in index
    assert "<td>0 of 3</td>" in index


def test_names_are_escaped_on_every_page(sweeps, tmp_path):
    folder = tmp_path / "<b>"
    store = Store(folder)
    sweep = SweepJob(HOSTILE, sweeps[0].values)
    put(store, sweep)
    put(store, StudyJob(Steps(log=str(tmp_path / HOSTILE.replace("/", "")), upto=2), name=HOSTILE))
    pages = [folder / "report.html", *(folder / "pages").iterdir()]
    assert len(pages) == 3
    for page in pages:
        text = page.read_text(encoding="utf-8")
        assert "<script" not in text and "<b>" not in text
        assert "&lt;script&gt;alert(1)" in text
