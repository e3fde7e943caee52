"""The store: runs on disk, each in a folder found by a hash of its config; nothing else touches the disk.

    results/NAME/
        METHOD-HASH/        one run: config.toml, trace.npz, info.json
        data/HASH.npz       the points it was fitted to and judged by, once for all runs of them
        experiments/HASH.toml   every experiment whose runs lie here, fully resolved

Folders and files are written under a temporary name and renamed, so that one is there whole or not at all.
"""

import hashlib
import io
import json
import os
import shutil
import tomllib
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import tomli_w

from workbench.compare import Comparison, Reference
from workbench.data import Dataset, Truth
from workbench.data.moments import blocks_of
from workbench.errors import InputError
from workbench.experiment.config import Experiment
from workbench.experiment.differences import tell_apart
from workbench.experiment.provenance import provenance_of
from workbench.experiment.reading import parse_experiment
from workbench.files import DAMAGED, replacing, sync
from workbench.manifest import NEVER, check_format, why_missing
from workbench.mixture import Mixture
from workbench.problem import Problem
from workbench.trace import Trace

# Points of more bytes stay where they are: the store keeps the place and a hash, and no copy.
COPIED_AT_MOST = 2**29

_PER_RESTART = ("log_joint", "log_likelihood", "passes", "ok", "converged", "collapsed")
# Kept where the run has them.
_OPTIONAL = ("dropped", "log_evidence", "energy", "evidence_bound")


@dataclass(frozen=True)
class Points:
    """The data of a run as the store keeps them."""

    train: Dataset
    heldout: Dataset

    @property
    def digest(self) -> str:
        """A hash of every number, so that a changed file is changed data."""
        return _digest({name: _fingerprint(value) for name, value in self.arrays().items()})

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


def load_results(folder: Path | str) -> list[Comparison]:
    """Every stored comparison of a results folder, oldest first.

    Raises:
        InputError: there is no such folder, it holds no finished runs, or a file is damaged.
    """
    return [comparison for comparison, _ in Store(Path(folder)).load_all()]


