"""Arrays on disk: NPZ without pickle, whose size is checked before anything is unpacked."""

import io
import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from workbench.engine.files import replacing

# Arrays that unpack to more bytes are refused before they are read.
MOST_BYTES = 2**34


def read_arrays(content: bytes, most: int | None = None) -> dict[str, np.ndarray]:
    """The arrays of an NPZ file.

    Args:
        content: the bytes of the file.
        most: the most bytes that they may unpack to; by default `MOST_BYTES`.

    Raises:
        ValueError: they would unpack to more bytes, or are not arrays of numbers and text.
    """
    with zipfile.ZipFile(io.BytesIO(content)) as packed:
        size = sum(member.file_size for member in packed.infolist())
    if size > (MOST_BYTES if most is None else most):
        raise ValueError(f"it would unpack to {size / 2**30:.0f} GiB")
    with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
        return {name: arrays[name] for name in arrays.files}


def packed(arrays: Mapping[str, np.ndarray]) -> bytes:
    """Arrays as the content of an NPZ file."""
    content = io.BytesIO()
    np.savez_compressed(content, **arrays)  # type: ignore[arg-type]
    return content.getvalue()


def write_arrays(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write an NPZ file, whole or not at all."""
    with replacing(path) as temporary:
        temporary.write_bytes(packed(arrays))
