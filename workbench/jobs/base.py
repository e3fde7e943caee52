"""The base of jobs: a job is a config cut into cells, each of which can be run by itself and leaves a record.

The state of a cell is done or failed, made by this code or by other code, sound or damaged.
"""

import errno
import hashlib
import json
import logging
import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from workbench.errors import InputError
from workbench.loop.pool import INTERVAL, Checkpoint
from workbench.provenance import Provenance

Value = bool | int | float | str | None
Progress = Callable[[int, int], None]  # of (done, in all)

_LOG = logging.getLogger("workbench")

# Jobs or folders that a message lists.
MOST_NAMED = 8

# Errors that a cell can raise because of its numbers or the machine; errors of JAX and XLA are RuntimeErrors.
NUMERICAL = (RuntimeError, MemoryError, ArithmeticError, OSError)


def digest_of_values(value: Any) -> str:
    """A hash of plain values, which does not depend on the order of keys."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:32]


@dataclass(frozen=True)
class Cell:
    """The smallest part of a job that can be run by itself.

    Its identity holds everything but the code that decides its numbers: settings, the precision, and a digest of all
    data. Two cells of one identity are the same cell, whatever jobs they belong to.
    """

    name: str  # the readable part of its key: letters, digits, - and _
    identity: Mapping[str, Any]  # JSON values
    made_by: Provenance  # the code and the packages that would run it now
    coordinates: Mapping[str, Value] = field(default_factory=dict)  # its place in the job, as columns of a table
    config: Mapping[str, Any] | None = None  # the config that runs this cell alone, as TOML values

    @cached_property
    def key(self) -> str:
        """The name of its folder."""
        return f"{self.name}-{digest_of_values(self.identity)[:10]}"


@dataclass(frozen=True)
class Record:
    """The results of a cell."""

    values: Mapping[str, Any]  # JSON values, without NaN or infinity
    arrays: Mapping[str, np.ndarray] = field(default_factory=dict)
    row: Mapping[str, Value] = field(default_factory=dict)  # its columns in a table of many cells
    devices: int = 1  # number of devices that computed it together


class Job(ABC):
    """A computation that is run and stored cell by cell, such as an experiment, a sweep, an atlas or a study."""

    kind: ClassVar[str]
    plural: ClassVar[str] = "cells"  # what its cells are called
    # Errors that are kept as the failure of a cell; any other error ends the job.
    failures: ClassVar[tuple[type[Exception], ...]] = NUMERICAL

    counted: ClassVar[bool] = False  # whether one progress bar counts the cells, instead of one bar for each cell

    # The largest relative difference of its numbers between two machines, which comes from different rounding and, for
    # iterative methods, from their own tolerance.
    tolerance: ClassVar[float] = 1e-6

    name: str  # shown in tables and pages
    checkpoint_seconds: float = INTERVAL  # seconds between two checkpoints of an unfinished cell

    def __getstate__(self) -> dict[str, Any]:
        """The state that is sent to a worker, without cached values, which it can compute again."""
        kind = type(self)
        worked_out = {name for name in vars(self) if isinstance(getattr(kind, name, None), cached_property)}
        return {name: value for name, value in vars(self).items() if name not in worked_out}

    @abstractmethod
    def cells(self) -> Sequence[Cell]:
        """Every cell, in the order in which they are run."""

    @abstractmethod
    def run(self, cell: Cell, checkpoint: Checkpoint, progress: Progress | None) -> Record:
        """Compute the record of a cell, which depends on its identity and the code alone.

        Args:
            cell: one of `cells()`.
            checkpoint: the place from which the cell resumes after an interruption.
            progress: a callback that takes the number of steps done and the total.
        """

    @abstractmethod
    def config(self) -> dict[str, Any]:
        """The job as TOML values: everything that is needed to show it again."""

    @classmethod
    @abstractmethod
    def stored(cls, folder: Path, record: Mapping[str, Any], where: str) -> "Job":
        """The job that a results folder keeps, which can be run again from that folder alone.

        Args:
            folder: the results folder.
            record: the content of the job's file.
            where: the file, for messages.

        Raises:
            InputError: the record or the data that cells share are damaged, or the data cannot be found.
        """

    @abstractmethod
    def result(self, store: Any, outcomes: Any) -> Any:
        """The combined result of the cells.

        Args:
            store: the `Store` that holds the records.
            outcomes: the outcomes of `run_job`, one for each of `cells()`.
        """

    def all_cells(self) -> Sequence[Cell]:
        """Every cell of the job, including cells that are not requested now."""
        return self.cells()

    def identity(self) -> dict[str, Any]:
        """The values that distinguish the job from others in a folder."""
        return {"config": self.config(), "cells": [cell.key for cell in self.all_cells()]}

    def label(self, cell: Cell) -> str:
        """The name of a cell in messages and progress."""
        return cell.name

    def as_it_stands(self, store: Any, cell: Cell, kept: Any) -> Any:
        """The stored state of a cell, if running the cell now would give the same; None if it would not.

        Most cells depend on nothing that another job stores, and are returned unchanged.

        Args:
            store: the `Store` that holds it.
            cell: one of the cells.
            kept: the value of `Store.look`.
        """
        return kept

    def announce(self, following: Sequence[Cell]) -> None:  # noqa: B027  # most compute cells one by one
        """Name the cells that this process probably runs after the next one, in order.

        A job may begin to compute them early. Another process may still take them.
        """

    def prepare(self, folder: Path) -> None:  # noqa: B027  # most have nothing to share
        """Store what the cells share, such as the data, before any of them runs."""


DONE, FAILED = "done", "failed"


@dataclass(frozen=True)
class Failure:
    """Why a cell has no record."""

    message: str  # the kind of the error and its first line
    traceback: str

    @classmethod
    def of(cls, error: BaseException, traceback: str) -> "Failure":
        """The failure of an error."""
        lines = str(error).strip().splitlines() or [""]
        return cls(f"{type(error).__name__}: {lines[0]}".rstrip(": "), traceback)


@dataclass(frozen=True)
class Kept:
    """A stored cell, as its manifest describes it."""

    status: str  # DONE or FAILED
    manifest: Mapping[str, Any]
    stale: str | None = None  # the other code that made it, if it is stale

    @property
    def failure(self) -> str:
        """Why it failed; empty if it did not."""
        return str(self.manifest.get("failure", {}).get("message", ""))


class DamagedJobError(InputError):
    """The file of a job, or the points that its cells share, have changed since they were written."""


class DamagedCellError(InputError):
    """A cell on disk has changed since it was written."""


class UnreadableError(InputError):
    """A file or folder is there and cannot be read, so nothing is known of its content, and nothing may replace it."""


# Error numbers that say that no file of the name is there.
_NOT_THERE = (errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG, errno.ELOOP)


@contextmanager
def readable(path: Path) -> Iterator[None]:
    """Within this context, a file or folder of a results folder is read.

    Raises:
        UnreadableError: it is there and cannot be read, as without permission.
        OSError: it is missing, or a file stands for a folder or the other way round.
    """
    try:
        yield
    except OSError as error:
        if error.errno in _NOT_THERE:
            raise
        raise UnreadableError(
            f"{path}: cannot be read ({error.strerror}); give yourself permission to read it, and repeat the command"
        ) from None


def names_in(folder: Path) -> list[str]:
    """The names in a folder that are not hidden, sorted; none if there is no such folder.

    Raises:
        UnreadableError: it is there and cannot be read.
    """
    with suppress(FileNotFoundError, NotADirectoryError), readable(folder), os.scandir(folder) as entries:
        return sorted(entry.name for entry in entries if not entry.name.startswith("."))
    return []


def may_exist(path: str) -> bool:
    """Whether a path exists, or its folder cannot be searched."""
    try:
        os.stat(path)
    except OSError as error:
        return isinstance(error, PermissionError)
    return True


@dataclass(frozen=True)
class Losses:
    """The damaged jobs of a folder, whose other jobs are shown."""

    errors: list[DamagedJobError] = field(default_factory=list)

    @contextmanager
    def caught(self) -> Iterator[None]:
        """Within this context, a damaged job is set down and does not raise."""
        try:
            yield
        except DamagedJobError as error:
            self.errors.append(error)

    def tell(self, *, others: bool) -> None:
        """Name each damaged job in the log, beside others that are shown.

        Raises:
            DamagedJobError: there are no others.
        """
        if self.errors and not others:
            raise self.errors[0]
        for each in self.errors:
            _LOG.warning("%s", each)


def nothing_in(folder: Path) -> str:
    """Why there are no results in a folder, or in what is given as one, and what to do."""
    remedy = "give a folder that `workbench run` wrote"
    if not folder.is_dir():
        return f"{'is a file' if folder.exists() else 'no such folder'}; {remedy}"
    if any((folder / name).is_dir() for name in ("experiments", "selection")) or any(folder.glob("*-*/info.json")):
        return "holds runs of an older workbench in another layout, which are not read; run the experiment again"
    inside = sorted(place.parent.name for place in folder.glob("*/cells"))
    if inside and not (folder / "cells").exists():
        more = f" and {len(inside) - MOST_NAMED} more" if len(inside) > MOST_NAMED else ""
        return (
            f"holds folders of results, of which this command takes one; it has {', '.join(inside[:MOST_NAMED])}{more}"
        )
    return f"no finished runs; {remedy}"
