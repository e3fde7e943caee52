"""Draws for ArviZ: a sampler's trace as the groups that ArviZ's summaries, cross-validation and plots read."""

import importlib
from collections.abc import Callable, Collection, Sequence
from importlib.util import find_spec
from typing import Any

import jax.numpy as jnp
import numpy as np

from workbench.data import check_whole
from workbench.diagnostics.convergence import column_names
from workbench.errors import InputError, checks_arguments
from workbench.loop.trace import Trace
from workbench.mixture import Mixture
from workbench.posterior.relabelling import apply
from workbench.posterior.switching import check_sampler
from workbench.problem import Problem
from workbench.selection.posterior_criteria import log_likelihoods

# The dimensions and values of a variable; variables with a value for each draw begin with chain and draw.
Variable = tuple[tuple[str, ...], np.ndarray]

DRAW = ("chain", "draw")

# The most bytes of a log-likelihood of every point and draw.
MOST_BYTES = 2**32


@checks_arguments
def to_arviz(
    trace: Trace,
    problem: Problem,
    *,
    permutations: np.ndarray | None = None,
    columns: Sequence[str] = (),
    groups: Collection[str] = (),
) -> Any:
    """The draws of a sampler as an `arviz.InferenceData` (ArviZ before 1.0) or an `xarray.DataTree`; no warm-up.

    Needs ArviZ: `pip install 'workbench[arviz]'`. ArviZ's R-hat of a weight or mean as sampled is large if labels
    switch, and `loo` computes the draws' efficiency from the same values; give the `permutations` of `relabel` to avoid
    this.

    | group | variables |
    |---|---|
    | posterior | weights, means, and covariances in the shape of their family |
    | sample_stats | lp, the log_joint; log_likelihood, of all points; passes; ok, False from a divergence on |
    | log_likelihood | x, of every draw and point: 8 R S N bytes, filled block by block; what `loo` reads |
    | observed_data | x, the points |
    | constant_data | the prior's hyperparameters |

    Args:
        trace: the trace of a sampler.
        problem: the problem of the trace.
        permutations: the permutations of `relabel(trace, problem)`, [R, S, K]; by default labels stay as sampled.
        columns: names of the data's columns; by default x1, x2, ...
        groups: the groups to make; by default all. Leave out log_likelihood if N is large.

    Raises:
        InputError: the trace has no draws, ArviZ is not installed, a group is unknown or too large, or the permutations
            do not fit the draws.
    """
    check_sampler(trace)
    wanted = _checked(groups, trace, problem)
    mixtures = trace.answer if permutations is None else _permuted(permutations, trace.answer)
    names = column_names(columns, problem.num_dimensions)
    coordinates = {
        "component": np.arange(1, problem.components + 1),
        "dimension": np.asarray(names),
        "dimension_bis": np.asarray(names),
    }
    attributes = {
        "inference_library": "workbench",
        "labels": "as sampled" if permutations is None else "relabelled",
    }
    return _assembled({name: GROUPS[name](trace, problem, mixtures) for name in wanted}, coordinates, attributes)


def _posterior(trace: Trace, problem: Problem, mixtures: Mixture) -> dict[str, Variable]:
    family = mixtures.covariance
    # The family's shape for 2 components of 3 dimensions shows the meaning of its axes.
    axes = tuple({2: "component", 3: "dimension"}[size] for size in family.shape(2, 3))
    if axes.count("dimension") == 2:
        axes = (*axes[:-1], "dimension_bis")
    return {
        "weights": ((*DRAW, "component"), np.asarray(mixtures.weights)),
        "means": ((*DRAW, "component", "dimension"), np.asarray(mixtures.means)),
        "covariances": ((*DRAW, *axes), np.asarray(family.square(jnp.asarray(mixtures.scales)))),
        **({} if mixtures.background is None else {"background": (DRAW, np.asarray(mixtures.background.weight))}),
    }


