"""The formats of stored files: arrays as NPZ without pickle, manifests, and points.

The size of an array is checked before anything is unpacked. A manifest states its format, and the machine, the time and
the packages that made a cell. Points are kept once for all cells and identified by their content.
"""

import hashlib
import io
import json
import logging
import time
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import jax
import numpy as np

from workbench.data import Dataset, Truth
from workbench.data.dataset import extent_of
from workbench.data.moments import blocks_of
from workbench.engine.devices import USUAL, dtype_name
from workbench.errors import InputError, shown
from workbench.experiment import Experiment
from workbench.files import DAMAGED, regular, replacing
from workbench.jobs.base import DamagedJobError, UnreadableError, digest_of_values, names_in, readable
from workbench.provenance import version_of

_LOG = logging.getLogger("workbench")

# A newer format is refused, because this version cannot know its meaning.
FORMAT = 2

# The reason given for a run that was never requested.
NEVER = "it has not been run"

PRECISIONS = {"float32", USUAL}


def check_format(record: Any, where: str) -> None:
    """Refuse files of a newer version of the workbench.

    Raises:
        InputError: the format is newer; names the formats, and what to do.
        ValueError: the record is not a table, or its format is not a whole number from 1 up.
    """
    if not isinstance(record, Mapping):
        raise ValueError(f"it is {shown(record)}, and no table")
    found = record.get("format", 1)
    if isinstance(found, bool) or not isinstance(found, int) or found < 1:
        raise ValueError(f"its format is {shown(found)}")
    if found > FORMAT:
        raise InputError(
            f"{where}: has format {found}, of a newer workbench; this one reads formats up to {FORMAT}: update it, "
            "or run into another folder"
        )


def why_missing(cell: Path) -> str:
    """Why the folder METHOD-HASH of a run does not hold it, in a few words."""
    if cell.is_dir():
        return f"{cell.name} has no manifest.json; run it again"
    for other in sorted(cell.parent.glob(f"{cell.name.rpartition('-')[0]}-*/manifest.json")):
        try:
            dtype = str(dict(json.loads(regular(other).read_text(encoding="utf-8"))["made"]).get("dtype"))
        except (OSError, ValueError, TypeError, KeyError, RecursionError):
            continue
        if dtype in PRECISIONS - {dtype_name()}:
            setting = f'jax.config.update("jax_enable_x64", {dtype == USUAL})'
            return f"it is stored in {dtype}, and JAX computes in {dtype_name()}: {setting}"
    return NEVER


# Packages whose versions are recorded, whether or not a cell's code imports them.
_PACKAGES = ("workbench", "jax", "jaxlib", "numpyro", "numpy", "scipy", "optax", "arviz-stats")


