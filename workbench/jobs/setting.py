"""A setting: one experiment with its points, which is everything that a run of one of its methods needs.

Traces are converted to stored records, which hold arrays and the outcome of each restart, and back.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np

from workbench.compare import Comparison, Reference
from workbench.compare.comparison import sizes_of, starts_of
from workbench.diagnostics import RestartStatus, agreement_with, checks, mixing_of, restart_statuses
from workbench.engine.keys import named_key
from workbench.errors import InputError
from workbench.experiment.config import Experiment
from workbench.experiment.provenance import provenance_of
from workbench.experiment.reading import parse_experiment
from workbench.files import DAMAGED
from workbench.jobs.base import Cell, Progress, Record, Value
from workbench.jobs.formats import Points, load_points
from workbench.loop.pool import Checkpoint
from workbench.loop.run import run
from workbench.loop.trace import Trace
from workbench.methods import Method
from workbench.mixture import Mixture
from workbench.problem import Problem

_PER_RESTART = ("log_joint", "log_likelihood", "passes", "ok", "converged", "collapsed")
# Arrays that only some runs have.
_OPTIONAL = ("dropped", "log_evidence", "energy", "evidence_bound")


def record_of_trace(
    trace: Trace, problem: Problem, starts: Mixture, found: Sequence[RestartStatus], reference: Reference
) -> Record:
    """The record of a trace, with its statuses, checks, seconds and passes."""
    values = {
        "hyperparameters": {k: np.asarray(v).tolist() for k, v in problem.hyperparameters.items()},
        "num_points": problem.num_points,
        "num_dimensions": problem.num_dimensions,
        "statuses": [{"restart": r, "status": v.status.name, "message": v.message} for r, v in enumerate(found)],
        "status_counts": dict(Counter(v.status.name for v in found)),
        "checks": checks(trace, problem, starts),
        "passes": float(np.sum(trace.passes[:, -1])),
        "seconds": {
            "compile": trace.compile_seconds,
            "step": float(trace.seconds[-1]),
            "score": trace.score_seconds,
            "rows": [float(s) for s in trace.seconds],
        },
    }
    devices = 1 if problem.rows.mesh is None else problem.rows.mesh.size
    return Record(values, arrays_of(trace), _row(trace, problem, found, reference), devices)


def arrays_of(trace: Trace) -> dict[str, np.ndarray]:
    """The arrays of a trace by name, except its seconds."""
    mixtures = trace.mixtures
    arrays: dict[str, Any] = {"weights": mixtures.weights, "means": mixtures.means, "scales": mixtures.scales}
    arrays |= {} if mixtures.background is None else {"background": mixtures.background.weight}
    arrays |= {name: getattr(trace, name) for name in _PER_RESTART}
    arrays |= {name: getattr(trace, name) for name in _OPTIONAL if getattr(trace, name) is not None}
    return {name: np.asarray(value) for name, value in arrays.items()} | {"draws": np.asarray(trace.draws)}


def trace_of(record: Record, problem: Problem) -> Trace:
    """The trace in a record.

    Raises:
        ValueError, KeyError, TypeError: stored arrays do not fit each other, or the problem.
    """
    arrays: Mapping[str, Any] = record.arrays
    seconds = record.values["seconds"]
    values = {name: arrays[name] for name in _PER_RESTART}
    draws = int(arrays["draws"])
    if not 0 <= draws <= arrays["log_joint"].shape[-1]:
        raise ValueError(f"draws = {draws} of {arrays['log_joint'].shape[-1]} rows")
    optional: dict[str, Any] = {name: arrays.get(name) for name in _OPTIONAL}
    _check_shapes({name: array for name, array in arrays.items() if name != "draws"}, seconds, problem)
    background = None if problem.background is None else problem.background.weighing(arrays["background"])
    return Trace(
        mixtures=Mixture(arrays["weights"], arrays["means"], arrays["scales"], problem.covariance, background),
        **values,
        seconds=np.asarray(seconds["rows"], float),
        compile_seconds=float(seconds["compile"]),
        score_seconds=float(seconds["score"]),
        draws=draws,
        **optional,
    )


def _row(trace: Trace, problem: Problem, found: Sequence[RestartStatus], reference: Reference) -> dict[str, Value]:
    """The columns of a run in a table of many: its commonest status, its best sound answer, and its cost."""
    counts = Counter(verdict.status.name for verdict in found)
    place = trace.best_place(problem, reference.rule)
    known: dict[str, Value] = {}
    if reference.labels is not None and place is not None:
        known = {"adjusted_rand_index": agreement_with(reference.labels, trace.at(*place), problem)}
    return known | {
        "status": counts.most_common(1)[0][0] if counts else None,
        **{f"restarts_{status.lower()}": count for status, count in sorted(counts.items())},
        "restarts_run": trace.num_restarts,
        "draws": trace.draws,
        "log_joint": None if place is None else float(trace.log_joint[place]),
        "log_likelihood": None if place is None else float(trace.log_likelihood[place]),
        "passes": float(np.sum(trace.passes[:, -1])),
        "step_seconds": float(trace.seconds[-1]),
        "compile_seconds": trace.compile_seconds,
        "num_points": problem.num_points,
        "num_dimensions": problem.num_dimensions,
    }


def _check_shapes(arrays: Mapping[str, np.ndarray], seconds: Mapping[str, Any], problem: Problem) -> None:
    """Refuse arrays of a run that do not fit each other, their seconds or their problem.

    Raises:
        ValueError: names the array.
    """
    shape = restarts, rows = arrays["log_joint"].shape
    if 0 in shape:
        raise ValueError(f"log_joint has shape {shape}: no restart or no row")
    for name in [name for name, array in arrays.items() if array.dtype.kind not in "fbiu"]:
        raise ValueError(f"{name} is of {arrays[name].dtype}, not of real numbers")
    k, d = problem.components, problem.num_dimensions
    wanted = dict.fromkeys(("log_likelihood", "passes", "ok", "energy"), shape)
    wanted |= dict.fromkeys(("converged", "collapsed", "dropped", "log_evidence", "evidence_bound"), (restarts,))
    wanted |= {"weights": (*shape, k), "means": (*shape, k, d), "scales": (*shape, *problem.covariance.shape(k, d))}
    for name, expected in wanted.items():
        if name in arrays and arrays[name].shape != expected:
            raise ValueError(f"{name} has shape {arrays[name].shape}, and log_joint {shape}")
    if len(seconds["rows"]) != rows:
        raise ValueError(f"seconds of {len(seconds['rows'])} rows, and log_joint of {rows}")


@dataclass(frozen=True)
class Setting:
    """An experiment and its points: everything that its cells need."""

    experiment: Experiment
    points: Points
    drawn: dict[int, Mixture] = field(
        default_factory=dict, compare=False, repr=False
    )  # starts, by the number of restarts

    def __getstate__(self) -> dict[str, Any]:
        """The state that is sent to a worker, without cached values, which it can compute again."""
        return {"experiment": self.experiment, "points": self.points, "drawn": {}}

    @classmethod
    def of(cls, experiment: Experiment, folder: Path | str) -> "Setting":
        """The setting of an experiment, whose points are read from its data.

        Args:
            experiment: the config.
            folder: what a relative `data.file` is relative to.

        Raises:
            InputError: the data cannot be read.
        """
        points = Points(*experiment.data.load(experiment.seed, Path(folder)))
        return cls(experiment.located(Path(folder)), points)

    @classmethod
    def stored(cls, folder: Path, record: Mapping[str, Any], where: str) -> "Setting":
        """The setting of an experiment that a results folder keeps.

        Raises:
            InputError: its file or its points are damaged.
        """
        try:
            values, digest = dict(record["config"]["experiment"]), str(record["config"]["data_digest"])
        except DAMAGED as error:
            raise InputError(f"{where}: is damaged ({error}); delete it and run the job again") from None
        experiment = parse_experiment(values, where)
        return cls(experiment, load_points(folder, digest, experiment, str(record["name"])))

    @cached_property
    def problem(self) -> Problem:
        """The problem that is solved.

        Raises:
            InputError: the points do not suit the model or the prior.
        """
        return self.experiment.problem(self.points.train)

    @cached_property
    def digest(self) -> str:
        """The digest of the points."""
        return self.points.digest

    @property
    def reference(self) -> Reference:
        """The reference by which answers are judged."""
        return Reference.of(self.points.train, self.points.heldout, self.experiment.soundness)

    def cell(self, method: str, coordinates: Mapping[str, Value] | None = None) -> Cell:
        """The cell of one method. Its identity covers the data, the model, the starts, the seed and the method."""
        experiment = self.experiment
        resolved = experiment.resolved()
        identity = {key: resolved[key] for key in ("seed", "model", "prior", "starts")}
        identity |= {
            "data": self.digest,
            "dtype": str(jnp.result_type(float)),
            "restarts": experiment.methods[method].num_restarts(experiment.restarts),
            "name": method,
            "method": resolved["methods"][method],
        }
        config = resolved | {"methods": {method: resolved["methods"][method]}}
        own = {"data": named_data(experiment), "points": self.digest[:8], "method": method, **flat(identity)}
        return Cell(method, identity, provenance_of(experiment, method), own | dict(coordinates or {}), config)

    def run(self, method: str, checkpoint: Checkpoint, progress: Progress | None) -> tuple[Trace, Record]:
        """Run one method."""
        experiment, problem = self.experiment, self.problem
        config = experiment.methods[method]
        starts = self._starts(config)
        key = named_key(experiment.seed, method)
        trace = run(config, problem, starts, key, checkpoint=checkpoint, progress=progress)
        statuses = restart_statuses(trace, problem, experiment.soundness, mixing_of(trace, problem))
        return trace, record_of_trace(trace, problem, starts, statuses, self.reference)

    def _starts(self, method: Method) -> Mixture:
        """The starts of a method; starts that another method with as many restarts has used are not drawn again."""
        experiment, number = self.experiment, method.num_restarts(self.experiment.restarts)
        if number not in self.drawn:
            drawn = starts_of(method, self.problem, experiment.starts, experiment.restarts, experiment.seed)
            self.drawn[number] = drawn
        return self.drawn[number]

    def comparison(self, name: str, traces: Mapping[str, Trace]) -> Comparison:
        """The comparison of traces of this setting."""
        train = self.points.train
        return Comparison(
            self.problem,
            traces,
            self.reference,
            name=name,
            columns=train.columns,
            units=train.units,
            starts=self.experiment.starts,
            sizes=sizes_of(self.experiment.methods),
        )


def named_data(experiment: Experiment) -> str:
    """A short name of the data."""
    data = experiment.data
    return data.dataset or ("simulated" if data.file is None else Path(data.file).name)


def flat(value: Any, prefix: str = "") -> dict[str, Value]:
    """Settings as columns: `model.components` is `model_components`. Lists and the name of the method are left out."""
    if isinstance(value, Mapping):
        pairs = [flat(inner, f"{prefix}_{key}" if prefix else str(key)) for key, inner in value.items()]
        return {key: inner for part in pairs for key, inner in part.items()}
    if isinstance(value, list | tuple) or prefix in ("name", "data", "method_method"):
        return {}
    return {prefix: value}
