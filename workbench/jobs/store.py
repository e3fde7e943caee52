"""The store: the cells of all jobs on disk, in one layout; nothing else reads or writes them.

    results/NAME/
        jobs/KIND-HASH.toml     every job whose cells lie here: its config, and the keys of its cells
        cells/NAME-HASH/        one cell
            config.toml         what runs it alone, where it can be run alone
            values.json         what it found
            arrays.npz          arrays of it, where it has any
            manifest.json       identity, code, machine, status, one row for tables, and a digest of every file
        data/HASH.npz           points that cells are of, once for all of them

A folder is written under another name and renamed, its manifest last, so that a cell is there whole or not at all. Its
name is a hash of its identity; the manifest holds a digest of itself and of each file, so that nothing that was
changed afterwards is taken for a result.
"""

import hashlib
import json
import logging
import os
import shutil
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import filelock
import tomli_w

from workbench.engine.files import DAMAGED, remove_abandoned, replace_folder, replacing, temporary_beside
from workbench.errors import InputError, one_line, shown
from workbench.jobs.arrays import packed, read_arrays
from workbench.jobs.base import Cell, Job, Record, digest_of_values
from workbench.jobs.machine import machine
from workbench.jobs.manifest import FORMAT, check_format
from workbench.jobs.state import DONE, FAILED, DamagedCellError, DamagedJobError, Failure, Kept

MANIFEST, VALUES, ARRAYS, CONFIG = "manifest.json", "values.json", "arrays.npz", "config.toml"

# Seconds that a cell has taken from which on its writer waits for the disk, some milliseconds for each file. A power
# cut can damage what took less and was written just before; the digests tell, and it is run again.
WORTH_WAITING = 1.0

_LOG = logging.getLogger("workbench")


