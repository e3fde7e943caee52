"""The pages of a results folder: one for each job, which nothing else overwrites, and one that leads to all of them.

results/NAME/
    report.html             the page of the only job, or an index of all
    pages/KIND-HASH.html    the page of each job, named as its file under jobs/
    figures/KIND-HASH/      its figures as PNG
"""

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tomli_w

from workbench.compare import Comparison
from workbench.engine.files import replacing
from workbench.errors import InputError
from workbench.experiment import Experiment
from workbench.jobs.atlas import Atlases, AtlasJob, load_atlas_job
from workbench.jobs.claims import LedgerJob
from workbench.jobs.experiment import ExperimentJob, load_experiment
from workbench.jobs.judged import Judged, load_ledger
from workbench.jobs.selection import SelectionJob, load_selection
from workbench.jobs.store import MANIFEST, Store
from workbench.jobs.study import StudyJob, load_findings
from workbench.jobs.sweep import SweepJob, Swept, load_sweep
from workbench.report.atlas_page import save_atlas_figures, write_atlas_report
from workbench.report.claims_page import write_claims
from workbench.report.environment import environment
from workbench.report.figures import save_figures
from workbench.report.page import write_report
from workbench.report.selection_page import save_selection_figure, write_selection_report
from workbench.report.study_page import save_study_figures, write_study_report
from workbench.report.sweep_page import save_sweep_figures, write_sweep_report
from workbench.selection import FamilySelection, Selection
from workbench.studies import Findings

KINDS = {
    ExperimentJob.kind: "experiment",
    StudyJob.kind: "study",
    AtlasJob.kind: "atlas of optima",
    SelectionJob.kind: "choice of K",
    SweepJob.kind: "sweep",
    LedgerJob.kind: "ledger of claims",
}


@dataclass(frozen=True)
class Shown:
    """What a job has to show: how its page and its figures are written."""

    write: Callable[[Path], None]
    draw: Callable[[Path], list[Path]]


@dataclass(frozen=True)
class Entry:
    """A job, as the index has it."""

    title: str
    kind: str
    page: str  # relative; empty where it has none
    cells: str
    settings: str


def publish(store: Store, file: Path, shown: Shown) -> list[Path]:
    """Write the page and the figures of a job, and the folder's page.

    Args:
        store: the folder.
        file: that keeps the job.
        shown: what there is to see.

    Returns:
        The folder's page, or the job's own where there are several; then the figures.
    """
    own = store.folder / "pages" / f"{file.stem}.html"
    shown.write(own)
    drawn = shown.draw(store.folder / "figures" / file.stem)
    several = write_index(store)
    return [own if several else store.folder / "report.html", *drawn]


def redraw(folder: Path) -> list[Path]:
    """Write every page and figure of a results folder again, from what is stored.

    Raises:
        InputError: there is no such folder, nothing in it is finished, or a file is damaged.
    """
    if not folder.is_dir():
        raise InputError(f"{folder}: no such folder; give a folder that `workbench run` wrote")
    store, written = Store(folder), []
    for file, job in store.jobs():
        shown = shown_of(store, file, job)
        if shown is not None:
            own = store.folder / "pages" / f"{file.stem}.html"
            shown.write(own)
            written += [own, *shown.draw(store.folder / "figures" / file.stem)]
    if not written:
        raise InputError(f"{folder}: no finished runs; give a folder that `workbench run` wrote")
    write_index(store)
    return [folder / "report.html", *written]


def write_index(store: Store) -> bool:
    """Write the page of a folder: that of its only job, or a list of all; whether there are several."""
    jobs = store.jobs()
    page = store.folder / "report.html"
    own = [store.folder / "pages" / f"{file.stem}.html" for file, _ in jobs]
    if len(jobs) == 1 and own[0].is_file():
        with replacing(page) as temporary:
            shutil.copyfile(own[0], temporary)
        return False
    entries = [_entry(store, file, job) for file, job in jobs]
    text = environment().get_template("index.html").render(title=store.folder.resolve().name, entries=entries)
    with replacing(page) as temporary:
        temporary.write_text(text, encoding="utf-8")
    return True


def shown_of(store: Store, file: Path, job: Mapping[str, Any]) -> Shown | None:
    """What a stored job has to show; None where none of its cells is finished.

    Raises:
        InputError: its file is damaged, or of a kind that this workbench does not know.
    """
    match job["kind"]:
        case ExperimentJob.kind:
            comparison, experiment = load_experiment(store, file, job)
            return show_comparison(comparison, experiment, store.folder) if len(comparison) else None
        case StudyJob.kind:
            findings = load_findings(store, file, job)
            return show_study(findings, str(job["name"]), store.folder) if findings.rows else None
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
            return show_claims(judged, str(job["name"]), store.folder) if judged else None
        case kind:
            raise InputError(f"{file}: kind: unknown {kind!r}; a newer workbench may know it: update this one")


def show_comparison(comparison: Comparison, experiment: Experiment, folder: Path) -> Shown:
    """An experiment: its comparison, and the claims that rest on its folder."""
    config = tomli_w.dumps(experiment.resolved())
    return Shown(
        lambda page: write_report(page, [(comparison, config)], of=folder),
        lambda figures: save_figures(comparison, figures),
    )


def show_study(findings: Findings, title: str, folder: Path) -> Shown:
    """A study: its figures and its rows."""
    return Shown(
        lambda page: write_study_report(page, findings, title=title, stored=folder / "cells"),
        lambda figures: save_study_figures(findings, figures),
    )


def show_atlases(found: Atlases, experiment: Mapping[str, Any]) -> Shown:
    """The atlases of an experiment, whose config is given resolved."""
    config = tomli_w.dumps(dict(experiment))
    return Shown(
        lambda page: write_atlas_report(page, found, config), lambda figures: save_atlas_figures(found, figures)
    )


def show_sweep(found: Swept, title: str, config: Mapping[str, Any]) -> Shown:
    """A sweep: its rows, and how they differ along what was swept."""
    return Shown(
        lambda page: write_sweep_report(page, found, title, tomli_w.dumps(dict(config))),
        lambda figures: save_sweep_figures(found, figures),
    )


def show_claims(judged: Sequence[Judged], title: str, folder: Path) -> Shown:
    """A ledger: its claims with their decisions."""
    return Shown(lambda page: write_claims(page, judged, title=f"The ledger of {title}", of=folder), lambda figures: [])


def show_selection(selection: Selection | FamilySelection, experiment: Mapping[str, Any]) -> Shown:
    """A choice of K for an experiment, whose config is given resolved."""
    config = tomli_w.dumps(dict(experiment))
    return Shown(
        lambda page: write_selection_report(page, selection, config),
        lambda figures: [save_selection_figure(selection, figures)],
    )


def _has_choices(selection: Selection | FamilySelection) -> bool:
    each = selection.families.values() if isinstance(selection, FamilySelection) else [selection]
    return any(one.choices for one in each)


def _entry(store: Store, file: Path, job: Mapping[str, Any]) -> Entry:
    page = store.folder / "pages" / f"{file.stem}.html"
    done = sum((store.place(key) / MANIFEST).is_file() for key in job["cells"])
    return Entry(
        title=str(job["name"]),
        kind=KINDS.get(str(job["kind"]), str(job["kind"])),
        page=f"pages/{page.name}" if page.is_file() else "",
        cells=f"{done} of {len(job['cells'])}",
        settings=tomli_w.dumps(job["config"]),
    )
