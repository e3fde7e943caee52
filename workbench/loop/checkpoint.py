"""Checkpoints: the progress of a run on disk, so that an interrupted run continues to bit-identical results."""

import io
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import jax
import numpy as np

from workbench.engine.files import DAMAGED, replacing
from workbench.engine.hosts import from_first_host, leads

# Seconds between checkpoints; writing one takes a small part of that.
INTERVAL = 30.0


class Checkpoint:
    """A file that holds the arrays of an unfinished run.

    It stores any dataclass of NumPy arrays. A file is used only if its identity is that of the run and every shape and
    type fits; a damaged file counts as missing. Of several hosts only the first reads and writes the file, and sends
    the arrays to the others.

    Args:
        path: the file; it is replaced in one step and is never half written.
        interval: seconds of a run between two checkpoints.
        code: digest of the code. A run that other code began is begun again.
    """

    def __init__(self, path: Path, interval: float = INTERVAL, *, code: str = "") -> None:
        self.path = path
        self.interval = interval
        self.code = code
        self._saved = time.monotonic()

    @property
    def is_due(self) -> bool:
        """Whether the last checkpoint is older than the interval."""
        return time.monotonic() - self._saved >= self.interval

    def save(self, progress: Any, identity: str) -> None:
        """Write the arrays of a run's progress, with the identity of the run."""
        if leads():
            with replacing(self.path) as temporary, temporary.open("wb") as file:
                np.savez(file, *_arrays(progress), identity=np.asarray(f"{identity}{self.code}"))
        self._saved = time.monotonic()

    def restore(self, progress: Any, identity: str) -> bool:
        """Overwrite the arrays of a run's progress with those on disk; False if there are none, or they do not fit."""
        arrays = _arrays(progress)
        found = self._read(arrays, identity) if leads() else None
        there, values = from_first_host((np.asarray(found is not None), arrays if found is None else found))
        for array, value in zip(arrays, values, strict=True):
            array[...] = value
        return bool(there)

    def remove(self) -> None:
        """Delete the file, after the run has finished."""
        if leads():
            with suppress(IsADirectoryError, PermissionError):
                self.path.unlink(missing_ok=True)

    def _read(self, like: list[np.ndarray], identity: str) -> list[np.ndarray] | None:
        """The arrays on disk; None unless they belong to the same run and have the same shapes and types."""
        try:
            # The file is read into memory first, because NumPy leaves a damaged file open.
            with np.load(io.BytesIO(self.path.read_bytes()), allow_pickle=False) as stored:
                found = [stored[f"arr_{i}"] for i in range(len(stored.files) - 1)]
                same = str(stored["identity"]) == f"{identity}{self.code}"
        except DAMAGED:
            return None
        fits = [(a.shape, a.dtype) for a in found] == [(a.shape, a.dtype) for a in like]
        return found if same and fits else None


def _arrays(progress: Any) -> list[np.ndarray]:
    return jax.tree.leaves(list(vars(progress).values()))