def _sample_stats(trace: Trace, problem: Problem, mixtures: Mixture) -> dict[str, Variable]:
    kept = slice(-trace.draws, None)
    paid = np.diff(trace.passes, axis=1, prepend=0)
    columns = {"lp": trace.log_joint, "log_likelihood": trace.log_likelihood, "passes": paid, "ok": trace.ok}
    return {name: (DRAW, np.asarray(values)[:, kept]) for name, values in columns.items()}


def _log_likelihood(trace: Trace, problem: Problem, mixtures: Mixture) -> dict[str, Variable]:
    values = np.empty((trace.num_restarts, trace.draws, problem.num_points))
    first = 0
    x, known = problem.labelled_observations("log_likelihood")
    for block in log_likelihoods(trace.answer, x, known if problem.is_partly_known else None):  # [B, R, S]
        values[..., first : first + len(block)] = np.moveaxis(block, 0, -1)
        first += len(block)
    return {"x": ((*DRAW, "point"), values)}


def _observed_data(trace: Trace, problem: Problem, mixtures: Mixture) -> dict[str, Variable]:
    return {"x": (("point", "dimension"), np.asarray(problem.labelled_observations("observed_data")[0]))}


def _constant_data(trace: Trace, problem: Problem, mixtures: Mixture) -> dict[str, Variable]:
    given = {name: np.asarray(value) for name, value in problem.hyperparameters.items()}
    return {name: (("dimension", "dimension_bis")[: value.ndim], value) for name, value in given.items()}


GROUPS: dict[str, Callable[[Trace, Problem, Mixture], dict[str, Variable]]] = {
    "posterior": _posterior,
    "sample_stats": _sample_stats,
    "log_likelihood": _log_likelihood,
    "observed_data": _observed_data,
    "constant_data": _constant_data,
}


def _checked(groups: Collection[str], trace: Trace, problem: Problem) -> list[str]:
    """The groups to make, in ArviZ's order."""
    if find_spec("arviz") is None:
        raise InputError("to_arviz: needs ArviZ; pip install 'workbench[arviz]'")
    unknown = set(groups) - set(GROUPS)
    if unknown:
        raise InputError(f"groups: unknown {', '.join(sorted(unknown))}; allowed: {', '.join(GROUPS)}")
    wanted = [name for name in GROUPS if name in groups or not groups]
    for name in ("log_likelihood", "observed_data"):
        if name in wanted:  # ArviZ knows no weights: rows are repeated
            check_whole(problem.weights, f"the group {name}")
    size = 8 * trace.num_restarts * trace.draws * problem.num_points
    if "log_likelihood" in wanted and size > MOST_BYTES:
        rest = [name for name in wanted if name != "log_likelihood"]
        raise InputError(
            f"groups: log_likelihood of {trace.num_restarts * trace.draws:,} draws and {problem.num_points:,} points "
            f"would take {size / 2**30:.1f} GiB; leave it out: groups={rest}"
        )
    return wanted


def _permuted(permutations: np.ndarray, mixtures: Mixture) -> Mixture:
    shape = np.shape(mixtures.weights)
    if np.shape(permutations) != shape:
        raise InputError(
            f"permutations: are of shape {list(np.shape(permutations))} and the draws of {list(shape)}; "
            "give those of relabel(trace, problem)"
        )
    return apply(permutations, mixtures)


def _assembled(
    groups: dict[str, dict[str, Variable]], coordinates: dict[str, np.ndarray], attributes: dict[str, str]
) -> Any:
    """The groups as the container of the installed version of ArviZ."""
    # Imported late: an extra that takes seconds to import.
    arviz, xarray = importlib.import_module("arviz"), importlib.import_module("xarray")
    made = {}
    for name, variables in groups.items():
        dataset = xarray.Dataset(variables, attrs=attributes)
        made[name] = dataset.assign_coords({a: coordinates.get(a, np.arange(n)) for a, n in dataset.sizes.items()})
    # ArviZ 1.0 still has the old name, with a warning, but no class behind it.
    container = vars(arviz).get("InferenceData")
    return xarray.DataTree.from_dict(made) if container is None else container(**made)
