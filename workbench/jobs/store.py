"""The store: the one layout in which the cells of all jobs lie on disk; no other module reads or writes them.

    results/NAME/
        jobs/KIND-HASH.toml     a job whose cells lie here: its config, and the keys of its cells
        cells/NAME-HASH/        one cell
            config.toml         the config that runs this cell alone, where one exists
            values.json         its values
            arrays.npz          its arrays, where it has any
            manifest.json       identity, code, machine, status, one row for tables, and a digest of every file
        data/HASH.npz           the points of cells, once for all of them

A cell's folder is written under a temporary name, its manifest last, and then renamed, so that a cell exists whole or
not at all. Its name ends in a hash of its identity. The manifest holds a digest of itself and of each file, so that
nothing that was changed afterwards is taken for a result.
"""

import fnmatch
import hashlib
import json
import logging
import os
import shutil
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import filelock
import tomli_w

from workbench.errors import InputError, one_line, path_of, shown
from workbench.files import DAMAGED, regular, remove_abandoned, replace_folder, replacing, temporary_beside
from workbench.jobs.base import (
    DONE,
    FAILED,
    Cell,
    DamagedCellError,
    DamagedJobError,
    Failure,
    Job,
    Kept,
    Record,
    UnreadableError,
    digest_of_values,
    may_exist,
    names_in,
    readable,
)
from workbench.jobs.formats import FORMAT, check_format, machine, packed, read_arrays

MANIFEST, VALUES, ARRAYS, CONFIG = "manifest.json", "values.json", "arrays.npz", "config.toml"

# The writer of a cell that took at least this many seconds waits for the disk, some milliseconds for each file. A power
# cut can damage a quicker cell that was just written; its digests then show the damage, and it is run again.
WORTH_WAITING = 1.0

_LOG = logging.getLogger("workbench")


