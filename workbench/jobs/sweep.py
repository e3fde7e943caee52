"""The sweep as a job: a cell is one method on one of the experiments."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

from workbench.compare import Comparison
from workbench.compare.optima import WITHIN
from workbench.errors import InputError
from workbench.experiment import DataConfig, Experiment, RunConfig
from workbench.experiment.sweep import Point, SweptExperiment, named_point, parse_sweep
from workbench.files import DAMAGED
from workbench.jobs.base import Cell, Job, Progress, Record, Value
from workbench.jobs.experiment import load_stored
from workbench.jobs.formats import Points
from workbench.jobs.names import Stored, jobs_of
from workbench.jobs.running import Outcome
from workbench.jobs.setting import Setting
from workbench.jobs.store import Store
from workbench.jobs.table import MOST_LINES, precision_of, rows_of
from workbench.loop.pool import Checkpoint
from workbench.table import Table, text_of

# The number of data sets kept in memory; consecutive cells mostly share theirs.
KEPT = 8


# Prefixes of the columns that define the objective; log-joints of different objectives cannot be compared.
OBJECTIVE = ("points", "model_", "prior_", "dtype")


@dataclass(frozen=True, repr=False)
class Swept(Table):
    """The results of a sweep: a row for each cell."""

    swept: tuple[str, ...] = ()  # the columns of settings that were swept

    @property
    def failed(self) -> int:
        """The number of cells that failed."""
        return sum(row["state"] == "failed" for row in self.rows)

    @property
    def reading(self) -> str:
        """The best cell, how many cells there are, how many failed and why, and how long they took."""
        seconds = sum(float(row.get("seconds") or 0.0) for row in self.rows)
        whys = dict.fromkeys(str(row["why"]) for row in self.rows if row["state"] == "failed")
        lost = f", {self.failed} failed ({'; '.join(whys)})" if self.failed else ""
        stale = sum(row["state"] == "stale" for row in self.rows)
        beware = f", {stale} STALE: other code made them" if stale else ""
        counted = f"{len(self.rows):,} cells{lost}{beware}; {seconds:.1f} s in all."
        return " ".join(filter(None, [self.best, counted, precision_of(self.rows)]))

    @property
    def best(self) -> str:
        """The highest log-joint if all cells have one objective; otherwise how often each method reaches it."""
        problems: dict[str, list[Mapping[str, Value]]] = {}
        for row in self.rows:
            if isinstance(row.get("log_joint"), float):
                objective = {name: value for name, value in row.items() if name.startswith(OBJECTIVE)}
                problems.setdefault(json.dumps(objective, sort_keys=True), []).append(row)
        tops = [max(float(row["log_joint"] or 0.0) for row in rows) for rows in problems.values()]
        if not problems:
            return "No cell has a sound answer."
        if len(problems) == 1:
            (rows,) = problems.values()
            row = next(row for row in rows if row["log_joint"] == tops[0])
            place = ", ".join(f"{name} = {text_of(row[name])}" for name in self.swept if name in row)
            return f"Highest log-joint {tops[0]:.3f}, by {row['method']} at {place}."
        wins: Counter[str] = Counter()
        for rows, top in zip(problems.values(), tops, strict=True):
            wins.update({str(row["method"]) for row in rows if top - float(row["log_joint"] or 0.0) <= WITHIN})
        counts = ", ".join(f"{method} on {count}" for method, count in wins.most_common())
        return f"Of {len(problems):,} problems (data, model and prior) the highest log-joint is reached by {counts}."


class _Place(NamedTuple):
    """The place of a cell in the sweep."""

    cell: Cell
    swept: SweptExperiment
    method: str
    order: int  # the position of its setting in the file


class SweepJob(Job):
    """A job that runs an experiment under many settings.

    Args:
        name: shown in tables and pages.
        values: the TOML values of the file, with its table `sweep`.
        folder: the folder that a relative `data.file` is relative to.
        where: the file, for messages; by default the name.

    Raises:
        InputError: one of the experiments is not valid, or its data cannot be read.
    """

    kind: ClassVar[str] = "sweep"
    plural: ClassVar[str] = "cells"
    counted: ClassVar[bool] = True
    failures: ClassVar[tuple[type[Exception], ...]] = (InputError, Exception)  # wrong input concerns one cell only

    def __init__(self, name: str, values: Mapping[str, Any], folder: Path | str = ".", where: str = "") -> None:
        self.name = name
        self.values = dict(values)
        self.folder = Path(folder)
        self.where = where or name
        self._latest: tuple[int, Setting] | None = None
        _ = self.swept  # parsed now, so that errors are raised here

    def __getstate__(self) -> dict[str, Any]:
        """The state that is sent to a worker: the values from which everything else is computed."""
        return super().__getstate__() | {"_latest": None}

    @cached_property
    def swept(self) -> list[SweptExperiment]:
        """The experiments, in order."""
        return parse_sweep(self.values, self.where)

    @classmethod
    def stored(cls, folder: Path, record: Mapping[str, Any], where: str) -> "SweepJob":
        """The sweep that a folder keeps; its data files must still lie where they were."""
        try:
            values, home = dict(record["config"]["sweep"]), Path(record["config"].get("folder", "."))
        except DAMAGED as error:
            raise InputError(f"{where}: is damaged ({error}); delete it and run the sweep again") from None
        return cls(str(record["name"]), values, home, where)

    @cached_property
    def _places(self) -> dict[str, _Place]:
        """The places by key, ordered so that cells that share compiled programs or a setting are consecutive."""
        found = []
        for order, swept in enumerate(self.swept):
            setting = self.setting_of(swept.experiment)
            shape = (setting.points.train.x.shape, swept.experiment.model.covariance, swept.experiment.model.components)
            for method in swept.experiment.methods:
                cell = setting.cell(method, _coordinates(swept.point))
                found.append((repr(shape), _Place(cell, swept, method, order)))
        found.sort(key=lambda each: each[0])
        return {place.cell.key: place for _, place in found}

    def cells(self) -> Sequence[Cell]:
        """One for each experiment and method."""
        return [place.cell for place in self._places.values()]

    def run(self, cell: Cell, checkpoint: Checkpoint, progress: Progress | None) -> Record:
        """Run one method under one setting; the record of its trace."""
        _, swept, method, order = self._places[cell.key]
        if self._latest is None or self._latest[0] != order:
            # The methods of one setting share the problem and the starts.
            self._latest = order, self.setting_of(swept.experiment)
        setting = self._latest[1]
        _check(setting, method)
        return setting.run(method, checkpoint, progress)[1]

    def check(self, progress: Progress | None = None) -> None:
        """Refuse settings that cannot be run, without running anything.

        Args:
            progress: a callback that takes the number of cells checked and the total.

        Raises:
            InputError: names each cell, and what its data, model or method do not suit.
        """
        problems = dict[str, None]()
        latest: tuple[int, Setting] | None = None
        for number, (_, swept, method, order) in enumerate(self._places.values()):
            if progress is not None:
                progress(number, len(self._places))
            if latest is None or latest[0] != order:
                # Checked on this machine's devices, not on those that the cell will run on.
                latest = order, self.setting_of(swept.experiment.model_copy(update={"run": RunConfig()}))
            setting = latest[1]
            try:
                _check(setting, method)
            except InputError as error:
                problems |= dict.fromkeys(
                    f"{method} ({named_point(swept.point)}): {line}" for line in str(error).split("\n")
                )
        if problems:
            raise InputError("\n".join(problems))

    def config(self) -> dict[str, Any]:
        """The experiment with its sweep, the columns that are swept, and the folder that data files are relative to."""
        has_files = any(swept.experiment.data.file is not None for swept in self.swept)
        home = {"folder": str(self.folder.resolve())} if has_files else {}
        return {"sweep": self.values, "swept": self._keys, **home}

    def identity(self) -> dict[str, Any]:
        """The keys of the cells, and the columns that are swept."""
        return {"cells": sorted(cell.key for cell in self.cells()), "swept": self._keys}

    @property
    def _keys(self) -> list[str]:
        return list(dict.fromkeys(name for swept in self.swept for name in _coordinates(swept.point)))

    def label(self, cell: Cell) -> str:
        """The method and the setting."""
        _, swept, method, _ = self._places[cell.key]
        return f"{method} ({named_point(swept.point)})"

    def result(self, store: Store, outcomes: Sequence[Outcome]) -> Swept:
        """A row for each cell, in the order of the settings, with failures of the machine, which have no manifest."""
        found = {row["key"]: row for row in rows_of(store, [o.cell.key for o in outcomes]).rows}
        lost = {o.cell.key: {"state": "failed", "why": o.failure} for o in outcomes if o.failure is not None}
        keys = [place.cell.key for place in sorted(self._places.values(), key=lambda place: place.order)]
        rows = [{**found[key], **self._places[key].cell.coordinates, **lost.get(key, {})} for key in keys]
        return swept_of(rows, self._keys)

    def setting_of(self, experiment: Experiment) -> Setting:
        """The setting of one of the experiments."""
        located = experiment.located(self.folder)
        return Setting(located, _points(located.data, experiment.seed, _stamp(located.data)))


def swept_of(rows: Sequence[Mapping[str, Value]], keys: Sequence[str]) -> Swept:
    """The rows of a sweep, with the columns of settings and results.

    Args:
        rows: the rows of `rows_of`.
        keys: the columns that are swept.
    """
    there = dict.fromkeys(name for row in rows for name in row)
    ends = sorted(name for name in there if name.startswith("restarts_") and name != "restarts_run")
    # In a sweep of the usual precision alone the column would say nothing.
    dtype = ("dtype",) if precision_of(rows) else ()
    wanted = ("method", *keys, *dtype, "state", "status", *ends, "log_joint", "passes", "step_seconds")
    columns = tuple(name for name in dict.fromkeys(wanted) if name in there)
    return Swept(columns, tuple(rows), most=MOST_LINES, keep=("method", *keys, *wanted), swept=tuple(keys))


def load_sweep(store: Store, job: Mapping[str, Any]) -> Swept:
    """The stored cells of a sweep."""
    found = [row for row in rows_of(store, job["cells"]).rows if row["state"] != "missing"]
    return swept_of(found, [str(key) for key in job["config"].get("swept", [])])


def _check(setting: Setting, method: str) -> None:
    """Refuse a problem that is not valid, or that the method cannot solve."""
    experiment = setting.experiment
    experiment.model_copy(update={"methods": {method: experiment.methods[method]}}).check(setting.problem)


def load_swept(store: Store) -> list[Stored[Comparison]]:
    """The comparison of every setting of a folder's sweeps with at least one finished run.

    Raises:
        InputError: a job's file is damaged, or its data cannot be found.
    """
    found = []
    for stored in jobs_of(store, SweepJob.kind):
        job = SweepJob.stored(store.folder, stored.record, str(stored.file))
        for swept in job.swept:
            name = f"{stored.name} ({named_point(swept.point)})"
            comparison = load_stored(store, job.setting_of(swept.experiment), name)
            found += [Stored(stored.id, name, comparison)] if len(comparison) else []
    return found


@lru_cache(KEPT)
def _points(data: DataConfig, seed: int, stamp: tuple[int, ...]) -> Points:
    """The points of the data file as it is now; `stamp` changes when the file does."""
    return Points(*data.load(seed, Path()))


def _stamp(data: DataConfig) -> tuple[int, ...]:
    if data.file is None:
        return ()
    try:
        found = Path(data.file).stat()
    except OSError:  # reading the file reports the error
        return ()
    return found.st_mtime_ns, found.st_size, found.st_ino


def _coordinates(point: Point) -> dict[str, Value]:
    """A setting as columns."""
    return {
        key.replace(".", "_"): value if isinstance(value, bool | int | float | str) else repr(value)
        for key, value in point.items()
    }
