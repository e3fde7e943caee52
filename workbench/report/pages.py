"""The pages of a results folder: one for each job, which no other job overwrites, and one that links to all of them.

results/NAME/
    report.html             the page of the only job, or an index of all
    pages/KIND-HASH.html    the page of each job, named as its file under jobs/
    figures/KIND-HASH/      its figures as PNG
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from workbench.errors import InputError
from workbench.jobs.atlas import AtlasJob, load_atlas_job
from workbench.jobs.base import Losses, nothing_in
from workbench.jobs.claims import LedgerJob
from workbench.jobs.experiment import ExperimentJob, load_experiment
from workbench.jobs.judged import load_ledger
from workbench.jobs.names import StoredJob, jobs_of, named
from workbench.jobs.selection import SelectionJob, load_selection
from workbench.jobs.store import MANIFEST, Store
from workbench.jobs.study import StudyJob, load_findings
from workbench.jobs.sweep import SweepJob, load_sweep
from workbench.report.atlas_page import show_atlases
from workbench.report.claims_page import show_claims
from workbench.report.comparison_page import show_comparison
from workbench.report.page import HOME, Folded, Grid, Page, Section, Shown, Words, toml_of, write
from workbench.report.selection_page import show_selection
from workbench.report.study_page import show_study
from workbench.report.sweep_page import show_sweep
from workbench.selection import FamilySelection, Selection
from workbench.table import Linked, Table

KINDS = {
    ExperimentJob.kind: "experiment",
    StudyJob.kind: "study",
    AtlasJob.kind: "atlas of optima",
    SelectionJob.kind: "choice of K",
    SweepJob.kind: "sweep",
    LedgerJob.kind: "ledger of claims",
}


def publish(store: Store, file: Path, shown: Shown) -> list[Path]:
    """Write the page and the figures of a job, and the page of the folder.

    Args:
        store: the store of the folder.
        file: the file that keeps the job.
        shown: the page and the figures.

    Returns:
        The page of the folder, or that of the job if there are several jobs; then the figures.
    """
    own = _write(store, file, shown)
    several = _write_front(store, shown)
    return [own if several else store.folder / "report.html", *shown.draw(store.folder / "figures" / file.stem)]


def redraw(folder: Path, job: str | None = None) -> list[Path]:
    """Write every page and figure of a results folder, or of one job, again from the stored results.

    The log names a damaged job, whose page stays as it is.

    Args:
        folder: the results folder.
        job: the name or the id of a job, or a part of it.

    Raises:
        InputError: there is no such folder or job, or nothing in it is finished and sound.
    """
    if not folder.is_dir():
        raise InputError(f"{folder}: {nothing_in(folder)}")
    store, written, shown, losses = Store(folder), list[Path](), None, Losses()
    for each in named(jobs_of(store), job, folder):
        with losses.caught():
            shown = shown_of(store, each.file, each.record)
            if shown is not None:
                written += [_write(store, each.file, shown), *shown.draw(store.folder / "figures" / each.id)]
    losses.tell(others=bool(written))
    if not written:
        raise InputError(f"{folder}: {nothing_in(folder)}")
    _write_front(store, shown)
    return [folder / "report.html", *written]


def _write(store: Store, file: Path, shown: Shown) -> Path:
    own = _page_of(store, file)
    write(own, shown.page.html("../"))
    return own


def _write_front(store: Store, shown: Shown | None) -> bool:
    """Write the page of a folder: that of its only job, or a list of all jobs; whether there are several."""
    jobs = jobs_of(store)
    if len(jobs) == 1 and shown is not None:
        write(store.folder / "report.html", shown.page.html())
        return False
    write(store.folder / "report.html", _index(store, jobs).html())
    return True


def _index(store: Store, jobs: Sequence[StoredJob]) -> Page:
    title = store.folder.resolve().name
    lines, settings = [], []
    for each in jobs:
        name, page, job = each.name, _page_of(store, each.file), each.record
        there = page.is_file()
        link = Linked.to(name, f"{HOME}pages/{page.name}") if there else f"{name} (nothing finished)"
        done = sum((store.place(key) / MANIFEST).is_file() for key in job["cells"])
        kind = KINDS.get(each.kind, each.kind)
        lines.append((link, kind, each.id, f"{done} of {len(job['cells'])}"))
        settings.append(Folded(f"{name}, {kind}", toml_of(job["config"])))
    table = Table.of_lines(("what", "kind", "id", "cells stored"), lines, words=("what", "kind", "id"))
    lead = [Words("The contents of this folder, oldest first. Every page is complete in itself.")]
    pages = Section("Pages", [Grid(table, f"Pages of {title}")])
    return Page(title, lead, [pages, Section("Where they come from", settings)])


def _page_of(store: Store, file: Path) -> Path:
    return store.folder / "pages" / f"{file.stem}.html"


def shown_of(store: Store, file: Path, job: Mapping[str, Any]) -> Shown | None:
    """The page and figures of a stored job; None if none of its cells is finished.

    Raises:
        InputError: its file is damaged, or its kind is unknown to this version.
    """
    match job["kind"]:
        case ExperimentJob.kind:
            comparison, experiment = load_experiment(store, file, job)
            return show_comparison(comparison, experiment, store.folder) if len(comparison) else None
        case StudyJob.kind:
            findings = load_findings(store, file, job)
            return show_study(findings, str(job["name"])) if findings.rows else None
        case AtlasJob.kind:
            atlases = load_atlas_job(store, file, job)
            return show_atlases(atlases, job["config"]["experiment"]) if atlases.atlases else None
        case SelectionJob.kind:
            selection = load_selection(store, file, job)
            return show_selection(selection, job["config"]["experiment"]) if _has_choices(selection) else None
        case SweepJob.kind:
            found = load_sweep(store, job)
            return show_sweep(found, str(job["name"]), job["config"]) if len(found) else None
        case LedgerJob.kind:
            judged = load_ledger(store, file, job)
            return show_claims(judged, str(job["name"]), store.folder, job["config"]) if judged else None
        case kind:
            raise InputError(f"{file}: kind: unknown {kind!r}; a newer workbench may know it: update this one")


def _has_choices(selection: Selection | FamilySelection) -> bool:
    each = selection.families.values() if isinstance(selection, FamilySelection) else [selection]
    return any(one.choices for one in each)
