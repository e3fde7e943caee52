"""A comparison as one file, for those who compare in Python and have no config: arrays and JSON, nothing executable."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import jax.numpy as jnp
import numpy as np

from workbench.compare import Comparison, Reference
from workbench.config import Config, Listed
from workbench.data import Truth
from workbench.data.known import Known
from workbench.data.observed import MissingCells
from workbench.engine.devices import USUAL, dtype_name
from workbench.errors import VALUE, InputError, checks_arguments, cut, path_of, shown
from workbench.files import DAMAGED, regular
from workbench.jobs.base import Record
from workbench.jobs.formats import COPIED_AT_MOST, digest_of_arrays, read_arrays, write_arrays
from workbench.jobs.setting import arrays_of, trace_of
from workbench.loop.trace import Trace
from workbench.mixture import PRIORS, Fixed
from workbench.mixture.background import Background
from workbench.mixture.prior.checks import Labels
from workbench.mixture.saved import OTHER_VERSION
from workbench.problem import Problem
from workbench.soundness import Soundness
from workbench.starts import STARTS

FORMAT, VERSION = "workbench comparison", 2

# What a comparison says about itself in plain values.
_PLAIN = ("name", "units", "failures", "missing", "stale")

# The array of the file that holds a digest of all others.
DIGEST = "digest"


class Seconds(Config):
    """What a method took, in seconds."""

    compile: float
    score: float
    rows: Annotated[tuple[float, ...], Listed]


class Method(Config):
    """A method of the file; its arrays are named by its place."""

    name: str
    seconds: Seconds


class About(Config):
    """The JSON of the file: all that is no array."""

    format: str
    version: int
    dtype: str
    name: str
    units: str
    columns: Annotated[tuple[str, ...], Listed]
    missing_cells: MissingCells
    missing_heldout: MissingCells
    components: int
    covariance: str
    labels: Labels
    prior: dict[str, Any]
    soundness: dict[str, Any]
    starts: dict[str, Any] | None
    methods: Annotated[tuple[Method, ...], Listed]
    failures: dict[str, str]
    missing: dict[str, str]
    stale: dict[str, str]
    fixed: Annotated[tuple[Fixed, ...], Listed] = ()
    background: bool = False
    dropped: int = 0


@checks_arguments
def save_comparison(comparison: Comparison, path: Path | str) -> Path:
    """Write a comparison, with its points, to one NPZ file, which is replaced whole or not at all.

    `about` in it is JSON (`About`): the format, the model and the prior, the rules, the names of the methods and their
    seconds. `digest` is a hash of all the rest, by which a file that was changed afterwards is recognised. The other
    arrays are the points (`x`, and `weights`, `heldout`, `labels`, `classes`, `known_*` and `truth_*` where there are
    any) and those of each trace, as `0/log_joint` of the first method.

    Args:
        comparison: as `wb.compare` and `wb.run_experiment` return it.
        path: the file; its ending is `.npz`.

    Returns:
        The path.

    Raises:
        InputError: the points are too large to be copied, or the file cannot be written.
    """
    path, problem, reference = path_of("path", path), comparison.problem, comparison.reference
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
    about["fixed"] = [one.model_dump(mode="json") for one in problem.fixed]
    about["dropped"] = problem.dropped
    about["background"] = problem.background is not None
    about["starts"] = None if comparison.starts is None else comparison.starts.model_dump(mode="json")
    about["methods"] = [{"name": name, "seconds": _seconds(trace)} for name, trace in comparison.items()]
    arrays: dict[str, Any] = {"about": np.asarray(json.dumps(about)), "x": problem.x}
    known = {"weights": problem.weights, "heldout": reference.heldout, "labels": reference.labels}
    known |= {} if problem.known is None else {f"known_{k}": np.asarray(v) for k, v in problem.known._asdict().items()}
    known |= {"heldout_weights": reference.heldout_weights, "classes": problem.classes}
    if problem.background is not None:
        back = problem.background
        known |= {f"background_{k}": getattr(back, k) for k in ("weight", "low", "high")}
    known |= {} if reference.truth is None else {f"truth_{k}": v for k, v in reference.truth._asdict().items()}
    arrays |= {name: np.asarray(array) for name, array in known.items() if array is not None}
    for place, trace in enumerate(comparison.values()):
        arrays |= {f"{place}/{name}": array for name, array in arrays_of(trace).items()}
    arrays[DIGEST] = np.asarray(digest_of_arrays(arrays))
    try:
        write_arrays(path, arrays)
    except OSError as error:
        raise InputError(f"{cut(str(path), VALUE)}: cannot be written ({error.strerror}); give another file") from None
    return path


@checks_arguments
def load_comparison(path: Path | str) -> Comparison:
    """Read a comparison that `save_comparison` wrote.

    Raises:
        InputError: the file cannot be read, is none of ours, was changed after it was written, or is of another
            precision than JAX's.
    """
    path = path_of("path", path)
    remedy = "give a file that wb.save_comparison wrote"
    try:
        arrays = read_arrays(regular(path).read_bytes())
        about = json.loads(str(arrays["about"]))
        if about["format"] != FORMAT:
            raise ValueError(f"its format is {shown(about['format'])}")
        if about["version"] != VERSION:
            reads = f"this workbench reads {VERSION}; {OTHER_VERSION}"
            raise InputError(f"{path}: version is {shown(about['version'])}, and {reads}")
        if about["dtype"] != dtype_name():
            setting = f'jax.config.update("jax_enable_x64", {about["dtype"] == USUAL})'
            raise InputError(f"{path}: is in {shown(about['dtype'])}, and JAX computes in {dtype_name()}: {setting}")
        digest = arrays.pop(DIGEST)
        if str(digest) != digest_of_arrays(arrays):
            raise InputError(f"{path}: is damaged (its content does not match its digest); {remedy}")
        return _comparison(About(**about), arrays)
    except InputError as error:
        raise error if str(error).startswith(str(path)) else InputError(f"{path}: {error}") from None
    except OSError as error:
        raise InputError(f"{cut(str(path), VALUE)}: cannot be read ({error.strerror}); {remedy}") from None
    except DAMAGED as error:
        raise InputError(f"{path}: is no comparison ({cut(str(error), VALUE)}); {remedy}") from None


def _comparison(about: About, arrays: Mapping[str, np.ndarray]) -> Comparison:
    prior = PRIORS[about.prior["family"]].model_validate_json(json.dumps(about.prior))
    known = _of(arrays, "known_")
    given: dict[str, Any] = {"labels": about.labels, "weights": arrays.get("weights"), "missing": about.missing_cells}
    given["fixed"] = about.fixed
    given["label_known"] = Known(known["components"], tuple(known["names"].tolist())) if known else None
    if about.background:
        parts = (jnp.asarray(arrays[f"background_{name}"]) for name in ("weight", "low", "high"))
        given["background"] = Background(*parts)
    given["columns"] = about.columns or None
    problem = Problem(arrays["x"], about.components, about.covariance, prior, **given)
    Reference(labels=arrays.get("classes")).check(problem)
    problem = problem.described(about.units, about.dropped, arrays.get("classes"))
    traces = {
        method.name: trace_of(Record({"seconds": method.seconds.model_dump()}, _of(arrays, f"{place}/"), {}), problem)
        for place, method in enumerate(about.methods)
    }
    truth, starts = _of(arrays, "truth_"), about.starts
    reference = Reference(
        arrays.get("heldout"),
        arrays.get("labels"),
        Truth(**truth) if truth else None,
        Soundness.model_validate_json(json.dumps(about.soundness)),
        arrays.get("heldout_weights"),
        about.missing_heldout,
    )
    reference.check(problem)
    return Comparison(
        problem,
        traces,
        reference,
        columns=about.columns,
        starts=None if starts is None else STARTS[starts["rule"]].model_validate_json(json.dumps(starts)),
        **{name: getattr(about, name) for name in _PLAIN},
    )


def _of(arrays: Mapping[str, np.ndarray], prefix: str) -> dict[str, np.ndarray]:
    """The arrays whose names begin with a prefix, without it."""
    return {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}


def _seconds(trace: Trace) -> dict[str, Any]:
    rows = [float(s) for s in trace.seconds]
    return {"compile": trace.compile_seconds, "score": trace.score_seconds, "rows": rows}


def _plain(value: Any) -> Any:
    return dict(value) if isinstance(value, Mapping) else value