class Store:
    """A results folder."""

    def __init__(self, folder: Path | str) -> None:
        self.folder = path_of("folder", folder)

    def place(self, key: str) -> Path:
        """The folder of a cell."""
        return self.folder / "cells" / key

    def checkpoint_place(self, key: str) -> Path:
        """The file that keeps the progress of an unfinished cell."""
        return self.folder / "cells" / f".{key}.checkpoint.npz"

    # Reading.

    def look(self, cell: Cell) -> Kept | None:
        """The stored state of a cell, after a check of every file; None if nothing is stored.

        Raises:
            DamagedCellError: a file has changed since it was written.
            InputError: a newer workbench wrote it.
        """
        found = self.manifest(cell.key)
        if found is None:
            return None
        if found["identity"] != json.loads(json.dumps(dict(cell.identity))):
            raise self.damaged(cell.key, "its identity is not that of its name")
        if found["status"] == DONE:
            self.contents(cell.key)
        return Kept(str(found["status"]), found, cell.made_by.why_stale(found.get("made_by")))

    def manifest(self, key: str) -> dict[str, Any] | None:
        """The manifest of a cell; None if there is none.

        Raises:
            DamagedCellError: it is damaged.
            UnreadableError: it is there and cannot be read.
            InputError: a newer workbench wrote it.
        """
        place = self.place(key)
        try:
            with readable(place / MANIFEST):
                text = regular(place / MANIFEST).read_text(encoding="utf-8")
            found = json.loads(text)
            check_format(found, str(place))
            digest = found.pop("digest")
            if digest != digest_of_values(found):
                raise ValueError("its manifest was changed after it was written")
            if not key.endswith(f"-{digest_of_values(found['identity'])[:10]}"):
                raise ValueError("its folder was renamed")
            if found["status"] not in (DONE, FAILED):
                raise ValueError(f"its status is {shown(found['status'])}")
        except FileNotFoundError:
            return None
        except InputError:
            raise
        except DAMAGED as error:
            raise self.damaged(key, _said(error)) from None
        return dict(found)

    def load(self, key: str) -> Record:
        """The record of a finished cell.

        Raises:
            DamagedCellError: a file is missing, or is not what was written.
        """
        found, contents = self.contents(key)
        try:
            values = json.loads(contents[VALUES])
            arrays = read_arrays(contents[ARRAYS]) if ARRAYS in contents else {}
        except DAMAGED as error:
            raise self.damaged(key, _said(error)) from None
        return Record(values, arrays, found["row"])

    def config(self, key: str) -> dict[str, Any] | None:
        """The config that runs a cell alone; None if there is none, or it cannot be read."""
        try:
            return tomllib.loads(regular(self.place(key) / CONFIG).read_text(encoding="utf-8"))
        except DAMAGED:
            return None

    def contents(self, key: str) -> tuple[dict[str, Any], dict[str, bytes]]:
        """The manifest of a finished cell and the contents of its files, whose digests are checked.

        Raises:
            DamagedCellError: a file is missing, or is not what was written.
        """
        found, place = self.manifest(key), self.place(key)
        if found is None or found["status"] != DONE:
            raise self.damaged(key, f"it has no {MANIFEST}" if found is None else f"it failed: {found['failure']}")
        contents = {}
        try:
            for name, digest in found["files"].items():
                if Path(name).name != name:
                    raise ValueError(f"{shown(name)} is not a file of it")
                with readable(place / name):
                    contents[name] = regular(place / name).read_bytes()
                if hashlib.sha256(contents[name]).hexdigest() != digest:
                    raise ValueError(f"{name} was changed after it was written")
        except InputError:
            raise
        except DAMAGED as error:
            raise self.damaged(key, _said(error)) from None
        return found, contents

    def stored_keys(self) -> list[str]:
        """The keys of the cells that have a manifest, sound or not."""
        cells = self.folder / "cells"
        return [name for name in names_in(cells) if may_exist(os.path.join(cells, name, MANIFEST))]

    def jobs(self, kind: str | None = None) -> list[tuple[Path, dict[str, Any]]]:
        """The jobs that are stored here, oldest first: file and content.

        The log names a damaged one, and the others are returned.

        Raises:
            DamagedJobError: none of them is sound.
            InputError: one cannot be read, or a newer workbench wrote it.
        """
        names = fnmatch.filter(names_in(self.folder / "jobs"), f"{kind or '*'}-*.toml")
        files = [file for file in (self.folder / "jobs" / name for name in names) if file.is_file()]
        sound, damaged = [], []
        for file in sorted(files, key=lambda p: (p.stat().st_mtime_ns, p)):
            try:
                sound.append((file, self._job(file)))
            except DamagedJobError as error:
                damaged.append(error)
        if damaged and not sound:
            raise damaged[0]
        for each in damaged:
            _LOG.warning("%s", each)
        return sound

    def _job(self, file: Path) -> dict[str, Any]:
        try:
            with readable(file):
                job = tomllib.loads(regular(file).read_text(encoding="utf-8"))
            check_format(job, str(file))
            known = {"kind": str, "name": str, "config": dict, "cells": list, "digest": str}
            wrong = [name for name, kind in known.items() if not isinstance(job.get(name), kind)]
            if wrong or not all(isinstance(key, str) and Path(key).name == key for key in job["cells"]):
                raise ValueError(f"{', '.join(wrong) or 'cells'}: missing or of another kind")
            if job.pop("digest") != digest_of_values(job):
                raise ValueError("it was changed after it was written")
        except InputError:
            raise
        except DAMAGED as error:
            raise DamagedJobError(f"{file}: is damaged ({_said(error)}); delete it and run the job again") from None
        return job

    # Writing.

    def file_of(self, job: Job) -> Path:
        """The file that keeps a job."""
        same = {"kind": job.kind, "name": job.name, "job": job.identity()}
        return self.folder / "jobs" / f"{job.kind}-{digest_of_values(same)[:10]}.toml"

    def record_of(self, job: Job) -> dict[str, Any]:
        """The content of the file of a job, without its digest."""
        cells = [cell.key for cell in job.all_cells()]
        return {"format": FORMAT, "kind": job.kind, "name": job.name, "config": job.config(), "cells": cells}

    def keep(self, job: Job) -> Path:
        """Store a job and the data that its cells share, so that it can be shown again from this folder alone.

        Raises:
            InputError: the folder cannot be written.
        """
        record, file = self.record_of(job), self.file_of(job)
        try:
            job.prepare(self.folder)
            # The digest is of the values as TOML reads them back.
            plain = tomllib.loads(tomli_w.dumps(record))
            if self._kept(file) != plain:
                with replacing(file) as temporary:
                    temporary.write_text(tomli_w.dumps(plain | {"digest": digest_of_values(plain)}), encoding="utf-8")
            (self.folder / "cells").mkdir(exist_ok=True)
        except OSError as error:
            raise InputError(
                f"{self.folder}: cannot be written ({error.strerror}); give another folder with --out"
            ) from None
        return file

    def _kept(self, file: Path) -> dict[str, Any] | None:
        """The stored content of a job; None if it is not stored."""
        try:
            return self._job(file)
        except UnreadableError:
            raise
        except InputError:
            return None

    def save(self, kind: str, cell: Cell, record: Record, seconds: float) -> None:
        """Write the record of a cell, whole or not at all."""
        files = {VALUES: _lines_of(record.values).encode()}
        if record.arrays:
            files[ARRAYS] = packed(record.arrays)
        self._write(kind, cell, files, {"status": DONE, "row": dict(record.row), "seconds": seconds}, record.devices)

    def save_failure(self, kind: str, cell: Cell, failure: Failure, seconds: float) -> None:
        """Store the failure of a cell."""
        why = {"message": failure.message, "traceback": failure.traceback}
        self._write(kind, cell, {}, {"status": FAILED, "row": {}, "seconds": seconds, "failure": why}, 1)

    def _write(self, kind: str, cell: Cell, files: dict[str, bytes], outcome: Mapping[str, Any], devices: int) -> None:
        if cell.config is not None:
            files = {CONFIG: tomli_w.dumps(dict(cell.config)).encode(), **files}
        manifest = {
            "format": FORMAT,
            "kind": kind,
            "name": cell.name,
            "coordinates": dict(cell.coordinates),
            "identity": dict(cell.identity),
            "made_by": cell.made_by.to_dict(),
            "made": machine(devices),
            "files": {name: hashlib.sha256(content).hexdigest() for name, content in files.items()},
            **outcome,
        }
        manifest = json.loads(json.dumps(manifest, allow_nan=False))
        text = _lines_of(manifest | {"digest": digest_of_values(manifest)})
        durable = manifest["seconds"] >= WORTH_WAITING
        replace_folder(self.place(cell.key), {**files, MANIFEST: text.encode()}, durable=durable)

    def remove(self, key: str) -> None:
        """Delete a cell."""
        place = self.place(key)
        gone = temporary_beside(place)
        os.replace(place, gone)
        shutil.rmtree(gone)

    def tidy(self, finished: Iterable[str]) -> None:
        """Delete what processes that were killed have left: half-written files, and locks and checkpoints of cells.

        Args:
            finished: keys of cells that nothing is to be done for any more.
        """
        remove_abandoned(self.folder)
        there = {path.name for path in (self.folder / "cells").glob(".*")}
        for key in finished:
            if there & {self.checkpoint_place(key).name, f".{key}.lock"}:
                with self.claimed(key, wait=False) as held:
                    if held:
                        self.checkpoint_place(key).unlink(missing_ok=True)

    @contextmanager
    def claimed(self, key: str, wait: bool) -> Iterator[bool]:
        """Claim a cell against other processes while it runs; the system releases it however the process ends.

        Args:
            key: the key of the cell.
            wait: whether to wait for another process that holds the cell.

        Yields:
            Whether this process holds the cell now.
        """
        file = self.place(key).with_name(f".{key}.lock")
        file.parent.mkdir(parents=True, exist_ok=True)
        lock = filelock.FileLock(file)
        try:
            lock.acquire(timeout=-1 if wait else 0)
        except filelock.Timeout:
            yield False
            return
        except NotImplementedError:
            # The file system has no locks: one process works as before, and two processes may run a cell twice.
            yield True
            return
        try:
            yield True
        finally:
            # The file is deleted while held: a process that has it open looks at the cell again and finds its record.
            file.unlink(missing_ok=True)
            lock.release()

    def damaged(self, key: str, why: str) -> DamagedCellError:
        """The error for a cell that has changed since it was written."""
        return DamagedCellError(f"{self.place(key)}: the run is damaged ({why}); delete the folder and run it again")


def _said(error: BaseException) -> str:
    """The text of an error in one line."""
    named = f"{error} is missing" if isinstance(error, KeyError) else str(error)
    return one_line(named or type(error).__name__, 200)


def _lines_of(values: Mapping[str, Any]) -> str:
    """A mapping as JSON, with a line for each key."""
    lines = (f" {json.dumps(str(key))}: {json.dumps(value, allow_nan=False)}" for key, value in values.items())
    return "{\n" + ",\n".join(lines) + "\n}\n"
