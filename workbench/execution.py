"""Running an experiment: what is missing is run and stored, what is there is loaded."""

from collections import Counter
from collections.abc import Collection
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jax
import numpy as np

from workbench.checkpoint import Checkpoint
from workbench.compare import Comparison
from workbench.compare.comparison import Watch, starts_of
from workbench.diagnostics import Verdict, checks, mixing_of, verdicts
from workbench.errors import InputError
from workbench.experiment.config import Experiment
from workbench.experiment.provenance import provenance_of
from workbench.hosts import by_the_first, leads, several, told
from workbench.keys import named_key
from workbench.manifest import FORMAT
from workbench.mixture import Mixture
from workbench.precision import dtype_name
from workbench.problem import Problem
from workbench.provenance import announce_stale
from workbench.run import run
from workbench.store import Points, Store, assemble
from workbench.trace import Trace

# What a method can raise while it runs and is stored: JAX's and XLA's own errors are RuntimeErrors.
FAILURES = (RuntimeError, MemoryError, ArithmeticError, OSError)

# Packages whose versions decide the numbers of a run.
_PACKAGES = ("jax", "jaxlib", "numpyro", "numpy", "scipy", "optax", "arviz-stats")


def run_experiment(
    experiment: Experiment,
    *,
    name: str = "experiment",
    out: Path | str = "results/experiment",
    folder: Path | str = ".",
    only: Collection[str] | None = None,
    force: bool = False,
    keep_stale: bool = False,
    watch: Watch | None = None,
) -> Comparison:
    """Run the methods of an experiment whose runs are not stored yet, and compare all of them.

    Every finished run is stored at once; a run that raises is reported in `failures` and the others are kept. One that
    is cut off leaves a checkpoint in the results folder, and goes on from there the next time. Of several hosts the
    first one writes, and a failing method ends the run on all of them. A stored run that other code made is run again.

    Args:
        experiment: the config.
        name: shown in tables and reports.
        out: the results folder.
        folder: what a relative `data.file` is relative to.
        only: names of methods to run and compare; all unless given.
        force: run again what is stored.
        keep_stale: take stored runs that other code made as they are; the comparison names them as stale.
        watch: gives a progress callback for each method that runs.

    Raises:
        InputError: the data cannot be had, or a method cannot solve the problem. Nothing has run then.
    """
    chosen = _choose(experiment, only)
    train, heldout = experiment.data.load(experiment.seed, Path(folder))
    points = Points(train, heldout)
    problem = experiment.problem(train)
    experiment.model_copy(update={"methods": {m: experiment.methods[m] for m in chosen}}).check(problem)
    experiment = experiment.located(Path(folder))
    store = Store(Path(out))
    by_the_first(lambda: _keep(store, experiment, name, points))
    cells = {method: store.cell(experiment, method, points.digest) for method in chosen}
    stored = [method for method in chosen if told(store.is_complete(cells[method])) and not force]
    whys = {method: store.why_stale(cells[method], experiment, method) for method in stored}
    announce_stale(list(whys.values()), "stored runs", kept=keep_stale)
    stale = {method: why for method, why in whys.items() if why is not None}
    traces: dict[str, Trace] = {}
    failures: dict[str, str] = {}
    for method, cell in cells.items():
        if method in stored and (keep_stale or method not in stale):
            traces[method] = store.load_trace(cell, problem)
            continue
        checkpoint = Checkpoint(
            cell.with_name(f".{cell.name}.checkpoint.npz"),
            experiment.run.checkpoint_seconds,
            code=provenance_of(experiment, method).code,
        )
        if force:
            checkpoint.remove()
        try:
            traces[method] = _run_method(experiment, method, name, problem, store, cell, checkpoint, watch)
        except FAILURES as error:
            if several():
                # What failed here, or was lost elsewhere, leaves the hosts out of step.
                raise
            failures[method] = f"{type(error).__name__}: {str(error).strip().splitlines()[0] if str(error) else ''}"
    found = assemble(experiment, name, points, problem, traces)
    return replace(found, failures=failures, stale=stale if keep_stale else {})


def _run_method(
    experiment: Experiment,
    method: str,
    name: str,
    problem: Problem,
    store: Store,
    cell: Path,
    checkpoint: Checkpoint,
    watch: Watch | None,
) -> Trace:
    config = experiment.methods[method]
    starts = starts_of(config, problem, experiment.starts, experiment.restarts, experiment.seed)
    progress = None if watch is None else watch(method)
    trace = run(config, problem, starts, named_key(experiment.seed, method), checkpoint=checkpoint, progress=progress)
    found = verdicts(trace, problem, experiment.soundness, mixing_of(trace, problem))
    resolved = experiment.resolved()
    resolved["methods"] = {method: resolved["methods"][method]}
    info = describe(trace, problem, starts, found) | {
        "made_by": provenance_of(experiment, method).to_dict(),
        "experiment": name,
        "method": method,
    }
    if leads():
        store.save_run(cell, resolved, trace, info)
    checkpoint.remove()
    return trace


def describe(trace: Trace, problem: Problem, starts: Mixture, found: list[Verdict]) -> dict[str, Any]:
    """What a stored run says of itself: versions, devices that worked on it, statuses, checks, seconds, passes."""
    device = jax.devices()[0]
    devices = 1 if problem.rows.mesh is None else problem.rows.mesh.size
    return {
        "format": FORMAT,
        "versions": {package: version(package) for package in _PACKAGES} | {"workbench": version("workbench")},
        "device": {"platform": device.platform, "kind": device.device_kind, "count": devices},
        "hosts": jax.process_count(),
        "dtype": dtype_name(trace.mixtures.means),
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


def _keep(store: Store, experiment: Experiment, name: str, points: Points) -> None:
    try:
        store.save_experiment(experiment, name, points)
    except OSError as error:
        raise InputError(
            f"{store.folder}: cannot be written ({error.strerror}); give another folder with --out"
        ) from None


def _choose(experiment: Experiment, only: Collection[str] | None) -> list[str]:
    if only is None:
        return list(experiment.methods)
    unknown = [name for name in only if name not in experiment.methods]
    if unknown or not only:
        raise InputError(
            f"--methods: {', '.join(unknown) or 'none given'}: not in the experiment; "
            f"it has {', '.join(experiment.methods)}"
        )
    return [name for name in experiment.methods if name in only]
