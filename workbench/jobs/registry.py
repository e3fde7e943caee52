"""Every kind of job, by the name that the files under `jobs/` of a results folder use, and the results of each."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from workbench.compare import Comparison, table
from workbench.errors import InputError, checks_arguments, shown
from workbench.jobs.atlas import Atlases, AtlasJob, load_atlas_job
from workbench.jobs.base import DamagedJobError, Job, Losses
from workbench.jobs.claims import LedgerJob
from workbench.jobs.experiment import ExperimentJob, stored_experiments
from workbench.jobs.judged import Judged, load_ledger, plain, reading_of, table_of_claims
from workbench.jobs.names import Stored, StoredJob, jobs_of
from workbench.jobs.selection import SelectionJob, load_selection
from workbench.jobs.store import Store
from workbench.jobs.study import StudyJob, load_findings
from workbench.jobs.sweep import SweepJob, load_sweep, load_swept
from workbench.selection import FamilySelection, Selection
from workbench.studies import Findings
from workbench.wrapping import paragraph

JOBS: dict[str, type[Job]] = {
    ExperimentJob.kind: ExperimentJob,
    SweepJob.kind: SweepJob,
    StudyJob.kind: StudyJob,
    AtlasJob.kind: AtlasJob,
    SelectionJob.kind: SelectionJob,
    LedgerJob.kind: LedgerJob,
}


def stored_job(folder: Path, record: Mapping[str, Any], where: str) -> Job:
    """A job that a results folder keeps, which can be run again.

    Args:
        folder: the results folder.
        record: the content of its file.
        where: the file, for messages.

    Raises:
        InputError: its kind is unknown, it is damaged, or its data cannot be found.
    """
    kind = record["kind"]
    if kind not in JOBS:
        raise InputError(f"{where}: kind: unknown {shown(kind)}; allowed: {', '.join(JOBS)}")
    return JOBS[kind].stored(folder, record, where)


@dataclass(frozen=True)
class Found:
    """The results of one job, as text and as JSON."""

    id: str
    name: str
    text: str
    values: str  # JSON

    def to_json(self) -> str:
        """JSON on one line."""
        return self.values

    def __str__(self) -> str:
        return self.text


def found_in(folder: Path) -> list[Found]:
    """The results of every job of a results folder: experiments first, then the others, oldest first.

    The log names a damaged job, and the others are returned.

    Raises:
        InputError: there is no such folder, or nothing in it is finished and sound.
    """
    store = Store(folder)
    jobs = [job for job in jobs_of(store) if job.kind != ExperimentJob.kind]
    others, tables, losses = list[Found](), list[Found](), Losses()
    for job in jobs:
        with losses.caught():
            others += [Found(job.id, job.name, *found)] if (found := _found(store, job)) is not None else []
    with losses.caught():
        try:
            for each in stored_experiments(folder):
                shown = table(each.results[0])
                tables.append(Found(each.id, each.name, str(shown), shown.to_json()))
        except DamagedJobError:
            raise
        except InputError:
            if not others and not losses.errors:
                raise
    losses.tell(others=bool(tables or others))
    return tables + others


@checks_arguments
def load_results(folder: Path | str) -> list[Comparison]:
    """Every stored comparison of a results folder, oldest first: of experiments, then of each setting of its sweeps.

    Raises:
        InputError: there is no such folder, it holds no finished runs, or a file is damaged.
    """
    return [each.results for each in results_in(folder)]


def results_in(folder: Path | str) -> list[Stored[Comparison]]:
    """As `load_results`, each with the id of its job.

    Raises:
        InputError: as `load_results`.
    """
    swept = load_swept(Store(folder)) if Path(folder).is_dir() else []
    if swept and not Store(folder).jobs(ExperimentJob.kind):
        return swept
    found, losses = list[Stored[Comparison]](), Losses()
    with losses.caught():
        found = [Stored(each.id, each.name, each.results[0]) for each in stored_experiments(folder)]
    losses.tell(others=bool(swept))
    return found + swept


def selections_in(folder: Path) -> list[Stored[Selection | FamilySelection]]:
    """Every stored choice of K of a results folder, oldest first.

    Raises:
        InputError: there is none, or a file is damaged.
    """
    store = Store(folder)
    jobs = jobs_of(store, SelectionJob.kind)
    if not jobs:
        raise InputError(f"{folder}: holds no selection; make one with `workbench select FILE --out {folder}`")
    return [Stored(job.id, job.name, load_selection(store, job.file, job.record)) for job in jobs]


def _found(store: Store, stored: StoredJob) -> tuple[str, str] | None:
    """The text and the JSON of what a job found; None if nothing of it is finished."""
    file, job = stored.file, stored.record
    match stored.kind:
        case StudyJob.kind:
            findings = load_findings(store, file, job)
            return _study(findings) if findings.rows else None
        case AtlasJob.kind:
            atlases = load_atlas_job(store, file, job)
            return _atlases(atlases) if atlases.atlases else None
        case SelectionJob.kind:
            selection = load_selection(store, file, job)
            return str(selection), selection.to_json()
        case SweepJob.kind:
            swept = load_sweep(store, job)
            values = {"sweep": job["name"], "cells": json.loads(swept.to_json())}
            return (f"{stored.name}\n{swept}\n{paragraph(swept.reading)}", json.dumps(values)) if len(swept) else None
        case LedgerJob.kind:
            judged = load_ledger(store, file, job)
            return _claims(str(job["name"]), judged) if judged else None
        case _:
            return None


def _claims(name: str, judged: Sequence[Judged]) -> tuple[str, str]:
    values = {"ledger": name, "reading": reading_of(judged), "claims": [plain(each) for each in judged]}
    return f"{name}\n{table_of_claims(judged)}\n{paragraph(reading_of(judged))}", json.dumps(values, allow_nan=False)


def _study(findings: Findings) -> tuple[str, str]:
    values = {"study": findings.study.study, "rows": findings.rows, "note": findings.note}
    return str(findings), json.dumps(values)


def _atlases(found: Atlases) -> tuple[str, str]:
    name = found.comparison.name
    values = {"atlas": name, "reading": found.reading, "atlases": [each.to_dict() for each in found.atlases]}
    return str(found), json.dumps(values)
