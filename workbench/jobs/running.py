"""Running a job: missing cells are run and stored, sound stored cells are used, and problems are reported."""

import json
import logging
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from workbench.engine.hosts import from_first_host, leads, on_first_host, several
from workbench.errors import InputError
from workbench.jobs.base import DONE, FAILED, Cell, DamagedCellError, Failure, Job, Kept, Progress, Record
from workbench.jobs.store import Store
from workbench.loop.pool import Checkpoint
from workbench.memory_maps import make_room
from workbench.provenance import announce_stale

Watch = Callable[[str], Progress | None]  # the name of what is run -> a progress callback

_LOG = logging.getLogger("workbench")

# The keys of an identity that identify the data of a cell.
DIGESTS_OF_DATA = ("data", "files")

# The most stored cells of one name that are compared with a new cell to detect changed data.
MOST_LOOKED_AT = 200

# Failures of the machine, not of the cell. They are not stored, and the cell is tried again the next time.
PASSING = (OSError, MemoryError)


@dataclass(frozen=True)
class Reuse:
    """Which stored cells are used and which are run again."""

    force: bool = False  # run every cell again
    keep_stale: bool = False  # use cells that other code made
    retry: bool = False  # run failed cells again


@dataclass(frozen=True)
class Outcome:
    """The outcome of a cell."""

    cell: Cell
    failure: str | None = None  # why it has no record
    stale: str | None = None  # the other code that made it, if it is stale
    record: Record | None = None  # if this process has just run it; otherwise it is on disk
    before: bool = False  # whether it failed in an earlier run and was not retried


class Finished(Protocol):
    """How a cell ended in another process."""

    key: str
    failure: str | None
    elsewhere: bool


class Executor(Protocol):
    """Runs cells in other processes; `executors.Workers` is one."""

    def run(self, job: Job, store: Store, keys: Sequence[str], reuse: Reuse) -> Iterator[Any]:
        """Run cells, and yield a `Finished` for each when it is done."""


def run_job(
    job: Job,
    store: Store,
    *,
    reuse: Reuse | None = None,
    watch: Watch | None = None,
    executor: Executor | None = None,
) -> list[Outcome]:
    """Run the cells of a job that are not stored yet, and return the outcome of each cell.

    The reason of a failed cell is stored, and the other cells go on. A cell that another process is running is left to
    that process, and waited for at the end.

    Args:
        job: what to run.
        store: where cells are stored.
        reuse: which stored cells are used; by default those that are sound and made by the present code.
        watch: returns a progress callback.
        executor: the processes that run cells; by default this process.

    Raises:
        InputError: the folder cannot be written, or a newer workbench wrote there.
    """
    reuse = Reuse() if reuse is None else reuse
    cells = {cell.key: cell for cell in job.cells()}
    on_first_host(lambda: _keep(store, job))
    kept, pending = _sort(job, store, list(cells.values()), reuse)
    if leads():
        _warn_of_changed_data(store, [cells[key] for key in cells if key in pending])
    outcomes = {key: _as_kept(cells[key], found) for key, found in kept.items()}
    counting = watch(job.name) if watch is not None and (job.counted or executor is not None) else None
    own = watch if counting is None else None
    ran = (
        _one_by_one(job, store, [cells[key] for key in cells if key in pending], reuse, own)
        if executor is None
        else _elsewhere(job, store, {key: cells[key] for key in cells if key in pending}, reuse, executor)
    )
    if counting is not None:
        counting(len(outcomes), len(cells))
    for outcome in ran:
        outcomes[outcome.cell.key] = outcome
        if counting is not None:
            counting(len(outcomes), len(cells))
    for key, cell in cells.items():
        if key not in outcomes:
            _LOG.warning("%s is run by another process: waiting for it", job.label(cell))
            found = run_if_free(job, store, cell, reuse, own, wait=True)
            assert found is not None
            outcomes[key] = found
    if leads() and not several():
        store.tidy([key for key, outcome in outcomes.items() if outcome.failure is None])
    return [outcomes[key] for key in cells]


def _one_by_one(job: Job, store: Store, cells: Sequence[Cell], reuse: Reuse, watch: Watch | None) -> Iterator[Outcome]:
    """Run cells in this process, except those that another process has claimed."""
    for place, cell in enumerate(cells):
        job.announce(cells[place + 1 :])
        outcome = run_if_free(job, store, cell, reuse, watch)
        if outcome is not None:
            yield outcome


def _elsewhere(
    job: Job, store: Store, cells: Mapping[str, Cell], reuse: Reuse, executor: Executor
) -> Iterator[Outcome]:
    """Run cells in other processes."""
    for done in executor.run(job, store, list(cells), reuse) if cells else ():
        if not done.elsewhere:
            yield Outcome(cells[done.key], failure=done.failure)


