"""Writing a file so that a reader sees the old one or the new one, never half of it."""

import hashlib
import os
import shutil
import uuid
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
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


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary path beside `path` to write to; it takes the place of `path` if the block ends without error."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{uuid.uuid4().hex[:8]}.{path.name}")
    try:
        yield temporary
        sync(temporary)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def replace_folder(place: Path, files: Mapping[str, bytes]) -> None:
    """Write a folder of some files under a temporary name beside its place, then rename it: whole or not at all."""
    place.parent.mkdir(parents=True, exist_ok=True)
    temporary = place.with_name(f".{place.name}.{uuid.uuid4().hex[:8]}")
    aside = temporary.with_name(f"{temporary.name}.old")
    temporary.mkdir()
    try:
        for name, content in files.items():
            (temporary / name).write_bytes(content)
            sync(temporary / name)
        if place.exists():
            # Aside first: a folder cannot be replaced in one step, and the old one must not be lost before.
            os.replace(place, aside)
        os.replace(temporary, place)
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
