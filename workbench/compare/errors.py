"""Standard errors of a method's estimates by several ways side by side: information, sandwich and bootstrap."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from numpy.typing import NDArray

from workbench.charts import Chart
from workbench.compare.comparison import Comparison
from workbench.compare.estimates import Place, estimates_at, named, naturals, paired, places_of
from workbench.compare.remarks import words_on_mode
from workbench.data import default_columns
from workbench.data.dataset import check_seed
from workbench.data.names import unknown_names
from workbench.display import PRINTED, line, page
from workbench.engine.devices import USUAL, dtype_name, precision_note
from workbench.engine.keys import named_key
from workbench.errors import InputError, checks_arguments, one_line, whole_number
from workbench.frames import frame_of_rows
from workbench.geometry.bootstrap import SCHEMES, refits
from workbench.geometry.curvature import curvature, information, raveled
from workbench.geometry.sandwich import sandwich, score_information
from workbench.geometry.standard_errors import covariance_of, deviations, missing_information
from workbench.methods import EM
from workbench.mixture import Mixture
from workbench.mixture.covariance.base import product
from workbench.mixture.matching import Components, match
from workbench.problem import Problem
from workbench.table import Table

NEED_COMPONENTS = ("louis", "sandwich")
NEED_NO_EM = ("observed", "sandwich")
WAYS = ("observed", "louis", "sandwich", *SCHEMES)

# With this many replicates, the standard error of a standard error is 1 / sqrt(2 B), 5 % of it.
REPLICATES = 200

# More would say nothing more, and not fit into memory.
MOST_REPLICATES = 1_000_000

# The largest share of replicates that may be lost: refits that do not converge, or whose labels are in doubt.
DOUBTFUL = 0.05


@dataclass(frozen=True)
class Errors:
    """Standard errors of one method's estimates, with the components in the order of `Mixture.canonical`."""

    method: str
    places: tuple[Place, ...]  # parameter, component and column of each of Q parameters
    estimates: NDArray[np.float64]  # [Q]
    ways: dict[str, NDArray[np.float64] | None]  # standard errors [Q] of each way, None if it has none
    notes: tuple[str, ...]  # why a way has none, and what the others are
    units: str = ""
    mode: str = ""  # what the estimates are, where they are a mode under a prior
    dtype: str = USUAL  # in which the numbers were computed

    def __str__(self) -> str:
        return self.text()

    def text(self, experiment: str | None = None) -> str:
        """The rounded table for a terminal below its notes, without the columns of ways that have no errors."""
        table = self.shown(experiment)
        return str(replace(table, title=f"{table.title}\n{table.note}".rstrip(), note=""))

    def shown(self, experiment: str | None = None) -> Table:
        """The rounded table without the columns of ways that have no errors; its notes, a line each, say why."""
        table = self.table(experiment=experiment)
        said = [self.mode] if self.mode else []
        for note in self._said:
            way, _, why = note.partition(": ")
            lost = way in self.ways and self.ways[way] is None
            said.append(f"{way} is left out: {why}." if lost else f"{note[0].upper()}{note[1:]}.")
        columns = tuple(name for name in table.columns if self.ways.get(name, ()) is not None)
        return replace(table, columns=columns, note="\n".join(said))

    @property
    def _said(self) -> tuple[str, ...]:
        """The notes, and that of a precision that is not the usual one."""
        return (*self.notes, *filter(None, [precision_note(self.dtype).rstrip(".")]))

    def __repr__(self) -> str:
        return line("Errors", f"{self.method}: {len(self.places)} parameters by {', '.join(self.ways)}", PRINTED)

    def _repr_html_(self) -> str:
        return page(self.table().title, self.table(), self.table().note)

    def to_dataframe(self) -> Any:
        """A row for each parameter and a column for each way, in full precision; pandas, polars or Arrow."""
        table = self.table(exact=True)
        return frame_of_rows(table.rows, table.columns)

    def table(self, *, exact: bool = False, experiment: str | None = None) -> Table:
        """One row for each parameter and one column for each way; rounded for readers unless `exact`."""
        own = ("parameter", "component", "column", "estimate", *self.ways)
        lines = []
        for q, (place, value) in enumerate(paired(self.places, self.estimates)):
            found = [None if each is None or not each[q] > 0 else float(each[q]) for each in self.ways.values()]
            parameter, *where = place
            numbers = [value, *found] if exact else _rounded(value, found)
            lines.append((parameter if exact else named(parameter), *where, *numbers))
        if exact:
            lines = [(experiment, self.method, self.dtype, *line) for line in lines]
            return Table.of_lines(("experiment", "method", "dtype", *own), lines)
        about = f"{experiment}: " if experiment else ""
        title = one_line(f"{about}Standard errors of {self.method}" + (f", in {self.units}" if self.units else ""))
        note = "; ".join([*([self.mode.rstrip(".")] if self.mode else []), *self._said])
        return Table.of_lines(own, lines, title=title, note=note, words=("parameter", "column"), first=3)


