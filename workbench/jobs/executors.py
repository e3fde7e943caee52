"""Who runs the cells of a job besides this process: workers on this machine, on a Dask cluster, or under SLURM.

The pools are libraries': joblib's loky, Dask's distributed, submitit. Each of them calls one function, which claims a
cell, runs it and stores it; what comes back is a word on how it went, and the records are on disk. A worker that is
lost takes nothing with it: its cell is claimed by nobody any more, and is run again.
"""

import logging
import os
import sys
import threading
import time
import uuid
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import jax

from workbench.engine.compat.compilation import keep_compiled_programs
from workbench.engine.devices import ask_for_devices, num_cores
from workbench.errors import InputError
from workbench.jobs.base import Cell, Job
from workbench.jobs.running import Outcome, Reuse, run_if_free
from workbench.jobs.store import Store
from workbench.methods import Method, own_methods, register

EXECUTORS = ("loky", "dask", "slurm")

# How often a cell may lose its worker before it counts as failed.
LOSSES = 2

# A call of a worker begins no further cell after so many seconds, so that progress is shown and no worker waits for
# what another has been given; and is given no more cells than so many, and than took half of the time before.
SLICE, MOST = 1.0, 64

LOST = "the process that ran it was lost"

# The thread of a worker that looks after its parent.
_WATCH = "workbench-parent"

_LOG = logging.getLogger("workbench")


class Done(NamedTuple):
    """How a cell went."""

    key: str
    failure: str | None  # why there is no record
    elsewhere: bool = False  # whether another process has it


class Share(NamedTuple):
    """What a call of a worker has come to."""

    done: tuple[Done, ...]
    seconds: float


class Known(NamedTuple):
    """A job as a worker has it."""

    job: Job
    cells: dict[str, Cell]


# The job that this process works for: its cells, what it has read, and what it has compiled serve many calls.
_KNOWN: dict[str, Known] = {}


@dataclass(frozen=True)
class Work:
    """A job for workers: called with the keys of cells, it runs them in the worker's process.

    It travels to workers as these libraries send functions, between processes of one user's; nothing that lies in a
    results folder is read so.
    """

    job: Job
    folder: Path
    reuse: Reuse
    devices: int  # for each worker
    x64: bool
    token: str  # tells one job from others in a worker
    parent: int  # the process that began it all
    own: tuple[type[Method], ...] = ()  # methods that a user has registered

    def __call__(self, *keys: str) -> Share:
        """Run the first cell here, and of the others as many as begin within a second, but for what others have.

        Cells that follow each other share data, starts and programs, and a call takes longer than a small cell.
        """
        if self.token not in _KNOWN:
            _begin(self.devices, self.x64, self.parent)
            for kind in self.own:
                register(kind)
            _KNOWN.clear()
            _KNOWN[self.token] = Known(self.job, {cell.key: cell for cell in self.job.cells()})
        known, begun = _KNOWN[self.token], time.monotonic()
        done: list[Done] = []
        while len(done) < len(keys) and (not done or time.monotonic() < begun + SLICE):
            key = keys[len(done)]
            outcome: Outcome | None = run_if_free(known.job, Store(self.folder), known.cells[key], self.reuse)
            done.append(Done(key, None if outcome is None else outcome.failure, elsewhere=outcome is None))
        return Share(tuple(done), time.monotonic() - begun)


