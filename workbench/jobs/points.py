"""The points of a job as the store keeps them: once for all cells that are of them, and told apart by their content."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from workbench.data import Dataset, Truth
from workbench.data.moments import blocks_of
from workbench.engine.files import DAMAGED
from workbench.errors import InputError
from workbench.experiment import Experiment
from workbench.jobs.arrays import read_arrays, write_arrays
from workbench.jobs.base import digest_of_values

# Points of more bytes stay where they are: the store keeps the place and a hash, and no copy.
COPIED_AT_MOST = 2**29

# What is read of a copy, held-out points and labels with it: nothing tells before it is unpacked whether it is the one
# that was written.
READ_AT_MOST = 2**32


@dataclass(frozen=True)
class Points:
    """The data of a run as the store keeps them."""

    train: Dataset
    heldout: Dataset

    @property
    def digest(self) -> str:
        """A hash of every number, so that a changed file is changed data."""
        return digest_of_values({name: _fingerprint(value) for name, value in self.arrays().items()})

    def arrays(self) -> dict[str, np.ndarray]:
        """Everything that judging and drawing needs, as arrays."""
        arrays = {
            "x": self.train.x,
            "heldout": self.heldout.x,
            "columns": np.asarray(self.train.columns),
            "units": np.asarray(self.train.units),
            "source": np.asarray(self.train.source),
        }
        if self.train.labels is not None:
            arrays["labels"] = self.train.labels
        if self.train.truth is not None:
            arrays.update({f"truth_{k}": v for k, v in self.train.truth._asdict().items()})
        return arrays

    def keep(self, folder: Path) -> None:
        """Write them into a results folder, unless they are there or too large."""
        place = place_of(folder, self.digest)
        if not place.is_file() and self.train.x.nbytes <= COPIED_AT_MOST:
            write_arrays(place, self.arrays())


def place_of(folder: Path, digest: str) -> Path:
    """The file that keeps points."""
    return folder / "data" / f"{digest}.npz"


def load_points(folder: Path, digest: str, experiment: Experiment, name: str) -> Points:
    """The points of an experiment that a results folder keeps, or that its own file still holds.

    Raises:
        InputError: they are missing, damaged, or not what they were.
    """
    place = place_of(folder, digest)
    if not place.is_file() and experiment.data.file is not None:
        points = Points(*experiment.data.load(experiment.seed, Path()))
        if points.digest != digest:
            raise InputError(f"{experiment.data.file}: is not what the runs in {folder} are of; run it again")
        return points
    points = _read(place, name)
    if points.digest != digest:
        raise InputError(f"{place}: is damaged (its numbers are not those of its name); run the experiment again")
    return points


def _read(place: Path, name: str) -> Points:
    try:
        a = read_arrays(place.read_bytes(), READ_AT_MOST)
        columns, units, source = tuple(a["columns"].tolist()), str(a["units"]), str(a["source"])
        truth = Truth(*(a[f"truth_{k}"] for k in Truth._fields)) if "truth_weights" in a else None
        train = Dataset(name, a["x"], columns, a.get("labels"), units, source, truth=truth)
        return Points(train, Dataset(name, a["heldout"], columns, None, units, source))
    except DAMAGED as error:
        raise InputError(f"{place}: is damaged or missing ({error}); run the experiment again") from None


def _fingerprint(value: np.ndarray) -> str:
    hashed = hashlib.sha256()
    for block in blocks_of(value) if value.ndim == 2 else [value]:
        hashed.update(np.ascontiguousarray(block).tobytes())
    return f"{value.dtype.str}{value.shape}{hashed.hexdigest()}"
