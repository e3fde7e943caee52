"""Running a study: cells that are not stored yet are measured, each kept as soon as it is finished.

results/NAME/
    STUDY-HASH/
        config.toml         the resolved config
        cells/0001.json     the rows of one cell
        info.json           versions and seconds; written last
"""

import hashlib
import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import tomli_w
from pydantic import BaseModel

from workbench.compilation import make_room
from workbench.data import digest_of
from workbench.errors import InputError
from workbench.experiment import DataConfig
from workbench.files import replacing
from workbench.manifest import FORMAT, check_format
from workbench.precision import USUAL, dtype_name
from workbench.provenance import Provenance, announce_stale
from workbench.studies.base import Findings, Row, Study

Watch = Callable[[str], Callable[[int, int], None] | None]  # what is measured -> (cells done, cells in all)

# Packages whose versions decide the numbers of a study.
_PACKAGES = ("jax", "jaxlib", "numpyro", "numpy", "scipy", "optax", "workbench")


class Cell(NamedTuple):
    """The rows of one cell, and what other code made them, if any did."""

    rows: list[Row]
    stale: str | None = None


def run_study(
    study: Study,
    *,
    out: Path | str,
    folder: Path | str = ".",
    force: bool = False,
    keep_stale: bool = False,
    watch: Watch | None = None,
) -> Findings:
    """Measure the cells of a study that are not stored yet, or that other code made, and return the rows of all.

    Args:
        study: the config.
        out: the results folder.
        folder: what the relative paths of data files are relative to.
        force: measure again what is stored.
        keep_stale: take stored cells that other code made as they are; the findings say so.
        watch: gives a progress callback.

    Raises:
        InputError: a cell's data cannot be had, or the folder cannot be written.
    """
    place, cells = study_folder(out, study, folder), list(study.cells())
    progress = None if watch is None else watch(study.study)
    begun, rows = time.perf_counter(), []
    stored = [None if force else read for read in _read_all(place, study, cells)]
    announce_stale([read.stale for read in stored if read is not None], "stored cells", kept=keep_stale)
    made_by = Provenance.of(study).to_dict()
    try:
        _write(place / "config.toml", tomli_w.dumps(study.resolved()))
        for number, (cell, read) in enumerate(zip(cells, stored, strict=True), 1):
            if progress is not None:
                progress(number - 1, len(cells))
            if read is None or (read.stale is not None and not keep_stale):
                make_room()
                read = Cell([cell | row for row in study.measure(cell, Path(folder))])
                record = {"cell": cell, "rows": read.rows, "made_by": made_by}
                _write(_file(place, number), json.dumps(record, allow_nan=False, indent=1))
            rows.append(read)
        if force or not (place / "info.json").is_file():
            _write(place / "info.json", json.dumps(_info(study, len(cells), time.perf_counter() - begun), indent=2))
    except OSError as error:
        raise InputError(f"{out}: cannot be written ({error.strerror}); give another folder with --out") from None
    return _findings(study, rows, dtype_name())


def load_study(out: Path | str, study: Study, *, folder: Path | str = ".") -> Findings | None:
    """The stored rows of a study; None unless all its cells are there."""
    read = _read_all(study_folder(out, study, folder), study, list(study.cells()))
    found = [cell for cell in read if cell is not None]
    return _findings(study, found, dtype_name()) if len(found) == len(read) else None


def load_findings(place: Path, study: Study) -> Findings:
    """The stored rows of a finished study in its own folder.

    Raises:
        InputError: a cell is missing or damaged.
    """
    found = []
    for number, read in enumerate(_read_all(place, study, list(study.cells())), 1):
        if read is None:
            raise InputError(f"{place}: cell {number} is missing or damaged; run the study again")
        found.append(read)
    return _findings(study, found, _dtype_of(place))


def _dtype_of(place: Path) -> str:
    """The precision that a finished study says it was measured in; the usual one where it does not say."""
    try:
        info = json.loads((place / "info.json").read_text(encoding="utf-8"))
        check_format(info, str(place))
        return str(info.get("dtype", USUAL))
    except InputError:
        raise
    except (OSError, ValueError, AttributeError, RecursionError) as error:
        raise InputError(f"{place}: info.json is damaged ({error}); run the study again") from None


def study_folder(out: Path | str, study: Study, folder: Path | str = ".") -> Path:
    """Where a study is stored. The name's hash covers every setting, the precision, and the data files it reads."""
    identity = study.resolved() | {"dtype": dtype_name(), "files": _digests(study, Path(folder))}
    text = json.dumps(identity, sort_keys=True)
    return Path(out) / f"{study.study}-{hashlib.sha256(text.encode()).hexdigest()[:10]}"


def _digests(study: Study, folder: Path) -> list[str]:
    """A hash of each data file and data set that the study names, so that changed data are another study."""
    own = [_digest(folder / data.file) for data in _data_of(study) if data.file is not None]
    # As they are in the package now, whatever the catalogue says.
    return own + [digest_of(data.dataset) for data in _data_of(study) if data.dataset is not None]


def _data_of(config: Any) -> Iterator[DataConfig]:
    """The data that a config names, in any of its fields."""
    if isinstance(config, DataConfig):
        yield config
    elif isinstance(config, BaseModel):
        yield from _data_of([getattr(config, name) for name in type(config).model_fields])
    elif isinstance(config, Mapping | list | tuple):
        for each in config.values() if isinstance(config, Mapping) else config:
            yield from _data_of(each)


def _digest(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return "missing"  # reading it says why


def _file(place: Path, number: int) -> Path:
    return place / "cells" / f"{number:04}.json"


def _read_all(place: Path, study: Study, cells: Sequence[Row]) -> list[Cell | None]:
    """What is stored of each cell."""
    made_by = Provenance.of(study)
    return [_read(_file(place, number), cell, made_by) for number, cell in enumerate(cells, 1)]


def _read(file: Path, cell: Row, made_by: Provenance) -> Cell | None:
    """The rows of a finished cell; None where there is none, or one of something else."""
    try:
        stored = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    # As JSON writes it: a tuple is a list there.
    same = isinstance(stored, dict) and stored.get("cell") == json.loads(json.dumps(cell))
    if not same or not isinstance(stored.get("rows"), list):
        return None
    return Cell(list(stored["rows"]), made_by.why_stale(stored.get("made_by")))


def _findings(study: Study, cells: Sequence[Cell], dtype: str) -> Findings:
    found = [cell.stale for cell in cells if cell.stale is not None]
    stale = f"{len(found)} of {len(cells)} cells, {'; '.join(dict.fromkeys(found))}" if found else None
    return Findings(study, [row for cell in cells for row in cell.rows], dtype, stale)


def _write(path: Path, text: str) -> None:
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def _info(study: Study, cells: int, seconds: float) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "study": study.study,
        "cells": cells,
        "seconds": seconds,
        "dtype": dtype_name(),
        "versions": {package: version(package) for package in _PACKAGES},
    }
