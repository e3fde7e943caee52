"""The study as a job: a cell is one point of its grid, and its record holds rows."""

from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

from pydantic import BaseModel

from workbench.data import digest_of
from workbench.engine.devices import USUAL, dtype_name
from workbench.errors import InputError, checks_arguments
from workbench.experiment import DataConfig
from workbench.files import DAMAGED, digest_of_file
from workbench.jobs.base import Cell, DamagedCellError, Job, Progress, Record, digest_of_values
from workbench.jobs.running import Outcome, Reuse, Watch, record_of, run_job
from workbench.jobs.store import Store
from workbench.loop.pool import Checkpoint
from workbench.provenance import Provenance
from workbench.studies.base import Findings, Row, Study
from workbench.studies.reading import parse_study


class StudyJob(Job):
    """A job that measures one study.

    Args:
        study: the config.
        folder: the folder that paths of data files are relative to.
        name: shown in pages.
    """

    kind: ClassVar[str] = "study"
    counted: ClassVar[bool] = True
    failures: ClassVar[tuple[type[Exception], ...]] = (Exception,)

    def __init__(self, study: Study, folder: Path | str = ".", name: str = "") -> None:
        self.study = study
        self.folder = Path(folder)
        self.name = name or study.study

    @classmethod
    def stored(cls, folder: Path, record: Mapping[str, Any], where: str) -> "StudyJob":
        """The study that a folder keeps; its data files must still lie where they were."""
        try:
            values, home = dict(record["config"]["study"]), Path(record["config"].get("folder", "."))
        except DAMAGED as error:
            raise InputError(f"{where}: is damaged ({error}); delete it and run the study again") from None
        return cls(parse_study(values, where), home, str(record["name"]))

    @cached_property
    def _cells(self) -> dict[str, tuple[Cell, Row]]:
        """The cells by key, each with the coordinates that the study gives it."""
        made_by = Provenance.of(self.study)
        own = {"study": self.study.resolved(), "dtype": dtype_name(), "files": _digests(self.study, self.folder)}
        found = {}
        for row in self.study.cells():
            plain = {name: value for name, value in row.items() if not isinstance(value, list | tuple)}
            cell = Cell(self.study.study, own | {"cell": row}, made_by, {"study": self.study.study, **plain})
            found[cell.key] = (cell, row)
        return found

    def cells(self) -> Sequence[Cell]:
        """One for each point of the grid."""
        return [cell for cell, _ in self._cells.values()]

    def run(self, cell: Cell, checkpoint: Checkpoint, progress: Progress | None) -> Record:
        """Measure one cell."""
        row = self._cells[cell.key][1]
        rows = [row | measured for measured in self.study.measure(row, self.folder)]
        single = rows[0] if len(rows) == 1 else {}
        shown = {name: value for name, value in single.items() if not isinstance(value, list | tuple)}
        return Record({"rows": rows}, row={"rows": len(rows), **shown})

    def config(self) -> dict[str, Any]:
        """The resolved study, its precision, and the folder that its data files, if any, are relative to."""
        has_files = any(data.file is not None for data in data_of(self.study))
        home = {"folder": str(self.folder.resolve())} if has_files else {}
        return {"study": self.study.resolved(), "dtype": dtype_name(), **home}

    def identity(self) -> dict[str, Any]:
        """The keys of the cells, which depend on every setting and on the content of every file."""
        return {"cells": [cell.key for cell in self.cells()]}

    def result(self, store: Store, outcomes: Sequence[Outcome]) -> Findings:
        """The rows of all cells; cells that failed are named."""
        rows = [row for o in outcomes if o.failure is None for row in _rows_of(store, o)]
        lost = [f"{self.label(o.cell)}: {o.failure}" for o in outcomes if o.failure is not None]
        stale = [o.stale for o in outcomes if o.stale is not None]
        cells = len(outcomes)
        return Findings(self.study, rows, dtype_name(), _stale_note(stale, cells), _lost_note(lost, cells))

    def label(self, cell: Cell) -> str:
        """The study and the cell's coordinates."""
        row = self._cells[cell.key][1]
        return f"{self.study.study} ({', '.join(f'{name} = {value}' for name, value in row.items())})"


