"""The sweep as a job: a cell is one method on one of the experiments."""

from collections.abc import Mapping, Sequence
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

from workbench.checkpoint import Checkpoint
from workbench.experiment import DataConfig, Experiment
from workbench.experiment.sweep import Point, Swept, named_point, parse_sweep
from workbench.jobs.base import Cell, Job, Progress, Record, Value
from workbench.jobs.experiment import Setting
from workbench.jobs.points import Points
from workbench.jobs.running import Outcome
from workbench.jobs.store import Store
from workbench.jobs.table import Table, rows_of

# Data sets that are kept in memory; cells that follow each other mostly share theirs.
KEPT = 8


class _Place(NamedTuple):
    """Where a cell stands."""

    cell: Cell
    swept: Swept
    method: str


class SweepJob(Job):
    """An experiment under many settings.

    Args:
        name: shown in tables and pages.
        values: of the file, with its table `sweep`, as TOML holds them.
        folder: what a relative `data.file` is relative to.

    Raises:
        InputError: an experiment is none, or its data cannot be had.
    """

    kind: ClassVar[str] = "sweep"
    plural: ClassVar[str] = "cells"
    counted: ClassVar[bool] = True
    failures: ClassVar[tuple[type[Exception], ...]] = (Exception,)  # wrong input too: it is of one cell alone

    def __init__(self, name: str, values: Mapping[str, Any], folder: Path | str = ".") -> None:
        self.name = name
        self.values = dict(values)
        self.folder = Path(folder)
        self.swept = parse_sweep(self.values, name)

    @cached_property
    def _places(self) -> dict[str, _Place]:
        """By key, so ordered that cells which share compiled programs follow each other."""
        found = []
        for swept in self.swept:
            setting = self._setting(swept.experiment)
            shape = (setting.points.train.x.shape, swept.experiment.model.covariance, swept.experiment.model.components)
            for method in swept.experiment.methods:
                cell = setting.cell(method, _coordinates(swept.point))
                found.append(((method, repr(shape)), _Place(cell, swept, method)))
        found.sort(key=lambda each: each[0])
        return {place.cell.key: place for _, place in found}

    def cells(self) -> Sequence[Cell]:
        """One for each experiment and method."""
        return [place.cell for place in self._places.values()]

    def run(self, cell: Cell, checkpoint: Checkpoint, progress: Progress | None) -> Record:
        """A method's trace."""
        _, swept, method = self._places[cell.key]
        setting, experiment = self._setting(swept.experiment), swept.experiment
        experiment.model_copy(update={"methods": {method: experiment.methods[method]}}).check(setting.problem)
        return setting.run(method, checkpoint, progress)[1]

    def config(self) -> dict[str, Any]:
        """The experiment with its sweep."""
        return {"sweep": self.values}

    def label(self, cell: Cell) -> str:
        """The method and the setting."""
        _, swept, method = self._places[cell.key]
        return f"{method} ({named_point(swept.point)})"

    def result(self, store: Store, outcomes: Sequence[Outcome]) -> Table:
        """A row for each cell."""
        return rows_of(store, [outcome.cell.key for outcome in outcomes]).varying()

    def _setting(self, experiment: Experiment) -> Setting:
        located = experiment.located(self.folder)
        return Setting(located, _points(located.data, experiment.seed))


@lru_cache(KEPT)
def _points(data: DataConfig, seed: int) -> Points:
    return Points(*data.load(seed, Path()))


def _coordinates(point: Point) -> dict[str, Value]:
    """A setting as columns."""
    return {
        key.replace(".", "_"): value if isinstance(value, bool | int | float | str) else repr(value)
        for key, value in point.items()
    }
