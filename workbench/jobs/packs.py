"""Packs: a results folder and its environment in one file, which a reader can verify by running it again."""

import hashlib
import json
import platform
import sys
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

from workbench.errors import InputError, one_line, shown
from workbench.files import DAMAGED, regular, replacing
from workbench.jobs.base import DONE, DamagedCellError, nothing_in
from workbench.jobs.formats import FORMAT, check_format
from workbench.jobs.registry import stored_job
from workbench.jobs.running import Reuse, Watch, run_job
from workbench.jobs.store import Store
from workbench.jobs.upkeep import differing_records

# The parts of a results folder that are packed.
PARTS = ("jobs", "cells", "data", "pages", "figures")
ABOUT = "pack.json"

# A pack that unpacks to more bytes is refused before it is read.
MOST_BYTES = 2**36


def export(folder: Path, out: Path) -> int:
    """Pack a results folder: jobs, cells, points, pages, and the environment. Returns the number of cells.

    Args:
        folder: a results folder.
        out: the ZIP file to write, whole or not at all.

    Raises:
        InputError: it is not a results folder, a cell is damaged, or the file cannot be written.
    """
    store = Store(folder)
    keys = store.stored_keys()
    if not keys:
        raise InputError(f"{folder}: {nothing_in(folder)}")
    for key in keys:
        manifest = store.manifest(key)
        if manifest is not None and manifest["status"] == DONE:
            store.contents(key)
    files = [file for part in PARTS for file in sorted((folder / part).rglob("*")) if file.is_file()]
    files = [file for file in files if not file.name.startswith(".")]
    files += [file for file in (folder / "report.html",) if file.is_file()]
    digests = {file.relative_to(folder).as_posix(): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}
    about = {"format": FORMAT, "name": folder.resolve().name, "environment": environment(), "files": digests}
    try:
        with replacing(out) as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED) as pack:
            pack.writestr(ABOUT, json.dumps(about, indent=1))
            for file in files:
                pack.write(file, file.relative_to(folder).as_posix())
    except OSError as error:
        raise InputError(f"{out}: cannot be written ({error.strerror}); give another file with --out") from None
    return len(keys)


def environment() -> dict[str, Any]:
    """Python, the machine, and every package that is installed."""
    packages = {str(each.metadata["Name"]): each.version for each in distributions()}
    machine = {"system": platform.system(), "machine": platform.machine()}
    return {"python": sys.version.split()[0], **machine, "packages": dict(sorted(packages.items()))}


def unpack(pack: Path, folder: Path) -> dict[str, Any]:
    """Unpack into a new folder, and return the description in the pack.

    Raises:
        InputError: it is not a pack, or a file has changed since it was packed.
    """
    try:
        with zipfile.ZipFile(regular(pack)) as opened:
            if sum(member.file_size for member in opened.infolist()) > MOST_BYTES:
                raise ValueError("it would unpack to more than 64 GiB")
            about = json.loads(opened.read(ABOUT))
            check_format(about, str(pack))
            unlisted = [name for name in opened.namelist() if name != ABOUT and name not in about["files"]]
            if unlisted:
                raise ValueError(f"it holds {shown(unlisted[0])}, which it does not list")
            for name, digest in dict(about["files"]).items():
                parts = Path(name).parts
                inside = name == "report.html" or (len(parts) > 1 and parts[0] in PARTS)
                if Path(name).is_absolute() or ".." in parts or not inside:
                    raise ValueError(f"{shown(name)} is not a file of a results folder")
                content = opened.read(name)
                if hashlib.sha256(content).hexdigest() != digest:
                    raise ValueError(f"{shown(name)} is not what was packed")
                place = folder / name
                place.parent.mkdir(parents=True, exist_ok=True)
                place.write_bytes(content)
    except InputError:
        raise
    except FileNotFoundError:
        raise InputError(f"{pack}: no such file; give a pack that `workbench export` wrote") from None
    except DAMAGED as error:
        reason = one_line(getattr(error, "strerror", None) or str(error), 200)
        raise InputError(f"{pack}: is no sound pack ({reason}); ask for it again") from None
    return dict(about)


@dataclass(frozen=True)
class Checked:
    """The outcome of one cell that was run again."""

    key: str
    state: str  # same, within, apart, failed, or not checked
    why: str = ""


def verify(folder: Path, scratch: Path, *, tolerance: float | None = None, watch: Watch | None = None) -> list[Checked]:
    """Run every job of a results folder again, elsewhere, and compare the results with those stored.

    Args:
        folder: the results, unpacked.
        scratch: an empty folder to run in.
        tolerance: relative, for numbers; by default the tolerance of each job (`Job.tolerance`). Draws of samplers have
            the same bits on one kind of processor only; if the bits differ, they are not compared.
        watch: returns a progress callback.

    Raises:
        InputError: the folder holds no job.
    """
    stored, again = Store(folder), Store(scratch)
    jobs = stored.jobs()
    if not jobs:
        raise InputError(f"{folder}: keeps no job; give a pack that `workbench export` wrote")
    found: dict[str, Checked] = {}
    for file, record in jobs:
        try:
            job = stored_job(folder, record, str(file))
            outcomes = run_job(job, again, reuse=Reuse(), watch=watch)
        except InputError as error:
            found |= {key: Checked(key, "not checked", str(error)) for key in record["cells"] if key not in found}
            continue
        own = {outcome.cell.key: outcome.failure for outcome in outcomes}
        for key in record["cells"]:
            if not stored.place(key).exists():
                continue  # it was never run, so it was not packed
            if key not in own:
                found[key] = Checked(key, "not checked", "its identity is different here: other data or precision")
            else:
                found[key] = _held(stored, again, key, own[key], job.tolerance if tolerance is None else tolerance)
    return list(found.values())


def _held(stored: Store, again: Store, key: str, failure: str | None, tolerance: float) -> Checked:
    """Compare one cell with its stored record."""
    try:
        before = stored.manifest(key)
        if before is None:
            return Checked(key, "not checked", "it is not stored")
        if before["status"] != DONE:
            return Checked(key, "same" if failure else "apart", f"stored as failed: {before['failure']['message']}")
        if failure is not None:
            return Checked(key, "failed", failure)
        mine, theirs = stored.load(key), again.load(key)
    except DamagedCellError as error:
        return Checked(key, "not checked", str(error))
    if not differing_records(mine, theirs, 0.0):
        return Checked(key, "same")
    if before["row"].get("draws"):
        return Checked(key, "not checked", "a sampler's draws have other bits on this machine")
    lines = differing_records(mine, theirs, tolerance)
    apart = [*lines[:3], *_machines(before, again.manifest(key))]
    return Checked(key, "apart", "; ".join(apart)) if lines else Checked(key, "within")


def _machines(before: Mapping[str, Any], now: Mapping[str, Any] | None) -> list[str]:
    """The devices of a cell and of its second run, if they differ."""
    first, second = (dict(each["made"]["device"]) for each in (before, now or before))
    words = [f"{device['count']} x {device['kind']}" for device in (first, second)]
    return [] if first == second else [f"made on {words[0]}, and here on {words[1]}"]
