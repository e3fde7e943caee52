"""Every kind of job, by the name that the files under `jobs/` of a results folder use, and the results of each."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar

from workbench.compare import Comparison, ComparisonTable, table
from workbench.data.names import unknown_name
from workbench.errors import InputError, shown
from workbench.jobs.atlas import Atlases, AtlasJob, load_atlas_job
from workbench.jobs.base import DamagedJobError, Job, Losses
from workbench.jobs.claims import LedgerJob
from workbench.jobs.experiment import ExperimentJob, load_experiments
from workbench.jobs.judged import Judged, load_ledger, plain, reading_of, table_of_claims
from workbench.jobs.selection import SelectionJob, load_selection
from workbench.jobs.store import Store
from workbench.jobs.study import StudyJob, load_findings
from workbench.jobs.sweep import SweepJob, load_sweep, load_swept
from workbench.selection import FamilySelection, Selection
from workbench.studies import Findings

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


# Names of jobs that a message lists.
MOST_NAMED = 8


class HasName(Protocol):
    """Results that are known by a name."""

    @property
    def name(self) -> str:
        """The name of the job."""
        ...


Results = TypeVar("Results", bound=HasName)


@dataclass(frozen=True)
class Found:
    """The results of one job."""

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
    jobs = [(file, job) for file, job in store.jobs() if job["kind"] != ExperimentJob.kind]
    others, tables, losses = list[Found](), list[ComparisonTable](), Losses()
    for file, job in jobs:
        with losses.caught():
            others += [found] if (found := _found(store, file, job)) is not None else []
    with losses.caught():
        try:
            tables = [table(comparison) for comparison, _ in load_experiments(folder)]
        except DamagedJobError:
            raise
        except InputError:
            if not others and not losses.errors:
                raise
    losses.tell(others=bool(tables or others))
    return [Found(str(each), each.to_json()) for each in tables] + others


def load_results(folder: Path | str) -> list[Comparison]:
    """Every stored comparison of a results folder, oldest first: of experiments, then of each setting of its sweeps.

    Raises:
        InputError: there is no such folder, it holds no finished runs, or a file is damaged.
    """
    swept = load_swept(Store(folder)) if Path(folder).is_dir() else []
    if swept and not Store(folder).jobs(ExperimentJob.kind):
        return swept
    found, losses = list[Comparison](), Losses()
    with losses.caught():
        found = [comparison for comparison, _ in load_experiments(folder)]
    losses.tell(others=bool(swept))
    return found + swept


def selections_in(folder: Path) -> list[Selection | FamilySelection]:
    """Every stored choice of K of a results folder, oldest first.

    Raises:
        InputError: there is none, or a file is damaged.
    """
    store = Store(folder)
    found = [load_selection(store, file, job) for file, job in store.jobs(SelectionJob.kind)]
    if not found:
        raise InputError(f"{folder}: holds no selection; make one with `workbench select FILE --out {folder}`")
    return found


def named(found: Sequence[Results], job: str | None, folder: Path) -> list[Results]:
    """The results of the job of that name, or of the jobs whose names hold the text; all of them without a name.

    Raises:
        InputError: there is none; the message lists those that there are.
    """
    if job is None:
        return list(found)
    exact = [each for each in found if each.name == job]
    some = exact or [each for each in found if job in each.name]
    if not some:
        raise InputError(f"--job: {unknown_name('job', job, [each.name for each in found])} (in {folder})")
    return some


def newest_of(found: Sequence[Results], job: str | None, folder: Path) -> tuple[Results, str]:
    """The newest of the results of a job of that name, or of any job, and what to say of the others; empty if none.

    Whoever tries one setting after another asks for the last of them.

    Args:
        found: all results, oldest first.
        job: the name of a job or a part of it.
        folder: where they lie, for messages.

    Raises:
        InputError: there is no such job.
    """
    some = named(found, job, folder)
    *others, newest = some
    if not others:
        return newest, ""
    names = list(dict.fromkeys(repr(each.name) for each in reversed(others) if each.name != newest.name))
    more = f" and {len(names) - MOST_NAMED} more" if len(names) > MOST_NAMED else ""
    which = f"; --job NAME shows another: {', '.join(names[:MOST_NAMED])}{more}" if names else ""
    return newest, f"{folder}: the newest of {len(some)} jobs, {newest.name!r}{which}"


def _found(store: Store, file: Path, job: Mapping[str, Any]) -> Found | None:
    match job["kind"]:
        case StudyJob.kind:
            findings = load_findings(store, file, job)
            return _study(findings) if findings.rows else None
        case AtlasJob.kind:
            atlases = load_atlas_job(store, file, job)
            return _atlases(atlases) if atlases.atlases else None
        case SelectionJob.kind:
            selection = load_selection(store, file, job)
            return Found(str(selection), selection.to_json())
        case SweepJob.kind:
            swept = load_sweep(store, job)
            values = {"sweep": job["name"], "cells": json.loads(swept.to_json())}
            return Found(f"{job['name']}\n{swept}\n{swept.reading}", json.dumps(values)) if len(swept) else None
        case LedgerJob.kind:
            judged = load_ledger(store, file, job)
            return _claims(str(job["name"]), judged) if judged else None
        case _:
            return None


def _claims(name: str, judged: Sequence[Judged]) -> Found:
    values = {"ledger": name, "reading": reading_of(judged), "claims": [plain(each) for each in judged]}
    return Found(f"{name}\n{table_of_claims(judged)}\n{reading_of(judged)}", json.dumps(values, allow_nan=False))


def _study(findings: Findings) -> Found:
    values = {"study": findings.study.study, "rows": findings.rows, "note": findings.note}
    return Found(str(findings), json.dumps(values))


def _atlases(found: Atlases) -> Found:
    name = found.comparison.name
    values = {"atlas": name, "reading": found.reading, "atlases": [each.to_dict() for each in found.atlases]}
    return Found(str(found), json.dumps(values))
