"""The experiment as a job: a cell is a method on its problem. Missing cells are run, and all methods are compared."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

from workbench.compare import Comparison
from workbench.errors import InputError, checks_arguments, typed
from workbench.experiment.config import Experiment
from workbench.files import DAMAGED
from workbench.jobs.base import Cell, DamagedCellError, Job, Losses, Progress, Record, nothing_in
from workbench.jobs.formats import NEVER, why_missing
from workbench.jobs.names import Stored, jobs_of
from workbench.jobs.running import Outcome, Reuse, Watch, record_of, run_job
from workbench.jobs.setting import Setting, trace_of
from workbench.jobs.store import Store
from workbench.loop.pool import Checkpoint
from workbench.loop.trace import Trace


class ExperimentJob(Job):
    """A job that runs the methods of one experiment."""

    kind: ClassVar[str] = "experiment"
    plural: ClassVar[str] = "runs"

    def __init__(self, name: str, setting: Setting, methods: Sequence[str]) -> None:
        self.name = name
        self.setting = setting
        self.methods = methods
        self.checkpoint_seconds = setting.experiment.run.checkpoint_seconds

    @classmethod
    def of(
        cls, experiment: Experiment, name: str, folder: Path | str = ".", only: Collection[str] | None = None
    ) -> "ExperimentJob":
        """The job of an experiment, after a check that every method can solve its problem.

        Args:
            experiment: the config.
            name: shown in tables and reports.
            folder: the folder that a relative `data.file` is relative to.
            only: names of the methods that run; by default all.

        Raises:
            InputError: the data cannot be read, or a method cannot solve the problem.
        """
        chosen = _choose(experiment, only)
        setting = Setting.of(experiment, folder)
        wanted = {"methods": {m: experiment.methods[m] for m in chosen}}
        setting.experiment.model_copy(update=wanted).check(setting.problem)
        return cls(name, setting, chosen)

    @classmethod
    def stored(cls, folder: Path, record: Mapping[str, Any], where: str) -> "ExperimentJob":
        """The experiment that a folder keeps, with its points."""
        setting = Setting.stored(folder, record, where)
        return cls(str(record["name"]), setting, list(setting.experiment.methods))

    def cells(self) -> Sequence[Cell]:
        """One for each method that was chosen."""
        return [self.setting.cell(method) for method in self.methods]

    def all_cells(self) -> Sequence[Cell]:
        """One for each method."""
        return [self.setting.cell(method) for method in self.setting.experiment.methods]

    def identity(self) -> dict[str, Any]:
        """The experiment and its points; the path of a data file is not part of it."""
        resolved = self.setting.experiment.resolved()
        return {
            "data_digest": self.setting.digest,
            "experiment": resolved | {"data": resolved["data"] | {"file": None}},
        }

    def run(self, cell: Cell, checkpoint: Checkpoint, progress: Progress | None) -> Record:
        """Run one method; the record of its trace."""
        return self.setting.run(cell.name, checkpoint, progress)[1]

    def config(self) -> dict[str, Any]:
        """The resolved experiment and a digest of its points."""
        return {"experiment": self.setting.experiment.resolved(), "data_digest": self.setting.digest}

    def prepare(self, folder: Path) -> None:
        """Store the points."""
        self.setting.points.keep(folder)

    def result(self, store: Store, outcomes: Sequence[Outcome]) -> Comparison:
        """The comparison of all methods that ran."""
        traces = {o.cell.name: _trace(store, self.setting, o) for o in outcomes if o.failure is None}
        return replace(
            self.setting.comparison(self.name, traces),
            failures={o.cell.name: _why_failed(o) for o in outcomes if o.failure is not None},
            stale={o.cell.name: o.stale for o in outcomes if o.stale is not None and o.failure is None},
        )


@checks_arguments
def run_experiment(
    experiment: Experiment,
    *,
    name: str = "experiment",
    out: Path | str = "results/experiment",
    folder: Path | str = ".",
    only: Collection[str] | None = None,
    force: bool = False,
    keep_stale: bool = False,
    retry: bool = False,
    watch: Watch | None = None,
) -> Comparison:
    """Run the methods of an experiment whose runs are not stored yet, and compare all of them.

    Every finished run is stored at once. A run that raises is stored as a failure and reported in `failures`, and the
    others go on. An interrupted run leaves a checkpoint in the results folder, from which it resumes the next time.
    With several hosts the first one writes, and a failing method ends the run on all of them. A stored run that other
    code made, or that is damaged, is run again.

    Args:
        experiment: the config.
        name: shown in tables and reports.
        out: the results folder.
        folder: the folder that a relative `data.file` is relative to.
        only: names of methods to run and compare; by default all.
        force: run stored methods again.
        keep_stale: use stored runs that other code made; the comparison names them as stale.
        retry: run failed methods again.
        watch: returns a progress callback for each method that runs.

    Raises:
        InputError: the data cannot be read, or a method cannot solve the problem; raised before anything runs.
    """
    job, store = ExperimentJob.of(experiment, name, folder, only), Store(out)
    return job.result(store, run_job(job, store, reuse=Reuse(force, keep_stale, retry), watch=watch))


def load_experiments(folder: Path | str) -> list[tuple[Comparison, Experiment]]:
    """Every experiment of a results folder with at least one finished run, oldest first.

    The log names a job whose file or points are damaged, and the others are returned.

    Raises:
        InputError: the folder holds no sound runs.
    """
    return [each.results for each in stored_experiments(folder)]


def stored_experiments(folder: Path | str) -> list[Stored[tuple[Comparison, Experiment]]]:
    """As `load_experiments`, each with the id of its job.

    Raises:
        InputError: as `load_experiments`.
    """
    store = Store(folder)
    if not store.folder.is_dir():
        raise InputError(f"{store.folder}: {nothing_in(store.folder)}")
    loaded, losses = list[Stored[tuple[Comparison, Experiment]]](), Losses()
    for job in jobs_of(store, ExperimentJob.kind):
        with losses.caught():
            comparison, experiment = load_experiment(store, job.file, job.record)
            loaded.append(Stored(job.id, job.name, (replace(comparison, name=job.name), experiment)))
    found = [each for each in loaded if len(each.results[0])]
    losses.tell(others=bool(found))
    if not found:
        lost = sorted({why for each in loaded for why in each.results[0].missing.values() if why != NEVER})
        if lost:
            raise InputError(f"{store.folder}: no finished runs: {'; '.join(lost)}")
        raise InputError(f"{store.folder}: {nothing_in(store.folder)}")
    return found


def load_experiment(store: Store, file: Path, job: Mapping[str, Any]) -> tuple[Comparison, Experiment]:
    """A stored experiment, with its finished runs, of which there may be none.

    Raises:
        DamagedJobError: its points are damaged.
        InputError: its file is damaged.
    """
    setting = Setting.stored(store.folder, job, str(file))
    return load_stored(store, setting, job["name"]), setting.experiment


def load_stored(store: Store, setting: Setting, name: str) -> Comparison:
    """The stored runs of an experiment. Damaged runs are named among the missing.

    Raises:
        InputError: a newer workbench wrote one.
    """
    traces: dict[str, Trace] = {}
    stale: dict[str, str] = {}
    missing: dict[str, str] = {}
    for method in setting.experiment.methods:
        cell = setting.cell(method)
        try:
            kept = store.look(cell)
            if kept is None:
                missing[method] = why_missing(store.place(cell.key))
                continue
            if kept.failure:
                missing[method] = f"it failed: {kept.failure}"
                continue
            traces[method] = _trace(store, setting, Outcome(cell))
        except DamagedCellError as error:
            missing[method] = str(error)
            continue
        if kept.stale is not None:
            stale[method] = kept.stale
    return replace(setting.comparison(name, traces), missing=missing, stale=stale)


def _trace(store: Store, setting: Setting, outcome: Outcome) -> Trace:
    """The trace of a finished cell.

    Raises:
        DamagedCellError: it does not fit the problem, or has changed since it was written.
    """
    record = record_of(store, outcome)
    try:
        return trace_of(record, setting.problem)
    except DAMAGED as error:
        raise store.damaged(outcome.cell.key, str(error)) from None


def _why_failed(outcome: Outcome) -> str:
    """The failure of a cell, and what to do if it was not retried."""
    return f"{outcome.failure} (in an earlier run; --retry tries it again)" if outcome.before else str(outcome.failure)


def _choose(experiment: Experiment, only: Collection[str] | None) -> list[str]:
    if only is None:
        return list(experiment.methods)
    unknown = [name for name in only if name not in experiment.methods]
    if unknown or not only:
        raise InputError(f"--methods: {typed(unknown)}: not in the experiment; it has {', '.join(experiment.methods)}")
    return [name for name in experiment.methods if name in only]
