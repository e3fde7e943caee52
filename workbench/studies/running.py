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
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import tomli_w

from workbench.compilation import make_room
from workbench.errors import InputError
from workbench.files import replacing
from workbench.manifest import FORMAT, check_format
from workbench.precision import USUAL, dtype_name
from workbench.studies.base import Findings, Row, Study

Watch = Callable[[str], Callable[[int, int], None] | None]  # what is measured -> (cells done, cells in all)

# Packages whose versions decide the numbers of a study.
_PACKAGES = ("jax", "jaxlib", "numpyro", "numpy", "scipy", "optax", "workbench")


def run_study(
    study: Study, *, out: Path | str, folder: Path | str = ".", force: bool = False, watch: Watch | None = None
) -> Findings:
    """Measure the cells of a study that are not stored yet, and return the rows of all.

    Args:
        study: the config.
        out: the results folder.
        folder: what the relative paths of data files are relative to.
        force: measure again what is stored.
        watch: gives a progress callback.

    Raises:
        InputError: a cell's data cannot be had, or the folder cannot be written.
    """
    place, cells = study_folder(out, study, folder), list(study.cells())
    progress = None if watch is None else watch(study.study)
    begun, rows = time.perf_counter(), []
    try:
        _write(place / "config.toml", tomli_w.dumps(study.resolved()))
        for number, cell in enumerate(cells, 1):
            if progress is not None:
                progress(number - 1, len(cells))
            file = place / "cells" / f"{number:04}.json"
            found = None if force else _read(file, cell)
            if found is None:
                make_room()
                found = [cell | row for row in study.measure(cell, Path(folder))]
                _write(file, json.dumps({"cell": cell, "rows": found}, allow_nan=False, indent=1))
            rows += found
        if force or not (place / "info.json").is_file():
            _write(place / "info.json", json.dumps(_info(study, len(cells), time.perf_counter() - begun), indent=2))
    except OSError as error:
        raise InputError(f"{out}: cannot be written ({error.strerror}); give another folder with --out") from None
    return Findings(study, rows, dtype_name())


def load_study(out: Path | str, study: Study, *, folder: Path | str = ".") -> Findings | None:
    """The stored rows of a study; None unless all its cells are there."""
    place, rows = study_folder(out, study, folder), []
    for number, cell in enumerate(study.cells(), 1):
        found = _read(place / "cells" / f"{number:04}.json", cell)
        if found is None:
            return None
        rows += found
    return Findings(study, rows, dtype_name())


def load_findings(place: Path, study: Study) -> Findings:
    """The stored rows of a finished study in its own folder.

    Raises:
        InputError: a cell is missing or damaged.
    """
    rows = []
    for number, cell in enumerate(study.cells(), 1):
        found = _read(place / "cells" / f"{number:04}.json", cell)
        if found is None:
            raise InputError(f"{place}: cell {number} is missing or damaged; run the study again")
        rows += found
    return Findings(study, rows, _dtype_of(place))


def _dtype_of(place: Path) -> str:
    """The precision that a finished study says it was measured in; the usual one where it does not say."""
    try:
        info = json.loads((place / "info.json").read_text(encoding="utf-8"))
        check_format(info, str(place))
        return str(info.get("dtype", USUAL))
    except InputError:
        raise
    except (OSError, ValueError, AttributeError) as error:
        raise InputError(f"{place}: info.json is damaged ({error}); run the study again") from None


def study_folder(out: Path | str, study: Study, folder: Path | str = ".") -> Path:
    """Where a study is stored. The name's hash covers every setting, the precision, and the data files it reads."""
    identity = study.resolved() | {"dtype": dtype_name(), "files": _digests(study, Path(folder))}
    text = json.dumps(identity, sort_keys=True)
    return Path(out) / f"{study.study}-{hashlib.sha256(text.encode()).hexdigest()[:10]}"


def _digests(study: Study, folder: Path) -> list[str]:
    """A hash of each data file that the study names, so that a changed file is another study."""
    names = [subject.data.file for subject in getattr(study, "subjects", ()) if subject.data.file is not None]
    return [_digest(folder / name) for name in names]


def _digest(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return "missing"  # reading it says why


def _read(file: Path, cell: Row) -> list[Row] | None:
    """The rows of a finished cell; None where there is none, or one of something else."""
    try:
        stored = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    # As JSON writes it: a tuple is a list there.
    same = isinstance(stored, dict) and stored.get("cell") == json.loads(json.dumps(cell))
    return list(stored["rows"]) if same and isinstance(stored.get("rows"), list) else None


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