@checks_arguments
def errors_of(
    comparison: Comparison,
    method: str,
    ways: Sequence[str] | str = WAYS,
    *,
    replicates: int = REPLICATES,
    seed: int = 0,
) -> Errors:
    """Standard errors of the estimates at a method's best sound end, by each of the ways.

    | way | what it is |
    |---|---|
    | observed | the inverse of the exact Hessian, and the delta method |
    | louis | the same information as that of complete data less what is missing (Louis 1982) |
    | sandwich | robust to a wrong model (Huber 1967, White 1982) |
    | nonparametric, parametric, weighted | bootstraps: EM from the estimate on every replicate |

    Components of replicates are matched to those of the estimate. If more than 5 % of the replicates do not converge,
    or fit two orders about equally well, their spread reflects labels and not parameters, and the way has no errors.

    Args:
        comparison: holds the method's trace.
        method: a method that climbs.
        ways: names of `WAYS`, or one of them.
        replicates: data sets of each bootstrap.
        seed: root seed of the bootstraps.

    Raises:
        InputError: there is no such method or way, the method samples, or it has no maximum at which to compute errors.
    """
    ways = (ways,) if isinstance(ways, str) and ways != "all" else WAYS if isinstance(ways, str) else ways
    check_ways(ways)
    replicates = whole_number("replicates", replicates, 2, MOST_REPLICATES)
    check_seed(seed)
    if method not in comparison or comparison[method].is_sampler:
        raise InputError(f"method: {method!r} does not climb; errors are those of a maximum")
    problem = comparison.problem
    best = comparison[method].best(problem, comparison.rule)
    if best is None:
        raise InputError(f"{method}: no end of the method is sound")
    mixture = problem.presented(jax.tree.map(jnp.asarray, best))
    names = comparison.columns or default_columns(problem.num_dimensions)
    why = estimates_at(problem, mixture, columns=names).why_none
    if why is not None:
        raise InputError(f"{method}: {why}")
    found: dict[str, NDArray[np.float64] | None] = {}
    notes: list[str] = []
    refused = _refusal(problem)
    for way in dict.fromkeys(ways):
        if way not in NEED_NO_EM and refused:
            found[way], note = None, refused
        elif way == "parametric" and (problem.missing == "marginal" or problem.is_partly_known):
            lost = "cells of drawn points would be missing" if problem.missing == "marginal" else "rows would be known"
            found[way], note = None, f"which {lost} is not modelled"
        elif problem.background is not None and way in NEED_COMPONENTS:
            found[way], note = None, "it is computed for components without a background"
        elif way in SCHEMES:
            found[way], note = _by_refits(way, problem, mixture, replicates, seed)
        else:
            found[way], note = _by_information(way, problem, mixture)
        notes += [f"{way}: {note}"] if found[way] is None else []
    if any(way in SCHEMES and found[way] is not None for way in found):
        notes.append(
            f"bootstraps of {replicates:,} replicates: each error to about {100 / np.sqrt(2 * replicates):.0f} %"
        )
    units = "" if comparison.units == "none" else comparison.units
    places, mode = tuple(places_of(mixture, names)), words_on_mode(problem, method)
    values, dtype = np.asarray(naturals(mixture)), dtype_name(mixture.means)
    return Errors(method, places, values, found, tuple(notes), units, mode, dtype)


