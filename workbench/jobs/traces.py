"""Conversion of traces to stored records, which hold arrays and the outcome of each restart, and back."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from workbench.compare import Reference
from workbench.diagnostics import RestartStatus, adjusted_rand_index, checks
from workbench.jobs.base import Record, Value
from workbench.loop.trace import Trace
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
    return Trace(
        mixtures=Mixture(arrays["weights"], arrays["means"], arrays["scales"], problem.covariance),
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
        groups = np.asarray(trace.at(*place).predict(problem.x))
        known = {"adjusted_rand_index": float(adjusted_rand_index(reference.labels, groups))}
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
