"""Files: only regular ones are read, and they are replaced whole, so that a reader sees the old one or the new one."""

import errno
import hashlib
import os
import platform
import shutil
import stat
import uuid
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path

from workbench.errors import InputError, one_line

# Exceptions raised by reading a damaged file of text, tables or arrays.
DAMAGED = (
    OSError,
    ValueError,
    TypeError,
    KeyError,
    EOFError,
    MemoryError,  # a header that announces more than memory can hold
    SyntaxError,
    RuntimeError,  # an archive marked as encrypted or of unknown compression; a table nested too deeply
    zipfile.BadZipFile,
    zlib.error,
)


def temporary_beside(path: Path) -> Path:
    """A hidden name in the same folder that identifies the writing machine and process."""
    return path.with_name(f".{_machine()}-{os.getpid()}-{uuid.uuid4().hex[:6]}.{path.name}")


def remove_abandoned(folder: Path) -> None:
    """Delete temporary files that dead processes of this machine left in a folder and its subfolders."""
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
    """A digest of host name, boot and process namespace, within which a process number is unique."""
    boot, space = Path("/proc/sys/kernel/random/boot_id"), Path("/proc/self/ns/pid")
    parts = [platform.node(), boot.read_text() if boot.is_file() else "", os.readlink(space) if space.exists() else ""]
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:8]


def _runs(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:  # it belongs to another user
        return True
    return True


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; it replaces `path` if the block ends without an error.

    Through a link, it is the file behind it that is replaced.

    Raises:
        InputError: the path is there and is a folder, a pipe or a device.
        OSError: it cannot be written.
    """
    if path.exists() and not path.is_file():
        raise InputError(f"{one_line(str(path))}: is no file that can be replaced; give another name, or move it away")
    path = Path(os.path.realpath(path))
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = temporary_beside(path)
    try:
        yield temporary
        sync(temporary)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def replace_folder(place: Path, files: Mapping[str, bytes], *, durable: bool = True) -> None:
    """Write a folder of files atomically: under a temporary name beside `place`, then renamed.

    Args:
        place: path of the folder.
        files: content by name.
        durable: whether to wait for the disk, so that the files survive a power cut right after the call.
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
            # A folder cannot be replaced in one step: the old one is kept aside until the new one is in place.
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


def regular(path: Path) -> Path:
    """The path of a file to read, after a check that it is no pipe or device, which could block or never end.

    Raises:
        OSError: it is one, or is not there. To whoever reads files it is as a folder in the place of one.
    """
    mode = path.stat().st_mode
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        raise IsADirectoryError(errno.EISDIR, "it is no regular file", str(path))
    return path


def sync(path: Path) -> None:
    """Flush a file or folder to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def digest_of_file(path: Path) -> str:
    """SHA-256 of a file's content in hex; "missing" if it cannot be read (the reader of the file reports why)."""
    try:
        with regular(path).open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return "missing"