class Store:
    """The results folder of one experiment file."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def cell(self, experiment: Experiment, name: str, digest: str) -> Path:
        """The folder of one method's run. Its hash covers the data, the model, the starts, the seed and the method."""
        method = experiment.methods[name]
        resolved = experiment.resolved()
        identity = {key: resolved[key] for key in ("seed", "model", "prior", "starts")}
        identity |= {
            "data": digest,
            "dtype": str(jnp.result_type(float)),
            "restarts": method.num_restarts(experiment.restarts),
            "name": name,
            "method": resolved["methods"][name],
        }
        return self.folder / f"{name}-{_digest(identity)[:10]}"

    def is_complete(self, cell: Path) -> bool:
        """Whether the run has finished: its manifest is written last."""
        return (cell / "info.json").is_file()

    def why_stale(self, cell: Path, experiment: Experiment, method: str) -> str | None:
        """What other code made a finished run; None where the present code did, or where there is none.

        Raises:
            InputError: its manifest is damaged, or of a newer version.
        """
        if not self.is_complete(cell):
            return None
        return provenance_of(experiment, method).why_stale(_manifest(cell).get("made_by"))

    def save_experiment(self, experiment: Experiment, name: str, points: Points) -> None:
        """Keep the experiment and its data, so that `compare` and `plot` need nothing else."""
        resolved = experiment.resolved()
        record = {"name": name, "data_digest": points.digest, "experiment": resolved}
        # Where a file lay is not what it held.
        identity = {**record, "experiment": {**resolved, "data": {**resolved["data"], "file": None}}}
        data = self.folder / "data" / f"{points.digest}.npz"
        if not data.is_file() and points.train.x.nbytes <= COPIED_AT_MOST:
            with replacing(data) as temporary:
                _save_arrays(temporary, points.arrays())
        path = self.folder / "experiments" / f"{_digest(identity)[:10]}.toml"
        if not path.is_file():
            with replacing(path) as temporary:
                temporary.write_text(tomli_w.dumps(record), encoding="utf-8")

    def save_run(self, cell: Path, config: Mapping[str, Any], trace: Trace, info: Mapping[str, Any]) -> None:
        """Write a whole run under a temporary name beside its place, then rename it."""
        self.folder.mkdir(parents=True, exist_ok=True)
        temporary = self.folder / f".{cell.name}.{uuid.uuid4().hex[:8]}"
        aside = temporary.with_name(f"{temporary.name}.old")
        temporary.mkdir()
        try:
            (temporary / "config.toml").write_text(tomli_w.dumps(dict(config)), encoding="utf-8")
            _save_arrays(temporary / "trace.npz", _arrays_of(trace))
            text = json.dumps(info, indent=2, allow_nan=False)
            (temporary / "info.json").write_text(text + "\n", encoding="utf-8")
            for file in temporary.iterdir():
                sync(file)
            if cell.exists():
                # Aside first: a folder cannot be replaced in one step, and the old run must not be lost before.
                os.replace(cell, aside)
            os.replace(temporary, cell)
            sync(self.folder)
        finally:
            if aside.exists() and not cell.exists():
                os.replace(aside, cell)
            for leftover in (temporary, aside):
                shutil.rmtree(leftover, ignore_errors=True)

    def load_trace(self, cell: Path, problem: Problem) -> Trace:
        """The trace of a run.

        Raises:
            InputError: a file of the run is damaged, or of a newer version.
        """
        try:
            info = _manifest(cell)
            with _load_arrays(cell / "trace.npz") as arrays:
                mixtures = Mixture(arrays["weights"], arrays["means"], arrays["scales"], problem.covariance)
                values = {name: arrays[name] for name in _PER_RESTART}
                draws = int(arrays["draws"])
                if not 0 <= draws <= arrays["log_joint"].shape[-1]:
                    raise ValueError(f"draws = {draws} of {arrays['log_joint'].shape[-1]} rows")
                optional = {name: arrays.get(name) for name in _OPTIONAL}
            loaded = {"weights": mixtures.weights, "means": mixtures.means, "scales": mixtures.scales, **values}
            loaded |= {name: array for name, array in optional.items() if array is not None}
            _check_shapes(loaded, info, problem)
            return Trace(
                mixtures=mixtures,
                **values,
                seconds=np.asarray(info["seconds"]["rows"], float),
                compile_seconds=float(info["seconds"]["compile"]),
                score_seconds=float(info["seconds"]["score"]),
                draws=draws,
                **optional,
            )
        except InputError:
            raise
        except DAMAGED as error:
            raise InputError(f"{cell}: the run is damaged ({error}); delete the folder and run it again") from None

    def load_all(self) -> list[tuple[Comparison, Experiment]]:
        """Every experiment with at least one finished run here, oldest first.

        Raises:
            InputError: the folder holds no runs, or a file is damaged.
        """
        if not self.folder.is_dir():
            raise InputError(f"{self.folder}: no such folder; give a folder that `workbench run` wrote")
        records = sorted((self.folder / "experiments").glob("*.toml"), key=lambda p: (p.stat().st_mtime_ns, p.name))
        loaded = [self._load(path) for path in records]
        found = [(comparison, experiment) for comparison, experiment in loaded if len(comparison)]
        if not found:
            lost = sorted({why for comparison, _ in loaded for why in comparison.missing.values() if why != NEVER})
            if lost:
                raise InputError(f"{self.folder}: no finished runs: {'; '.join(lost)}")
            raise InputError(f"{self.folder}: no finished runs; give a folder that `workbench run` wrote")
        names = tell_apart([experiment for _, experiment in found])
        return [(_renamed(c, suffix), e) for (c, e), suffix in zip(found, names, strict=True)]

    def _load(self, path: Path) -> tuple[Comparison, Experiment]:
        try:
            record = tomllib.loads(path.read_text(encoding="utf-8"))
            name, digest, values = str(record["name"]), str(record["data_digest"]), dict(record["experiment"])
        except DAMAGED as error:
            raise InputError(f"{path}: is damaged ({error}); delete it and run the experiment again") from None
        experiment = parse_experiment(values, str(path))
        data = self.folder / "data" / f"{digest}.npz"
        if data.is_file() or experiment.data.file is None:
            points = _load_points(data, name)
            if points.digest != digest:
                raise InputError(
                    f"{data}: is damaged (its numbers are not those of its name); run the experiment again"
                )
        else:
            points = Points(*experiment.data.load(experiment.seed, Path()))
            if points.digest != digest:
                raise InputError(f"{experiment.data.file}: is not what the runs of {path} are of; run it again")
        problem = experiment.problem(points.train)
        cells = {method: self.cell(experiment, method, digest) for method in experiment.methods}
        there = {method: cell for method, cell in cells.items() if self.is_complete(cell)}
        traces = {method: self.load_trace(cell, problem) for method, cell in there.items()}
        whys = {method: self.why_stale(cell, experiment, method) for method, cell in there.items()}
        stale = {method: why for method, why in whys.items() if why is not None}
        missing = {method: why_missing(cell) for method, cell in cells.items() if method not in there}
        return replace(assemble(experiment, name, points, problem, traces), missing=missing, stale=stale), experiment