@checks_arguments
def run_study(
    study: Study,
    *,
    out: Path | str,
    folder: Path | str = ".",
    name: str = "",
    force: bool = False,
    keep_stale: bool = False,
    retry: bool = False,
    watch: Watch | None = None,
) -> Findings:
    """Measure the cells of a study that are not stored, or that other code made, and return the rows of all cells.

    A cell that raises is stored as a failure and named in the findings, and the others are measured.

    Args:
        study: the config.
        out: the results folder.
        folder: the folder that paths of data files are relative to.
        name: shown in pages.
        force: measure stored cells again.
        keep_stale: use stored cells that other code made, and say so in the findings.
        retry: measure failed cells again.
        watch: returns a progress callback.

    Raises:
        InputError: the data of a cell cannot be read, or the folder cannot be written.
    """
    job, store = StudyJob(study, folder, name), Store(out)
    return job.result(store, run_job(job, store, reuse=Reuse(force, keep_stale, retry), watch=watch))


def load_study(out: Path | str, study: Study, *, folder: Path | str = ".") -> Findings | None:
    """The stored rows of a study; None unless all its cells are stored.

    Raises:
        InputError: a cell is damaged.
    """
    job, store = StudyJob(study, folder), Store(out)
    found = [store.look(cell) for cell in job.cells()]
    if any(kept is None or kept.failure for kept in found):
        return None
    stale = [None if kept is None else kept.stale for kept in found]
    outcomes = [Outcome(cell, stale=why) for cell, why in zip(job.cells(), stale, strict=True)]
    return job.result(store, outcomes)


def load_studies(folder: Path | str) -> list[Findings]:
    """The findings of every study in a results folder with at least one finished cell, sorted by name.

    Cells that are missing, failed or damaged are named in the findings.

    Raises:
        InputError: there is none, or a stored study does not fit this version.
    """
    store = Store(folder)
    found = [load_findings(store, file, job) for file, job in store.jobs(StudyJob.kind)]
    finished = [findings for findings in found if findings.rows]
    if not finished:
        raise InputError(f"{folder}: holds no finished study; run one with `workbench run FILE --out {folder}`")
    return sorted(finished, key=lambda findings: findings.study.study)


def load_findings(store: Store, file: Path, job: Mapping[str, Any]) -> Findings:
    """The stored findings of a study, whichever files it was read from.

    Raises:
        InputError: its config is damaged, or does not fit this version.
    """
    try:
        values, dtype = dict(job["config"]["study"]), str(job["config"].get("dtype", USUAL))
    except DAMAGED as error:
        raise InputError(f"{file}: is damaged ({error}); delete it and run the study again") from None
    study = parse_study(values, str(file))
    made_by = Provenance.of(study)
    rows: list[Row] = []
    lost: list[str] = []
    stale: list[str] = []
    for key in job["cells"]:
        try:
            manifest = store.manifest(key)
            if manifest is None:
                lost.append("not measured yet")
                continue
            if "failure" in manifest:
                lost.append(str(manifest["failure"]["message"]))
                continue
            rows += _rows(store, key)
        except DamagedCellError as error:
            lost.append(str(error))
            continue
        stale += filter(None, [made_by.why_stale(manifest.get("made_by"))])
    return Findings(study, rows, dtype, _stale_note(stale, len(job["cells"])), _lost_note(lost, len(job["cells"])))


def identity_of_study(study: Study, folder: Path | str = ".") -> str:
    """A hash of every setting, the precision, and the data that a study reads."""
    return digest_of_values([cell.key for cell in StudyJob(study, folder).cells()])


def _rows_of(store: Store, outcome: Outcome) -> list[Row]:
    if outcome.record is not None:
        return list(record_of(store, outcome).values["rows"])
    return _rows(store, outcome.cell.key)


def _rows(store: Store, key: str) -> list[Row]:
    rows = store.load(key).values.get("rows")
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise store.damaged(key, "it holds no rows")
    return rows


def _stale_note(stale: Sequence[str], cells: int) -> str | None:
    return f"{len(stale)} of {cells} cells, {'; '.join(dict.fromkeys(stale))}" if stale else None


def _lost_note(lost: Sequence[str], cells: int) -> str | None:
    return f"{len(lost)} of {cells} cells: {'; '.join(dict.fromkeys(lost))}" if lost else None


def _digests(study: Study, folder: Path) -> list[str]:
    """A hash of each data file and data set that the study names, so that changed data make another study."""
    own = [digest_of_file(folder / data.file) for data in data_of(study) if data.file is not None]
    # Computed from the data sets in the package, not read from their catalogue.
    return own + [digest_of(data.dataset) for data in data_of(study) if data.dataset is not None]


def data_of(config: Any) -> Iterator[DataConfig]:
    """Every data entry of a config, in any of its fields."""
    if isinstance(config, DataConfig):
        yield config
    elif isinstance(config, BaseModel):
        yield from data_of([getattr(config, name) for name in type(config).model_fields])
    elif isinstance(config, Mapping | list | tuple):
        for each in config.values() if isinstance(config, Mapping) else config:
            yield from data_of(each)
