"""An index of the table rows of a folder of many cells, so that ten thousand cells open in a second.

It is a cache, and can be deleted at any time. An entry is valid as long as no file in its cell's folder has changed:
inode, size and times of the last change, to the nanosecond, must be equal. A file that was changed within two seconds
of being read is read again the next time, because some file systems do not resolve shorter intervals. Corruption by the
disk itself changes none of these; it is found when `run`, `compare` or `report` reads the cell.
"""

import hashlib
import json
import os
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from workbench.files import DAMAGED, temporary_beside
from workbench.jobs.base import DONE, DamagedCellError
from workbench.jobs.store import Store
from workbench.provenance import code_digest

# A folder of fewer cells is read without an index.
MANY = 1000

# Nanoseconds between two changes of a file that every file system can resolve.
APART = 2 * 10**9

# The name of the file in a results folder.
NAME = ".index.json"

# The entries of a manifest that a table needs.
_NEEDED = ("kind", "name", "status", "coordinates", "row", "seconds", "made_by", "failure")

Summary = dict[str, Any]

# Provenances by their JSON: cells made by the same code share one object, which is compared and written once.
Makers = dict[str, Any]


def summaries_of(store: Store, keys: Sequence[str], *, checked: bool) -> list[Summary | DamagedCellError | None]:
    """Parts of the manifests of some cells; None if a cell has no manifest, and the error if it is damaged.

    Args:
        store: the store of the cells.
        keys: the keys of the cells.
        checked: whether every file of a cell is checked, or the manifest alone.
    """
    if len(keys) < MANY:
        makers: Makers = {}
        return [_read(store, key, checked, makers) for key in keys]
    index = Index(store)
    found = [index.get(key, checked) for key in keys]
    index.save()
    return found


def _read(store: Store, key: str, checked: bool, makers: Makers) -> Summary | DamagedCellError | None:
    try:
        manifest = store.manifest(key)
    except DamagedCellError as error:
        return error
    if manifest is None:
        return None
    found = {name: manifest[name] for name in _NEEDED if name in manifest}
    made_by = manifest.get("made_by")
    found["made_by"] = makers.setdefault(json.dumps(made_by, sort_keys=True), made_by)
    if checked and manifest["status"] == DONE:
        try:
            store.contents(key)
        except DamagedCellError as error:
            found["damaged"] = str(error)
    return found


class Index:
    """The summaries of the cells of a folder, from the stored index where it is valid and else from the cells."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.file = store.folder / NAME
        self._new = temporary_beside(self.file)
        self._now: int | None = None  # the file system's time before the first cell was read
        self._code = code_digest(frozenset({__name__, "workbench.jobs.store"}))
        self._makers: Makers = {}
        self._known = self._load()
        self._asked: set[str] = set()
        self._kept: dict[str, list[Any]] = {}

    def get(self, key: str, checked: bool) -> Summary | DamagedCellError | None:
        """As `summaries_of`, for one cell."""
        self._asked.add(key)
        state, latest = _state_of(os.path.join(self.store.folder, "cells", key))
        entry = self._known.get(key)
        if entry is not None and entry[0] == state and entry[1] >= checked:
            self._kept[key] = entry
            return dict(entry[2])
        before = self._time()
        found = _read(self.store, key, checked, self._makers)
        if isinstance(found, dict) and "damaged" not in found and latest < before - APART:
            self._kept[key] = [state, checked, found]
        return found

    def save(self) -> None:
        """Write the index if it has changed; if the folder cannot be written, do nothing."""
        with suppress(OSError):
            if self._now is not None:
                self._new.write_text(self._text(), encoding="utf-8")
                os.replace(self._new, self.file)
        with suppress(OSError):
            self._new.unlink()

    def _text(self) -> str:
        """The text of the file, in which each provenance stands once."""
        others = {key: entry for key, entry in self._known.items() if key not in self._asked and self._is_there(key)}
        places = {id(made_by): place for place, made_by in enumerate(self._makers.values())}
        cells = {
            key: [state, checked, found | {"made_by": places[id(found["made_by"])]}]
            for key, (state, checked, found) in {**others, **self._kept}.items()
        }
        text = json.dumps([list(self._makers.values()), cells], separators=(",", ":"))
        return f"{self._stamp(text)}\n{text}"

    def _is_there(self, key: str) -> bool:
        return self.store.place(key).is_dir()

    def _load(self) -> dict[str, list[Any]]:
        if not self.file.is_file():
            return {}
        try:
            stamp, _, text = self.file.read_text(encoding="utf-8").partition("\n")
            if stamp != self._stamp(text):
                return {}
            makers, known = json.loads(text)
            for _, _, found in known.values():
                found["made_by"] = makers[found["made_by"]]
            known = dict(known)
        except (*DAMAGED, AttributeError, LookupError, TypeError, ValueError):
            return {}
        self._makers = {json.dumps(made_by, sort_keys=True): made_by for made_by in makers}
        return known

    def _stamp(self, text: str) -> str:
        """The digests of this code and of a text."""
        return f"{self._code} {hashlib.sha256(text.encode()).hexdigest()}"

    def _time(self) -> int:
        """The time of the file system in nanoseconds; 0 if nothing can be written, so that no entry is kept."""
        if self._now is None:
            self._now = 0
            with suppress(OSError):
                self._new.touch()
                self._now = self._new.stat().st_mtime_ns
        return self._now


def _state_of(folder: str) -> tuple[str, int]:
    """A digest of the state of a folder's files, and the time of the last change, in nanoseconds."""
    files, latest = [], 0
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            stat = entry.stat()
            files.append(f"{entry.name} {stat.st_ino} {stat.st_size} {stat.st_mtime_ns} {stat.st_ctime_ns}")
            latest = max(latest, stat.st_ctime_ns)
    return hashlib.sha256("\n".join(sorted(files)).encode()).hexdigest()[:32], latest
