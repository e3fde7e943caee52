"""A comparison as one file, for those who compare in Python and have no config: arrays and JSON, nothing executable."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from workbench.compare import Comparison, Reference
from workbench.data import Truth
from workbench.engine.devices import USUAL, dtype_name
from workbench.engine.files import DAMAGED
from workbench.errors import VALUE, InputError, cut, shown
from workbench.jobs.base import Record
from workbench.jobs.formats import COPIED_AT_MOST, read_arrays, write_arrays
from workbench.jobs.setting import arrays_of, trace_of
from workbench.loop.trace import Trace
from workbench.mixture import PRIORS
from workbench.problem import Problem
from workbench.soundness import Soundness
from workbench.starts import STARTS

FORMAT, VERSION = "workbench comparison", 1

# What a comparison says about itself in plain values.
_PLAIN = ("name", "units", "failures", "missing", "stale")


def save_comparison(comparison: Comparison, path: Path | str) -> Path:
    """Write a comparison, with its points, to one NPZ file, which is replaced whole or not at all.

    `about` in it is JSON: the format, the model and the prior, the rules, the names of the methods and their seconds.
    The other arrays are the points (`x`, and `weights`, `heldout`, `labels` and `truth_*` where there are any) and
    those of each trace, as `0/log_joint` of the first method.

    Args:
        comparison: as `wb.compare` and `wb.run_experiment` return it.
        path: the file; its ending is `.npz`.

    Returns:
        The path.

    Raises:
        InputError: the points are too large to be copied, or the file cannot be written.
    """
    path, problem, reference = Path(path), comparison.problem, comparison.reference
    if path.suffix != ".npz":
        raise InputError(f"{path}: a comparison is an NPZ file; give a name that ends in .npz")
    if problem.rows.stream is not None:
        raise InputError(
            f"x: more than {COPIED_AT_MOST} bytes of points are not copied; use `workbench run` on a config"
        )
    about: dict[str, Any] = {name: _plain(getattr(comparison, name)) for name in _PLAIN}
    about |= {"format": FORMAT, "version": VERSION, "dtype": str(problem.dtype), "columns": list(comparison.columns)}
    about |= {"missing_cells": problem.missing, "missing_heldout": reference.missing, "components": problem.components}
    about |= {"covariance": problem.covariance.name, "labels": problem.labels}
    about |= {"prior": problem.prior.model_dump(mode="json"), "soundness": reference.rule.model_dump(mode="json")}
    about["starts"] = None if comparison.starts is None else comparison.starts.model_dump(mode="json")
    about["methods"] = [{"name": name, "seconds": _seconds(trace)} for name, trace in comparison.items()]
    arrays: dict[str, Any] = {"about": np.asarray(json.dumps(about)), "x": problem.x}
    known = {"weights": problem.weights, "heldout": reference.heldout, "labels": reference.labels}
    known |= {"heldout_weights": reference.heldout_weights}
    known |= {} if reference.truth is None else {f"truth_{k}": v for k, v in reference.truth._asdict().items()}
    arrays |= {name: np.asarray(array) for name, array in known.items() if array is not None}
    for place, trace in enumerate(comparison.values()):
        arrays |= {f"{place}/{name}": array for name, array in arrays_of(trace).items()}
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_arrays(path, arrays)
    except OSError as error:
        raise InputError(f"{cut(str(path), VALUE)}: cannot be written ({error.strerror}); give another file") from None
    return path


def load_comparison(path: Path | str) -> Comparison:
    """Read a comparison that `save_comparison` wrote.

    Raises:
        InputError: the file cannot be read, is none of ours, is damaged, or is of another precision than JAX's.
    """
    path = Path(path)
    remedy = "give a file that wb.save_comparison wrote"
    try:
        arrays = read_arrays(path.read_bytes())
        about = json.loads(str(arrays["about"]))
        if about["format"] != FORMAT:
            raise ValueError(f"its format is {shown(about['format'])}")
        if about["version"] != VERSION:
            raise InputError(f"{path}: version is {shown(about['version'])}, and this workbench reads {VERSION}")
        if about["dtype"] != dtype_name():
            setting = f'jax.config.update("jax_enable_x64", {about["dtype"] == USUAL})'
            raise InputError(f"{path}: is in {shown(about['dtype'])}, and JAX computes in {dtype_name()}: {setting}")
        return _comparison(about, arrays)
    except InputError as error:
        raise error if str(error).startswith(str(path)) else InputError(f"{path}: {error}") from None
    except OSError as error:
        raise InputError(f"{cut(str(path), VALUE)}: cannot be read ({error.strerror}); {remedy}") from None
    except DAMAGED as error:
        raise InputError(f"{path}: is no comparison ({cut(str(error), VALUE)}); {remedy}") from None


def _comparison(about: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> Comparison:
    prior = PRIORS[about["prior"]["family"]].model_validate_json(json.dumps(about["prior"]))
    model = about["components"], about["covariance"], prior
    given = {"labels": about["labels"], "weights": arrays.get("weights"), "missing": about["missing_cells"]}
    problem = Problem(arrays["x"], *model, **given)
    traces = {
        method["name"]: trace_of(Record({"seconds": method["seconds"]}, _of(arrays, f"{place}/"), {}), problem)
        for place, method in enumerate(about["methods"])
    }
    truth = _of(arrays, "truth_")
    reference = Reference(
        arrays.get("heldout"),
        arrays.get("labels"),
        Truth(**truth) if truth else None,
        Soundness.model_validate_json(json.dumps(about["soundness"])),
        arrays.get("heldout_weights"),
        about["missing_heldout"],
    )
    starts = about["starts"]
    return Comparison(
        problem,
        traces,
        reference,
        columns=tuple(about["columns"]),
        starts=None if starts is None else STARTS[starts["rule"]].model_validate_json(json.dumps(starts)),
        **{name: about[name] for name in _PLAIN},
    )


def _of(arrays: Mapping[str, np.ndarray], prefix: str) -> dict[str, np.ndarray]:
    """The arrays whose names begin with a prefix, without it."""
    return {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}


def _seconds(trace: Trace) -> dict[str, Any]:
    rows = [float(s) for s in trace.seconds]
    return {"compile": trace.compile_seconds, "score": trace.score_seconds, "rows": rows}


def _plain(value: Any) -> Any:
    return dict(value) if isinstance(value, Mapping) else value
