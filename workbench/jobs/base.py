"""What a job is: a config cut into cells, each of which can be run by itself and leaves a record."""

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from workbench.loop.checkpoint import INTERVAL, Checkpoint
from workbench.provenance import Provenance

Value = bool | int | float | str | None
Progress = Callable[[int, int], None]  # of (done, in all)

# What a cell can raise as a result of its numbers and of the machine: JAX's and XLA's own errors are RuntimeErrors.
NUMERICAL = (RuntimeError, MemoryError, ArithmeticError, OSError)


def digest_of_values(value: Any) -> str:
    """A hash of plain values, the same whatever the order of keys."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:32]


@dataclass(frozen=True)
class Cell:
    """One piece of a job: what can be run by itself, and not by halves.

    Its identity holds all that decides its numbers, the code apart: settings, the precision, and a digest of all data.
    Two cells of one identity are the same cell, whatever jobs they belong to.
    """

    name: str  # the readable part of its key: letters, digits, - and _
    identity: Mapping[str, Any]  # as JSON holds it
    made_by: Provenance  # the code and the packages that it would be run by now
    coordinates: Mapping[str, Value] = field(default_factory=dict)  # its place in the job, as columns of a table
    config: Mapping[str, Any] | None = None  # what would run it alone, as TOML holds it

    @cached_property
    def key(self) -> str:
        """The name of its folder."""
        return f"{self.name}-{digest_of_values(self.identity)[:10]}"


@dataclass(frozen=True)
class Record:
    """What a cell leaves."""

    values: Mapping[str, Any]  # as JSON holds it: no NaN, no infinity
    arrays: Mapping[str, np.ndarray] = field(default_factory=dict)
    row: Mapping[str, Value] = field(default_factory=dict)  # what a table of many cells shows of it
    devices: int = 1  # that worked on it side by side


class Job(ABC):
    """What runs cell by cell: an experiment, a sweep of one, an atlas, a choice of K, a study."""

    kind: ClassVar[str]
    plural: ClassVar[str] = "cells"  # what its cells are called
    # What a cell may raise and leave as a failure of its own; anything else ends the job.
    failures: ClassVar[tuple[type[Exception], ...]] = NUMERICAL

    counted: ClassVar[bool] = False  # whether one progress counts the cells, in place of one for each of them

    # How far apart, relative, its numbers may be on two machines: these round otherwise, and what iterates to its end
    # leaves as much as its own tolerance.
    tolerance: ClassVar[float] = 1e-6

    name: str  # shown in tables and pages
    checkpoint_seconds: float = INTERVAL  # between two checkpoints of an unfinished cell

    def __getstate__(self) -> dict[str, Any]:
        """What travels to a worker: not what can be worked out again."""
        kind = type(self)
        worked_out = {name for name in vars(self) if isinstance(getattr(kind, name, None), cached_property)}
        return {name: value for name, value in vars(self).items() if name not in worked_out}

    @abstractmethod
    def cells(self) -> Sequence[Cell]:
        """Every cell, in the order in which they are run."""

    @abstractmethod
    def run(self, cell: Cell, checkpoint: Checkpoint, progress: Progress | None) -> Record:
        """The record of one of the cells, a function of its identity and of the code alone.

        Args:
            cell: one of `cells()`.
            checkpoint: where its progress can be kept, and is found again after an interruption.
            progress: to be told how far it has come.
        """

    @abstractmethod
    def config(self) -> dict[str, Any]:
        """The job as TOML holds it: what is needed to show it again."""

    @classmethod
    @abstractmethod
    def stored(cls, folder: Path, record: Mapping[str, Any], where: str) -> "Job":
        """The job that a results folder keeps, ready to be run again from that folder alone.

        Args:
            folder: the results folder.
            record: the content of the job's file.
            where: the file, for messages.

        Raises:
            InputError: the record or what the cells share is damaged, or the data are nowhere to be had.
        """

    @abstractmethod
    def result(self, store: Any, outcomes: Any) -> Any:
        """What the cells say together.

        Args:
            store: the `Store` that holds the records.
            outcomes: of `run_job`, one for each of `cells()`.
        """

    def all_cells(self) -> Sequence[Cell]:
        """Those that belong to the job, whether or not they are asked for now."""
        return self.cells()

    def identity(self) -> dict[str, Any]:
        """What sets the job apart from others in a folder; their order and the place of a file say nothing."""
        return {"config": self.config(), "cells": [cell.key for cell in self.all_cells()]}

    def label(self, cell: Cell) -> str:
        """A cell in words, for messages and progress."""
        return cell.name

    def as_it_stands(self, store: Any, cell: Cell, kept: Any) -> Any:
        """What is stored of a cell, as far as it still says what running it now would; None where it does not.

        Most cells rest on nothing that another job stores, and stand as they are.

        Args:
            store: the `Store` that holds it.
            cell: one of the cells.
            kept: of `Store.look`.
        """
        return kept

    def prepare(self, folder: Path) -> None:  # noqa: B027  # most have nothing to share
        """Keep beside the cells what they share, as the data, before any of them runs."""
