"""Every kind of job, by the name that the files under `jobs/` of a results folder use."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from workbench.errors import InputError, shown
from workbench.jobs.atlas import AtlasJob
from workbench.jobs.base import Job
from workbench.jobs.claims import LedgerJob
from workbench.jobs.experiment import ExperimentJob
from workbench.jobs.selection import SelectionJob
from workbench.jobs.study import StudyJob
from workbench.jobs.sweep import SweepJob

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
