"""Writing a file so that a reader sees the old one or the new one, never half of it."""

import hashlib
import os
import platform
import shutil
import uuid
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path

# What reading a damaged file of text, tables or arrays raises.
DAMAGED = (
    OSError,
    ValueError,
    TypeError,
    KeyError,
    EOFError,
    MemoryError,  # a header that asks for more than there is
    SyntaxError,
    RuntimeError,  # an archive that says it is encrypted, or packed in an unknown way; a table nested beyond all depth
    zipfile.BadZipFile,
    zlib.error,
)


def temporary_beside(path: Path) -> Path:
    """A hidden name beside a path that says which process of which machine writes there."""
    return path.with_name(f".{_machine()}-{os.getpid()}-{uuid.uuid4().hex[:6]}.{path.name}")


def remove_abandoned(folder: Path) -> None:
    """Delete what processes of this machine that have ended since were writing in a folder and just below."""
    for path in [path for depth in ("", "*/", "figures/*/") for path in folder.glob(f"{depth}.{_machine()}-*")]:
        process = path.name.split("-")[1]
        if not process.isdecimal() or _runs(int(process)):
            continue
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


@lru_cache
def _machine() -> str:
    """What tells processes of one number apart: the machine, since when it runs, and which processes it shows here."""
    boot, space = Path("/proc/sys/kernel/random/boot_id"), Path("/proc/self/ns/pid")
    told = [platform.node(), boot.read_text() if boot.is_file() else "", os.readlink(space) if space.exists() else ""]
    return hashlib.sha256(repr(told).encode()).hexdigest()[:8]


def _runs(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:  # it is another user's
        return True
    return True


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary path beside `path` to write to; it takes the place of `path` if the block ends without error."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = temporary_beside(path)
    try:
        yield temporary
        sync(temporary)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def replace_folder(place: Path, files: Mapping[str, bytes], *, durable: bool = True) -> None:
    """Write a folder of some files under a temporary name beside its place, then rename it: whole or not at all.

    Args:
        place: where the folder is to be.
        files: content by name.
        durable: whether to wait for the disk, so that a power cut a moment later leaves the files whole as well.
    """
    place.parent.mkdir(parents=True, exist_ok=True)
    temporary = temporary_beside(place)
    aside = temporary.with_name(f"{temporary.name}.old")
    temporary.mkdir()
    try:
        for name, content in files.items():
            (temporary / name).write_bytes(content)
            if durable:
                sync(temporary / name)
        if place.exists():
            # Aside first: a folder cannot be replaced in one step, and the old one must not be lost before.
            os.replace(place, aside)
        os.replace(temporary, place)
        if durable:
            sync(place.parent)
    finally:
        if aside.exists() and not place.exists():
            os.replace(aside, place)
        for leftover in (temporary, aside):
            if leftover.is_dir():
                shutil.rmtree(leftover, ignore_errors=True)
            else:
                leftover.unlink(missing_ok=True)


def sync(path: Path) -> None:
    """Wait until a file or folder is on the disk itself."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def digest_of_file(path: Path) -> str:
    """A hash of a file's content; "missing" where it cannot be read, and whoever reads it says why."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return "missing"