def run_cell(job: Job, store: Store, cell: Cell, progress: Progress | None = None, *, afresh: bool = False) -> Outcome:
    """Run one cell and store its record or failure.

    Args:
        job: the job of the cell.
        store: where the cell is stored.
        cell: what to run.
        progress: a callback that takes the number of steps done and the total.
        afresh: whether to ignore the checkpoint of an interrupted run.

    Raises:
        Exception: any error that is not among the job's failures; with several hosts, any error.
    """
    made_by = cell.made_by.code_and_versions
    checkpoint = Checkpoint(store.checkpoint_place(cell.key), job.checkpoint_seconds, code=made_by)
    if afresh:
        checkpoint.remove()
    begun = time.perf_counter()
    make_room()
    try:
        record = job.run(cell, checkpoint, progress)
        if leads():
            store.save(job.kind, cell, record, time.perf_counter() - begun)
    except job.failures as error:
        if several() or (isinstance(error, InputError) and InputError not in job.failures):
            # After a failure on one host the hosts are no longer synchronised, so the job cannot go on.
            raise
        failure = Failure.of(error, traceback.format_exc())
        if isinstance(error, PASSING):
            return Outcome(cell, failure=f"{failure.message}; it is not stored, and the same command tries it again")
        store.save_failure(job.kind, cell, failure, time.perf_counter() - begun)
        checkpoint.remove()
        return Outcome(cell, failure=failure.message)
    checkpoint.remove()
    return Outcome(cell, record=record)


def record_of(store: Store, outcome: Outcome) -> Record:
    """The record of a cell.

    Raises:
        DamagedCellError: it cannot be read.
    """
    return store.load(outcome.cell.key) if outcome.record is None else outcome.record


def _keep(store: Store, job: Job) -> None:
    store.keep(job)


def _sort(job: Job, store: Store, cells: Sequence[Cell], reuse: Reuse) -> tuple[dict[str, Kept], set[str]]:
    """The stored cells that can be used, and the keys of the cells to run; equal on every host."""
    kept: dict[str, Kept] = {}
    damaged: list[str] = []
    stale: list[str | None] = []
    superseded = 0
    for cell in cells if not reuse.force and leads() else []:
        try:
            stored = store.look(cell)
            found = None if stored is None else job.as_it_stands(store, cell, stored)
        except DamagedCellError as error:
            damaged.append(str(error).partition("; delete")[0])
            continue
        superseded += stored is not None and found is None
        if found is not None and not (reuse.retry and found.status == FAILED):
            stale.append(found.stale)
            if found.stale is None or reuse.keep_stale:
                kept[cell.key] = found
    announce_stale(stale, f"stored {job.plural}", kept=reuse.keep_stale)
    for each in damaged:
        _LOG.warning("%s: run again", each)
    if superseded:
        _LOG.warning("what %d stored %s rest on has changed since: run again", superseded, job.plural)
    there = np.asarray([cell.key in kept for cell in cells], bool)
    usable = from_first_host(there) if several() else there
    pending = {cell.key for cell, is_there in zip(cells, usable, strict=True) if not is_there}
    if several() and not leads():
        kept = {cell.key: Kept(DONE, {}) for cell in cells if cell.key not in pending}
    return kept, pending


def _warn_of_changed_data(store: Store, pending: Sequence[Cell]) -> None:
    """Warn if the first pending cell is stored with all the same settings but other data."""
    cell = pending[0] if pending else None
    if cell is None or store.place(cell.key).exists():
        return
    own = _without_data(json.loads(json.dumps(dict(cell.identity))))
    config = None if cell.config is None else dict(cell.config)
    for key in [key for key in store.stored_keys() if key.rpartition("-")[0] == cell.name][:MOST_LOOKED_AT]:
        try:
            found = store.manifest(key)
        except InputError:
            continue
        if found is not None and _without_data(found["identity"]) == own and store.config(key) == config:
            since = time.strftime("%Y-%m-%d %H:%M", time.localtime(store.place(key).stat().st_mtime))
            _LOG.warning("the data have changed since %s, when %s was run: run anew", since, key)
            return


def _without_data(identity: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in identity.items() if name not in DIGESTS_OF_DATA}


def _as_kept(cell: Cell, kept: Kept) -> Outcome:
    failure = kept.failure if kept.status == FAILED else None
    return Outcome(cell, failure=failure, stale=kept.stale, before=failure is not None)


def run_if_free(
    job: Job, store: Store, cell: Cell, reuse: Reuse, watch: Watch | None = None, *, wait: bool = False
) -> Outcome | None:
    """Run a cell in this process, unless another process has finished it in the meantime.

    Args:
        job: the job of the cell.
        store: where the cell is stored.
        cell: what to run.
        reuse: which stored cells are used.
        watch: returns a progress callback.
        wait: whether to wait for another process that has claimed the cell.

    Returns:
        The outcome; None if another process has claimed the cell and `wait` is false.
    """
    if several():
        return run_cell(job, store, cell, _progress_of(job, cell, watch), afresh=reuse.force)
    with store.claimed(cell.key, wait) as held:
        if not held:
            return None
        if not reuse.force and (found := _done_meanwhile(job, store, cell, reuse)) is not None:
            return _as_kept(cell, found)
        return run_cell(job, store, cell, _progress_of(job, cell, watch), afresh=reuse.force)


def _progress_of(job: Job, cell: Cell, watch: Watch | None) -> Progress | None:
    return None if watch is None else watch(job.label(cell))


def _done_meanwhile(job: Job, store: Store, cell: Cell, reuse: Reuse) -> Kept | None:
    """The record, or the failure that is not retried, that another process has stored since this one looked."""
    try:
        stored = store.look(cell)
        found: Kept | None = None if stored is None else job.as_it_stands(store, cell, stored)
    except DamagedCellError:
        return None
    if found is None or found.stale is not None:
        return None
    return found if found.status == DONE or not reuse.retry else None