@dataclass(frozen=True)
class Workers:
    """Where cells are run: `executor` names the library, `jobs` how many workers, `address` a Dask scheduler."""

    executor: str = "loky"
    jobs: int = 1
    address: str | None = None

    def check(self) -> None:
        """Refuse what is not installed, or no number of workers.

        Raises:
            InputError: names the package.
        """
        if self.executor not in EXECUTORS:
            raise InputError(f"--executor: unknown {self.executor!r}; allowed: {', '.join(EXECUTORS)}")
        needed = {"dask": "distributed", "slurm": "submitit"}.get(self.executor)
        if needed is not None and find_spec(needed) is None:
            raise InputError(f"--executor {self.executor}: needs {needed}; pip install 'workbench[{self.executor}]'")
        if self.jobs < 1:
            raise InputError(f"--jobs: must be at least 1, got {self.jobs}")

    def run(self, job: Job, store: Store, keys: Sequence[str], reuse: Reuse) -> Iterator[Done]:
        """Run cells, and tell of each as it is done.

        Raises:
            InputError: a worker refuses its input.
        """
        devices = max(1, num_cores() // self.jobs)
        x64 = bool(jax.config.jax_enable_x64)  # type: ignore[attr-defined]  # set by JAX at import
        work = Work(job, store.folder.resolve(), reuse, devices, x64, uuid.uuid4().hex, os.getpid(), own_methods())
        match self.executor:
            case "dask":
                yield from _by_dask(work, keys, self.jobs, self.address)
            case "slurm":
                yield from _by_slurm(work, keys, self.jobs)
            case _:
                yield from _by_loky(work, keys, self.jobs)


def _begin(devices: int, x64: bool, parent: int) -> None:
    """Set a worker up as the command line sets itself up, before JAX begins."""
    if os.getppid() == parent and not any(thread.name == _WATCH for thread in threading.enumerate()):
        threading.Thread(target=_end_with, args=(parent,), name=_WATCH, daemon=True).start()
    ask_for_devices(devices)
    jax.config.update("jax_enable_x64", x64)
    keep_compiled_programs()


def _end_with(parent: int) -> None:
    """Wait until the process that began this one is gone, however it went, and go as well."""
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(1)


def _by_loky(work: Work, keys: Sequence[str], jobs: int) -> Iterator[Done]:
    """In processes of this machine; where one is lost, what is left goes to new ones.

    Nobody knows whose cell took a process with it. So what is left after some losses without a cell done goes one by
    one, each in a process to itself, and one that loses its process as often again has failed.
    """
    left, lost, most = list(keys), 0, MOST
    while left and lost < LOSSES:
        before = len(left)
        for done in _by_pool(work, left, jobs, most):
            left.remove(done.key)
            yield done
        # From the first loss on each cell travels by itself, and takes no other with it.
        most, lost = 1, lost + 1 if len(left) == before else 0
    for key in left:
        tries = (done for _ in range(LOSSES) for done in _by_pool(work, [key], 1, 1))
        yield next(tries, Done(key, LOST))


def _by_pool(work: Work, keys: Sequence[str], jobs: int, most: int) -> Iterator[Done]:
    """As far as no process is lost, and up to so many cells in one call."""
    from joblib.externals.loky import get_reusable_executor, wait
    from joblib.externals.loky.process_executor import BrokenProcessPool

    # An interrupted process ends at once, and leaves loky's watcher to remove its semaphores: no reason to warn.
    sys.warnoptions.append("ignore:resource_tracker")
    pool = get_reusable_executor(max_workers=jobs)
    ahead, sent, size = deque(keys), dict[Any, tuple[str, ...]](), 1
    try:
        while ahead or sent:
            # One call waits for each that runs, so that no worker waits for this process.
            while ahead and len(sent) < 2 * jobs:
                given = tuple(ahead.popleft() for _ in range(min(size, len(ahead))))
                sent[pool.submit(work, *given)] = given
            for future in wait(sent, return_when="FIRST_COMPLETED").done:
                given, share = sent.pop(future), future.result()
                ahead.extendleft(reversed(given[len(share.done) :]))
                size = max(1, min(int(len(share.done) * SLICE / 2 / max(share.seconds, 1e-3)), 2 * size, most))
                yield from share.done
    except BrokenProcessPool:
        _LOG.warning("a worker was lost: its cell is run again")
    except BaseException:
        # Interrupted, or input is wrong: what has not begun is not to begin.
        pool.shutdown(wait=False, kill_workers=True)
        raise


def _by_dask(work: Work, keys: Sequence[str], jobs: int, address: str | None) -> Iterator[Done]:
    """By a Dask scheduler, or a cluster of this machine where none is named; Dask runs again what a worker loses."""
    from distributed import Client, LocalCluster, as_completed
    from distributed.scheduler import KilledWorker

    options: dict[str, Any] = {"n_workers": jobs, "threads_per_worker": 1, "dashboard_address": None}
    cluster: Any = None if address is not None else LocalCluster(**options)  # type: ignore[no-untyped-call]
    try:
        with Client(address if cluster is None else cluster) as client:  # type: ignore[no-untyped-call]
            sent = {client.submit(work, key, pure=False, retries=0): key for key in keys}
            suspected = []
            for future in as_completed(sent):  # type: ignore[no-untyped-call]
                error = future.exception()
                if isinstance(error, InputError):
                    raise error
                if isinstance(error, KilledWorker):
                    # It may only have waited on a worker that another cell took with it.
                    suspected.append(sent[future])
                    continue
                if error is None:
                    yield from future.result().done
                else:
                    yield Done(sent[future], f"{type(error).__name__}: {error}")
            for key in suspected:
                error = (again := client.submit(work, key, pure=False, retries=0)).exception()
                yield from again.result().done if error is None else [Done(key, LOST)]
    finally:
        if cluster is not None:
            cluster.close()


def _by_slurm(work: Work, keys: Sequence[str], jobs: int) -> Iterator[Done]:
    """As an array job of which so many run at a time; without SLURM, in processes of this machine."""
    import submitit

    logs = work.folder / "slurm"
    executor = submitit.AutoExecutor(folder=logs)
    executor.update_parameters(timeout_min=24 * 60, slurm_array_parallelism=jobs, cpus_per_task=work.devices)
    sent = dict(zip(executor.map_array(work, list(keys)), keys, strict=True))
    for job, key in sent.items():
        try:
            yield from job.result().done
        except submitit.core.utils.UncompletedJobError as error:
            yield Done(key, f"the job that ran it was lost ({str(error).splitlines()[0]})")


def workers_of(executor: str | None, jobs: int, address: str | None = None) -> Workers | None:
    """The workers that options ask for; None where this process is to do all.

    Raises:
        InputError: as `Workers.check`.
    """
    if executor is None and jobs == 1:
        return None
    found = Workers(executor or "loky", jobs, address)
    found.check()
    return found