def machine(devices: int) -> dict[str, Any]:
    """The packages, hosts, precision and time of this process, and its device, of which `devices` took part."""
    device = jax.devices()[0]
    return {
        "versions": {package: version_of(package) for package in _PACKAGES},
        "device": {"platform": device.platform, "kind": device.device_kind, "count": devices},
        "hosts": jax.process_count(),
        "dtype": dtype_name(),
        "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }


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
        return digest_of_arrays(self.arrays())

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
        if self.train.weights is not None:
            arrays["weights"] = self.train.weights
        if self.heldout.weights is not None:
            arrays["heldout_weights"] = self.heldout.weights
        if self.train.known is not None:
            arrays["known"] = self.train.known
        if self.train.missing != "refuse":
            arrays["missing"] = np.asarray(self.train.missing)
        if self.train.dropped:
            arrays["dropped"] = np.asarray(self.train.dropped)
        if self.train.truth is not None:
            arrays.update({f"truth_{k}": v for k, v in self.train.truth._asdict().items()})
        return arrays

    def keep(self, folder: Path) -> None:
        """Write the points into a results folder, unless they are sound there or are too large."""
        if self.train.x.nbytes <= COPIED_AT_MOST:
            digest = self.digest
            place = place_of(folder, digest)
            if _why_lost(place) is not None:
                write_arrays(place, self.arrays())


def place_of(folder: Path, digest: str) -> Path:
    """The file that keeps the points of a digest."""
    return folder / "data" / f"{digest}.npz"


def load_points(folder: Path, digest: str, experiment: Experiment, name: str) -> Points:
    """The points of an experiment, from a results folder or from the experiment's own data file.

    Raises:
        DamagedJobError: they are missing, damaged, or have changed.
    """
    try:
        return _load_points(folder, digest, experiment, name)
    except InputError as error:
        raise DamagedJobError(f"{error} (the points of {shown(name)})") from None


def _load_points(folder: Path, digest: str, experiment: Experiment, name: str) -> Points:
    place = place_of(folder, digest)
    lost = ""
    if place.is_file() or experiment.data.file is None:
        try:
            return _sound(place, name)
        except UnreadableError:
            raise
        except InputError as error:
            if experiment.data.file is None:
                raise
            lost = str(error)
    points = Points(*experiment.data.load(experiment.seed, Path()))
    if points.digest != digest:
        changed = f"{experiment.data.file}: has changed since the runs in {folder}; run the experiment again"
        raise InputError(lost or changed)
    if lost:
        _LOG.warning("%s; until then %s is read in its place", lost, experiment.data.file)
    return points


def damaged_points(folder: Path) -> list[str]:
    """What is wrong with each damaged copy of points in a results folder, and what to do.

    Raises:
        UnreadableError: one cannot be read.
    """
    files = [folder / "data" / name for name in names_in(folder / "data") if name.endswith(".npz")]
    return [why for file in files if (why := _why_lost(file)) is not None]


def _why_lost(place: Path) -> str | None:
    """Why a file does not hold the points that its name says, and what to do; None if it does."""
    try:
        _sound(place, "")
    except UnreadableError:
        raise
    except InputError as error:
        return str(error)
    return None


def _sound(place: Path, name: str) -> Points:
    """The points in a file, of which its name is the digest."""
    points = _read(place, name)
    if points.digest != place.stem:
        raise InputError(f"{place}: is damaged (its numbers do not match its name); run the experiment again")
    return points


def _read(place: Path, name: str) -> Points:
    try:
        with readable(place):
            content = regular(place).read_bytes()
        a = read_arrays(content, READ_AT_MOST)
        columns, units, source = tuple(a["columns"].tolist()), str(a["units"]), str(a["source"])
        truth = Truth(*(a[f"truth_{k}"] for k in Truth._fields)) if "truth_weights" in a else None
        of_rows: dict[str, Any] = {"weights": a.get("weights"), "known": a.get("known")}
        of_rows["dropped"] = int(a.get("dropped", 0))
        train = Dataset(name, a["x"], columns, a.get("labels"), units, source, truth=truth, **of_rows)
        heldout = Dataset(name, a["heldout"], columns, None, units, source, weights=a.get("heldout_weights"))
        if str(a.get("missing", "refuse")) == "marginal":
            train, heldout = replace(train, missing="marginal"), replace(heldout, missing="marginal")
        if len(heldout.x):
            train = replace(train, box=extent_of(np.concatenate([train.x, heldout.x])))
        return Points(train, heldout)
    except UnreadableError:
        raise
    except DAMAGED as error:
        raise InputError(f"{place}: is damaged or missing ({error}); run the experiment again") from None


def digest_of_arrays(arrays: Mapping[str, np.ndarray]) -> str:
    """A hash of the names, the types, the shapes and every number of arrays."""
    return digest_of_values({name: _fingerprint(value) for name, value in arrays.items()})


def _fingerprint(value: np.ndarray) -> str:
    hashed = hashlib.sha256()
    for block in blocks_of(value) if value.ndim == 2 else [value]:
        hashed.update(np.ascontiguousarray(block).tobytes())
    return f"{value.dtype.str}{value.shape}{hashed.hexdigest()}"