def check_ways(ways: Sequence[str]) -> None:
    """Check that there are ways and that all are known.

    Raises:
        InputError: names the unknown ones.
    """
    unknown = [way for way in ways if way not in WAYS]
    if unknown:
        raise InputError(f"errors: {unknown_names('way', unknown, ('all', *WAYS))}")
    if not ways:
        raise InputError(f"errors: give at least one way of: {', '.join(WAYS)}")


def _refusal(problem: Problem) -> str:
    """Why EM cannot solve the problem; empty if it can."""
    try:
        EM().check(problem)
    except InputError as error:
        return str(error)
    return ""


def _by_information(way: str, problem: Problem, mixture: Mixture) -> tuple[NDArray[np.float64] | None, str]:
    if way != "observed" and problem.missing == "marginal":
        return None, "needs every cell of a row"
    errors = np.asarray(_errors_at(problem, mixture, way=way))
    return (errors, "") if np.all(np.isfinite(errors)) else (None, "the information is singular")


@partial(jax.jit, static_argnames="way")
def _errors_at(problem: Problem, mixture: Mixture, *, way: str) -> Array:
    """Standard errors of `naturals`, by the delta method from the covariance of a chart's coordinates. [Q]"""
    chart = Chart.of(problem, weights="log_ratio")
    u, constrain = raveled(mixture, chart)
    slopes = jax.jacfwd(lambda v: naturals(constrain(v)))(u)  # [Q, P]
    if way == "louis":
        complete = information(problem, mixture, chart).complete
        covariance = covariance_of(complete - missing_information(problem, mixture, chart))
    else:
        covariance = covariance_of(-curvature(problem, mixture, chart).hessian)
    if way == "sandwich":
        covariance = sandwich(covariance, score_information(problem, mixture, chart))
    return deviations(product(product(slopes, covariance), slopes.T))


def _by_refits(
    scheme: str, problem: Problem, mixture: Mixture, replicates: int, seed: int
) -> tuple[NDArray[np.float64] | None, str]:
    """Standard deviations over the replicates [Q], or None and why."""
    fitted = refits(scheme, problem, mixture, named_key(seed, scheme), replicates, em=EM())
    converged = np.asarray(fitted.converged)
    if np.mean(~converged) > DOUBTFUL:
        return None, f"{np.mean(~converged):.1%} of the refits do not converge"
    kept = jax.tree.map(lambda leaf: jnp.asarray(np.asarray(leaf)[converged]), fitted.mixture)
    (pivot,) = Components.of_all(jax.tree.map(lambda leaf: leaf[None], mixture))
    matches = [match(pivot, other, problem.interchangeable) for other in Components.of_all(kept)]
    doubt = float(np.mean([not each.clear for each in matches]))
    if doubt > DOUBTFUL:
        return None, f"labels in doubt in {doubt:.1%} of the replicates"
    values = np.asarray(_ordered(kept, jnp.asarray(np.stack([each.order for each in matches]))))
    # What is held fixed has no error, not even one of rounding.
    return np.where(np.ptp(values, axis=0) > 0, np.std(values, axis=0, ddof=1), 0.0), ""


@jax.jit
def _ordered(mixtures: Mixture, orders: Array) -> Array:
    return jax.vmap(lambda mixture, order: naturals(mixture.permute(order)))(mixtures, orders)


def _rounded(value: float, found: Sequence[float | None]) -> list[str | None]:
    """The estimate to the second digit of its first error, and each error to three digits."""
    first = next((each for each in found if each is not None), None)
    digits = 5 if first is None else max(1 - int(np.floor(np.log10(first))), 0)
    plain = first is not None and digits <= 9 and abs(value) < 1e9
    shown = f"{value:,.{digits}f}" if plain else f"{value:.5g}"
    return [shown, *(None if each is None else f"{each:.3g}" for each in found)]