def assemble(
    experiment: Experiment, name: str, points: Points, problem: Problem, traces: Mapping[str, Trace]
) -> Comparison:
    """A comparison of traces with what an experiment knows."""
    return Comparison(
        problem,
        traces,
        Reference.of(points.train, points.heldout, experiment.soundness),
        name=name,
        columns=points.train.columns,
        units=points.train.units,
    )


def _load_points(path: Path, name: str) -> Points:
    try:
        with _load_arrays(path) as a:
            columns, units, source = tuple(a["columns"].tolist()), str(a["units"]), str(a["source"])
            truth = Truth(*(a[f"truth_{k}"] for k in Truth._fields)) if "truth_weights" in a else None
            labels = a.get("labels")
            train = Dataset(name, a["x"], columns, labels, units, source, truth=truth)
            return Points(train, Dataset(name, a["heldout"], columns, None, units, source))
    except DAMAGED as error:
        raise InputError(f"{path}: is damaged or missing ({error}); run the experiment again") from None


def _manifest(cell: Path) -> dict[str, Any]:
    try:
        info = json.loads((cell / "info.json").read_text(encoding="utf-8"))
        check_format(info, str(cell))
        return dict(info)
    except DAMAGED as error:
        raise InputError(f"{cell}: the run is damaged ({error}); delete the folder and run it again") from None


def _check_shapes(arrays: Mapping[str, np.ndarray], info: Mapping[str, Any], problem: Problem) -> None:
    """Refuse arrays of a run that do not fit each other, its manifest or its problem.

    Raises:
        ValueError: naming the array.
    """
    shape = restarts, rows = arrays["log_joint"].shape
    if 0 in shape:
        raise ValueError(f"log_joint has shape {shape}: no restart or no row")
    for name in [name for name, array in arrays.items() if array.dtype.kind not in "fbiu"]:
        raise ValueError(f"{name} is of {arrays[name].dtype}, and no array of real numbers")
    k, d = problem.components, problem.num_dimensions
    wanted = dict.fromkeys(("log_likelihood", "passes", "ok", "energy"), shape)
    wanted |= dict.fromkeys(("converged", "collapsed", "dropped", "log_evidence", "evidence_bound"), (restarts,))
    wanted |= {"weights": (*shape, k), "means": (*shape, k, d), "scales": (*shape, *problem.covariance.shape(k, d))}
    for name, expected in wanted.items():
        if name in arrays and arrays[name].shape != expected:
            raise ValueError(f"{name} has shape {arrays[name].shape}, and log_joint {shape}")
    if len(info["seconds"]["rows"]) != rows:
        raise ValueError(f"seconds of {len(info['seconds']['rows'])} rows, and log_joint of {rows}")


def _arrays_of(trace: Trace) -> dict[str, np.ndarray]:
    mixtures = trace.mixtures
    arrays: dict[str, Any] = {"weights": mixtures.weights, "means": mixtures.means, "scales": mixtures.scales}
    arrays |= {name: getattr(trace, name) for name in _PER_RESTART}
    arrays |= {name: getattr(trace, name) for name in _OPTIONAL if getattr(trace, name) is not None}
    return {name: np.asarray(value) for name, value in arrays.items()} | {"draws": np.asarray(trace.draws)}


def _save_arrays(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    with path.open("wb") as file:
        np.savez_compressed(file, **arrays)  # type: ignore[arg-type]


def _load_arrays(path: Path) -> Any:
    # From memory, because NumPy leaves a damaged file open.
    return np.load(io.BytesIO(path.read_bytes()), allow_pickle=False)


def _fingerprint(value: np.ndarray) -> str:
    hashed = hashlib.sha256()
    for block in blocks_of(value) if value.ndim == 2 else [value]:
        hashed.update(np.ascontiguousarray(block).tobytes())
    return f"{value.dtype.str}{value.shape}{hashed.hexdigest()}"


def _digest(value: Any) -> str:
    """A hash of plain values, the same whatever the order of keys."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:32]


def _renamed(comparison: Comparison, suffix: str) -> Comparison:
    if not suffix:
        return comparison
    return replace(comparison, name=f"{comparison.name} ({suffix})")
