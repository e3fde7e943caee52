"""Executors, which run the cells of a job in other processes: on this machine, on a Dask cluster, or under SLURM.

The pools come from libraries: joblib's loky, Dask's distributed, submitit. Each of them calls one function, which
claims a cell, runs it and stores it. The call returns only how each cell ended; the records are on disk. If a worker is
lost, its claim is released, and its cell is run again.
"""

import logging
import os
import sys
import threading
import time
import uuid
import warnings
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

# A call of a worker starts no further cell after SLICE seconds, so that progress is shown and no worker idles while
# another has many cells. A call is given at most MOST cells, and at most as many as took half of SLICE before.
SLICE, MOST = 1.0, 64

# Seconds after which an idle worker ends. The jobs of a ledger share workers, and their programs, with pauses between.
IDLE = 600

# Bytes by which a worker may grow. loky allows .3 GB, less than the compiled programs that a worker is to keep, which
# `make_room` bounds, and lets a new worker compile them again.
GROWTH = 3 * 2**30

LOST = "the process that ran it was lost"

# The module of loky that a worker's process runs.
LOKY = "joblib.externals.loky.process_executor"

# The name of the thread in which a worker watches its parent.
_WATCH = "workbench-parent"

_LOG = logging.getLogger("workbench")


class Done(NamedTuple):
    """How a cell ended."""

    key: str
    failure: str | None  # why there is no record
    elsewhere: bool = False  # whether another process is running it


class Share(NamedTuple):
    """The result of one call of a worker."""

    done: tuple[Done, ...]
    seconds: float


class Known(NamedTuple):
    """A job and its cells, as a worker keeps them."""

    job: Job
    cells: dict[str, Cell]


# The job that this process works for. Its cells, its data and its compiled programs serve many calls.
_KNOWN: dict[str, Known] = {}


@dataclass(frozen=True)
class Work:
    """A job for workers; a call with the keys of cells runs them in the worker's process.

    The libraries send it to workers as they send functions, between processes of one user. Nothing in a results folder
    is read in this way.
    """

    job: Job
    folder: Path
    reuse: Reuse
    devices: int  # for each worker
    x64: bool
    token: str  # distinguishes the job from others in a worker
    parent: int  # the process that started the workers
    own: tuple[type[Method], ...] = ()  # methods that a user has registered

    def __call__(self, *keys: str) -> Share:
        """Run the first cell, and further cells as long as they start within a second; skip claimed cells.

        Several cells are run in one call because consecutive cells share data, starts and programs, and because the
        overhead of a call exceeds the time of a small cell.
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
    """Where cells run: `executor` names the library, `jobs` is the number of workers, `address` a Dask scheduler."""

    executor: str = "loky"
    jobs: int = 1
    address: str | None = None

    def check(self) -> None:
        """Check the number of workers, and that the library is installed.

        Raises:
            InputError: names the package or the number.
        """
        if self.executor not in EXECUTORS:
            raise InputError(f"--executor: unknown {self.executor!r}; allowed: {', '.join(EXECUTORS)}")
        needed = {"dask": "distributed", "slurm": "submitit"}.get(self.executor)
        if needed is not None and find_spec(needed) is None:
            raise InputError(f"--executor {self.executor}: needs {needed}; pip install 'workbench[{self.executor}]'")
        if self.jobs < 1:
            raise InputError(f"--jobs: must be at least 1, got {self.jobs}")

    def run(self, job: Job, store: Store, keys: Sequence[str], reuse: Reuse) -> Iterator[Done]:
        """Run cells, and yield each of them when it is done.

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
    """Set up a worker as the command line sets up its own process, before JAX starts."""
    if os.getppid() == parent and not any(thread.name == _WATCH for thread in threading.enumerate()):
        threading.Thread(target=_end_with, args=(parent,), name=_WATCH, daemon=True).start()
    ask_for_devices(devices)
    jax.config.update("jax_enable_x64", x64)
    keep_compiled_programs()
    if LOKY in sys.modules:
        sys.modules[LOKY]._MAX_MEMORY_LEAK_SIZE = GROWTH  # type: ignore[attr-defined]


def _end_with(parent: int) -> None:
    """Wait until the process that started this one has ended, for whatever reason, and then exit."""
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(1)


def _by_loky(work: Work, keys: Sequence[str], jobs: int) -> Iterator[Done]:
    """Run cells in processes of this machine; if a process is lost, new processes run the remaining cells.

    The cell that ended a process is not known. After LOSSES losses without a finished cell, each remaining cell is
    therefore run in a process of its own, and a cell that loses its process LOSSES times has failed.
    """
    left, lost, most = list(keys), 0, MOST
    while left and lost < LOSSES:
        before = len(left)
        for done in _by_pool(work, left, jobs, most):
            left.remove(done.key)
            yield done
        # From the first loss on, each call has one cell, so that no other cell is lost with it.
        most, lost = 1, lost + 1 if len(left) == before else 0
    for key in left:
        tries = (done for _ in range(LOSSES) for done in _by_pool(work, [key], 1, 1))
        yield next(tries, Done(key, LOST))


def _by_pool(work: Work, keys: Sequence[str], jobs: int, most: int) -> Iterator[Done]:
    """Run cells until a process is lost, with at most `most` cells in one call."""
    from joblib.externals.loky import get_reusable_executor, wait
    from joblib.externals.loky.process_executor import BrokenProcessPool

    # An interrupted process exits at once and leaves its semaphores to loky's resource tracker; a warning is unneeded.
    sys.warnoptions.append("ignore:resource_tracker")
    # A worker beyond `GROWTH` is replaced, which costs no more than compiling again.
    warnings.filterwarnings("ignore", message="A worker stopped while some jobs")
    pool = get_reusable_executor(max_workers=jobs, timeout=IDLE)
    ahead, sent, size = deque(keys), dict[Any, tuple[str, ...]](), 1
    try:
        while ahead or sent:
            # For each running call another one is queued, so that no worker waits for this process.
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
        # After an interruption or wrong input no further cell may start.
        pool.shutdown(wait=False, kill_workers=True)
        raise


def _by_dask(work: Work, keys: Sequence[str], jobs: int, address: str | None) -> Iterator[Done]:
    """Run cells by a Dask scheduler, or a local cluster if none is named; Dask retries the cells of lost workers."""
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
                    # Another cell may have ended the worker on which this cell waited.
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
    """Run cells as an array job, `jobs` at a time; without SLURM, in processes of this machine."""
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
    """The workers that the options ask for; None if this process runs all cells.

    Raises:
        InputError: as `Workers.check`.
    """
    if executor is None and jobs == 1:
        return None
    found = Workers(executor or "loky", jobs, address)
    found.check()
    return found