class Store:
    """A results folder."""

    def __init__(self, folder: Path | str) -> None:
        self.folder = Path(folder)

    def place(self, key: str) -> Path:
        """The folder of a cell."""
        return self.folder / "cells" / key

    def checkpoint_place(self, key: str) -> Path:
        """The file that keeps the progress of an unfinished cell."""
        return self.folder / "cells" / f".{key}.checkpoint.npz"

    # What is there.

    def look(self, cell: Cell) -> Kept | None:
        """What is stored of a cell, all files of which are what was written; None where there is nothing.

        Raises:
            DamagedCellError: something is, and cannot be what was written.
            InputError: a newer workbench wrote it.
        """
        found = self.manifest(cell.key)
        if found is None:
            return None
        if found["identity"] != json.loads(json.dumps(dict(cell.identity))):
            raise self.damaged(cell.key, "it is of another identity than its name says")
        if found["status"] == DONE:
            self.contents(cell.key)
        return Kept(str(found["status"]), found, cell.made_by.why_stale(found.get("made_by")))

    def manifest(self, key: str) -> dict[str, Any] | None:
        """The manifest of a cell; None where there is none.

        Raises:
            DamagedCellError: it is damaged.
            InputError: a newer workbench wrote it.
        """
        place = self.place(key)
        try:
            text = (place / MANIFEST).read_text(encoding="utf-8")
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            raise self.damaged(key, str(error)) from None
        try:
            found = json.loads(text)
            check_format(found, str(place))
            digest = found.pop("digest")
            if digest != digest_of_values(found):
                raise ValueError("its manifest was changed after it was written")
            if not key.endswith(f"-{digest_of_values(found['identity'])[:10]}"):
                raise ValueError("its folder was renamed")
            if found["status"] not in (DONE, FAILED):
                raise ValueError(f"its status is {shown(found['status'])}")
        except InputError:
            raise
        except DAMAGED as error:
            raise self.damaged(key, _said(error)) from None
        return dict(found)

    def load(self, key: str) -> Record:
        """The record of a cell that is done.

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
        """What would run a cell alone; None where nothing can, or it cannot be read."""
        try:
            return tomllib.loads((self.place(key) / CONFIG).read_text(encoding="utf-8"))
        except DAMAGED:
            return None

    def contents(self, key: str) -> tuple[dict[str, Any], dict[str, bytes]]:
        """The manifest of a cell that is done, and its files, which are what was written.

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
                    raise ValueError(f"{shown(name)} is no file of it")
                contents[name] = (place / name).read_bytes()
                if hashlib.sha256(contents[name]).hexdigest() != digest:
                    raise ValueError(f"{name} was changed after it was written")
        except DAMAGED as error:
            raise self.damaged(key, _said(error)) from None
        return found, contents

    def stored_keys(self) -> list[str]:
        """The cells that have a manifest, sound or not."""
        entries_of = self.folder / "cells"
        with suppress(FileNotFoundError, NotADirectoryError), os.scandir(entries_of) as entries:
            names = [entry.name for entry in entries if not entry.name.startswith(".")]
            return sorted(name for name in names if os.path.exists(os.path.join(entries_of, name, MANIFEST)))
        return []

    def jobs(self, kind: str | None = None) -> list[tuple[Path, dict[str, Any]]]:
        """The jobs that are kept here, oldest first: file and content.

        A damaged one is named in the log, and the others are told.

        Raises:
            DamagedJobError: none is sound.
            InputError: a newer workbench wrote one.
        """
        files = [file for file in (self.folder / "jobs").glob(f"{kind or '*'}-*.toml") if file.is_file()]
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
            job = tomllib.loads(file.read_text(encoding="utf-8"))
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

    # What is written.

    def file_of(self, job: Job) -> Path:
        """The file that keeps a job."""
        same = {"kind": job.kind, "name": job.name, "job": job.identity()}
        return self.folder / "jobs" / f"{job.kind}-{digest_of_values(same)[:10]}.toml"

    def record_of(self, job: Job) -> dict[str, Any]:
        """What is written down of a job."""
        cells = [cell.key for cell in job.all_cells()]
        return {"format": FORMAT, "kind": job.kind, "name": job.name, "config": job.config(), "cells": cells}

    def keep(self, job: Job) -> Path:
        """Write down a job and what its cells share, so that it can be shown again from this folder alone.

        Raises:
            InputError: the folder cannot be written.
        """
        record, file = self.record_of(job), self.file_of(job)
        try:
            job.prepare(self.folder)
            # As TOML gives it back: the digest is of that.
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
        """A job as it is written down already, if it is."""
        try:
            return self._job(file)
        except InputError:
            return None

    def save(self, kind: str, cell: Cell, record: Record, seconds: float) -> None:
        """Write the record of a cell, whole or not at all."""
        files = {VALUES: _lines_of(record.values).encode()}
        if record.arrays:
            files[ARRAYS] = packed(record.arrays)
        self._write(kind, cell, files, {"status": DONE, "row": dict(record.row), "seconds": seconds}, record.devices)

    def save_failure(self, kind: str, cell: Cell, failure: Failure, seconds: float) -> None:
        """Write down that a cell failed, and why."""
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
        """Hold a cell against other processes while it is run; the system frees it when its holder ends, however.

        Args:
            key: of the cell.
            wait: whether to wait for another process that holds it.

        Yields:
            Whether it is held now.
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
            # A file system without locks: one process works there as before, and two may do a cell twice.
            yield True
            return
        try:
            yield True
        finally:
            # Deleted while held: who opened it before looks at the cell again, and finds what has become of it.
            file.unlink(missing_ok=True)
            lock.release()

    def damaged(self, key: str, why: str) -> DamagedCellError:
        """The error that says that a cell cannot be what was written."""
        return DamagedCellError(f"{self.place(key)}: the run is damaged ({why}); delete the folder and run it again")


def _said(error: BaseException) -> str:
    """What an error says, as a line of a message has it."""
    named = f"{error} is missing" if isinstance(error, KeyError) else str(error)
    return one_line(named or type(error).__name__, 200)


def _lines_of(values: Mapping[str, Any]) -> str:
    """A table as JSON, a line for each key."""
    lines = (f" {json.dumps(str(key))}: {json.dumps(value, allow_nan=False)}" for key, value in values.items())
    return "{\n" + ",\n".join(lines) + "\n}\n"
