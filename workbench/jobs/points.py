"""The points of a job in the store, which are kept once for all cells and identified by their content."""

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

# Points of more bytes are not copied: the store keeps their path and a hash.
COPIED_AT_MOST = 2**29

# The most bytes that a copy, with held-out points and labels, may unpack to. Whether it is the copy that was written is
# known only after unpacking.
READ_AT_MOST = 2**32


@dataclass(frozen=True)
class Points:
    """The points that a run fits, and those held out."""

    train: Dataset
    heldout: Dataset

    @property
    def digest(self) -> str:
        """A hash of every number, so that a changed file counts as other data."""
        return digest_of_values({name: _fingerprint(value) for name, value in self.arrays().items()})

    def arrays(self) -> dict[str, np.ndarray]:
        """Everything that scoring and drawing needs, as arrays."""
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
        """Write the points into a results folder, unless they exist there or are too large."""
        place = place_of(folder, self.digest)
        if not place.is_file() and self.train.x.nbytes <= COPIED_AT_MOST:
            write_arrays(place, self.arrays())


def place_of(folder: Path, digest: str) -> Path:
    """The file that keeps the points of a digest."""
    return folder / "data" / f"{digest}.npz"


def load_points(folder: Path, digest: str, experiment: Experiment, name: str) -> Points:
    """The points of an experiment, from a results folder or from the experiment's own data file.

    Raises:
        InputError: they are missing, damaged, or have changed.
    """
    place = place_of(folder, digest)
    if not place.is_file() and experiment.data.file is not None:
        points = Points(*experiment.data.load(experiment.seed, Path()))
        if points.digest != digest:
            raise InputError(
                f"{experiment.data.file}: has changed since the runs in {folder}; run the experiment again"
            )
        return points
    points = _read(place, name)
    if points.digest != digest:
        raise InputError(f"{place}: is damaged (its numbers do not match its name); run the experiment again")
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
