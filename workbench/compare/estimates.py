"""The estimates of a comparison's methods, with their errors and intervals: what a paper's table states.

A method that climbs ends at a maximum, and its intervals follow from the observed information there (Efron & Hinkley
1978, Biometrika 65): the normal approximation is made for the log-odds of weights, the means, the logarithms of
standard deviations and Fisher's z of correlations, and the ends are carried back, so that no interval leaves the range
of its parameter. A sampler's intervals are quantiles of its draws after relabelling.
"""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields, replace
from itertools import combinations
from statistics import NormalDist
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from numpy.typing import NDArray

from workbench.charts import Chart
from workbench.compare.comparison import Comparison
from workbench.compare.remarks import words_on_mode
from workbench.compare.transforms import KINDS, carry, carry_back, slopes, without_what_touches_zero
from workbench.data import default_columns
from workbench.diagnostics import mixing_of
from workbench.diagnostics.convergence import R_HAT_LIMIT, rank_statistics
from workbench.display import PRINTED, line, page
from workbench.engine.compat.compilation import jit_by_size
from workbench.engine.devices import USUAL, dtype_name, precision_note
from workbench.errors import InputError, checks_arguments
from workbench.frames import frame_of_rows
from workbench.geometry.curvature import curvature, raveled
from workbench.geometry.standard_errors import covariance_of
from workbench.loop.trace import Trace
from workbench.mixture import FlatPrior, Mixture
from workbench.posterior.switching import algorithm_for, relabel
from workbench.problem import Problem
from workbench.table import Table

LEVEL = 0.95

# The Hessian of P parameters costs the work of P passes side by side, and memory for P chunks of rows.
MOST_PARAMETERS = 600

# A climb that stopped farther from its maximum than this, in standard errors, has no intervals: a Newton step measures
# the distance.
SHORT = 0.1

# Estimates with more digits before or behind the point are printed with a power of ten.
MOST_DIGITS = 9

# Draws of a parameter that differ by less than this share of its size differ by rounding.
STILL = 1e-12


@dataclass(frozen=True)
class Estimate:
    """One parameter. Components count from 1; None where all components, or all columns, share the parameter."""

    parameter: str  # weight, mean, sd, correlation, background (its weight)
    component: int | None
    column: str | None  # two names for a correlation; None for a weight
    estimate: float
    standard_error: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True)
class Estimates:
    """The estimates of one method, with the components in the order of `Mixture.canonical`."""

    method: str
    rows: tuple[Estimate, ...]
    level: float
    how: str  # how errors and intervals were computed
    why_none: str | None = None  # why there are no errors, or no estimates
    units: str = ""  # of means and deviations, where they are not those of the columns
    known: str = ""  # which component stands for which class, where rows of known class were fitted
    mode: str = ""  # what they are, where they are a mode under a prior and not of maximum likelihood
    dtype: str = USUAL  # in which the numbers were computed

    def rescaled(self, centre: NDArray[np.float64], scale: NDArray[np.float64], columns: Sequence[str]) -> "Estimates":
        """The estimates of `scale x + centre`, if these are of x; both [D]. A deviation that columns share is split."""
        places = {name: d for d, name in enumerate(columns)}
        rows: list[Estimate] = []
        for row in self.rows:
            if row.parameter not in ("mean", "sd"):
                rows.append(row)
                continue
            for name in columns if row.column is None else (row.column,):
                factor = float(scale[places[name]])
                shift = float(centre[places[name]]) if row.parameter == "mean" else 0.0
                low, high = (None if end is None else end * factor + shift for end in (row.low, row.high))
                error = None if row.standard_error is None else row.standard_error * factor
                value = row.estimate * factor + shift
                rows.append(replace(row, column=name, estimate=value, standard_error=error, low=low, high=high))
        return replace(self, rows=tuple(rows), units="")

    @property
    def said(self) -> str:
        """What the errors and intervals are, or why there are none."""
        if self.why_none is None:
            units = f"; means and deviations in {self.units}" if self.units else ""
            return f"{100 * self.level:g} % intervals by {self.how}{units}"
        return (
            f"no intervals ({self.how or 'none'}): {self.why_none}" if self.rows else f"no estimates: {self.why_none}"
        )

    def __str__(self) -> str:
        return str(self.shown)

    def __repr__(self) -> str:
        return line("Estimates", f"{self.method}: {len(self.rows)} parameters", self.said, PRINTED)

    def _repr_html_(self) -> str:
        return page(self.shown.title, self.shown, self.shown.note)

    def to_dataframe(self) -> Any:
        """A row for each parameter, in full precision; pandas, polars or Arrow."""
        return frame_of_rows(numbers_of([self]).rows, numbers_of([self]).columns)

    @property
    def shown(self) -> Table:
        """The table for readers: each value to the second digit of its error, without correlations."""
        rows = [row for row in self.rows if row.parameter != "correlation"]
        lines = [(named(row.parameter), row.component, row.column, *_to_its_error(row)) for row in rows]
        heads = ("parameter", "component", "column", "estimate", "standard error", "low", "high")
        more = "" if len(rows) == len(self.rows) else "CSV and JSON hold the correlations too."
        known = f"{self.known}." if self.known else ""
        more = " ".join(filter(None, [self.mode, known, more, precision_note(self.dtype)]))
        title = " ".join(filter(None, [f"Estimates of {self.method}:", self.said]))
        return Table.of_lines(heads, lines, title=title, note=more, words=("parameter", "column"), first=3)


def numbers_of(found: Sequence[Estimates]) -> Table:
    """Every parameter of several methods in full precision, for CSV and JSON."""
    about = [
        {"method": e.method, "dtype": e.dtype, "level": e.level, "interval": e.how if e.why_none is None else None}
        for e in found
    ]
    rows = [own | asdict(row) for e, own in zip(found, about, strict=True) for row in e.rows]
    return Table(("method", "dtype", "level", "interval", *(each.name for each in fields(Estimate))), tuple(rows))


def named(parameter: str) -> str:
    """The name of a parameter in tables for readers."""
    return {"sd": "standard deviation", "background": "weight of the background"}.get(parameter, parameter)


def _to_its_error(row: Estimate) -> tuple[str | None, ...]:
    """Estimate, error and interval, to the second digit of the error. A blank stays None."""
    if not row.standard_error:
        return f"{row.estimate:.5g}", None, None, None
    digits = max(1 - math.floor(math.log10(row.standard_error)), 0)
    ends = (row.estimate, row.standard_error, row.low, row.high)
    if digits > MOST_DIGITS or abs(row.estimate) >= 10.0**MOST_DIGITS:
        return tuple(None if value is None else f"{value:.6g}" for value in ends)
    return tuple(None if value is None else f"{value:,.{digits}f}" for value in ends)


@checks_arguments
def estimates_of(comparison: Comparison, method: str, level: float = LEVEL) -> Estimates:
    """The estimates of one method of a comparison.

    Args:
        comparison: holds the method's trace.
        method: its name there.
        level: of the intervals, between 0 and 1.

    Raises:
        InputError: there is no such method, or the level is not between 0 and 1.
    """
    if method not in comparison:
        raise InputError(f"method: {method!r} is not in the comparison; it has {', '.join(comparison) or 'none'}")
    if not (0 < level < 1 and 0.5 + level / 2 < 1):
        raise InputError(f"level: must lie between 0 and 1, got {level!r}")
    problem, trace = comparison.problem, comparison[method]
    names = comparison.columns or default_columns(problem.num_dimensions)
    if trace.is_sampler:
        found = _of_draws(method, trace, problem, names, level)
    elif (best := trace.best(problem, comparison.rule)) is None:
        found = Estimates(method, (), level, "", "no end of the method is sound")
    else:
        found = estimates_at(problem, best, method=method, columns=names, level=level)
    known = "" if problem.known is None else problem.known.told()
    mode = "" if trace.is_sampler or not found.rows else words_on_mode(problem, method)
    units, dtype = "" if comparison.units == "none" else comparison.units, dtype_name(trace.mixtures.means)
    return replace(found, mode=mode, units=units, known=known, dtype=dtype)


def estimates_at(
    problem: Problem, mixture: Mixture, *, method: str = "", columns: Sequence[str] = (), level: float = LEVEL
) -> Estimates:
    """The estimates at a maximum of `log_joint`, with intervals from the observed information.

    With a prior other than the flat one, the information is that of the posterior density at its mode (Laplace's
    approximation).

    Args:
        problem: the problem that was solved.
        mixture: a maximum.
        method: the name of the method that found it.
        columns: names of the data's columns; by default x1, x2, ...
        level: of the intervals.
    """
    mixture = problem.presented(mixture)
    names = tuple(columns) or default_columns(problem.num_dimensions)
    places, dtype = places_of(mixture, names), dtype_name(mixture.means)
    values = np.asarray(naturals(mixture))
    flat = isinstance(problem.prior, FlatPrior)
    how = "observed information" if flat else "curvature of the posterior at its mode"
    found, why = _transformed_errors(problem, mixture)
    if found is None:
        blank = tuple(Estimate(*place, value, None, None, None) for place, value in paired(places, values))
        return Estimates(method, blank, level, how, why, dtype=dtype)
    kinds = _kinds(mixture)
    found, near = without_what_touches_zero(found, values, kinds)
    half = NormalDist().inv_cdf(0.5 + level / 2) * found
    centre, errors = np.asarray(carry(values, kinds)), found * slopes(values, kinds)
    ends = carry_back(centre - half, kinds), carry_back(centre + half, kinds)
    rows = [
        # The weight of a single component is no parameter.
        Estimate(*place, value, *(float(each[q]) if found[q] > 0 else None for each in (errors, *ends)))
        for q, (place, value) in enumerate(paired(places, values))
    ]
    return Estimates(method, tuple(rows), level, f"{how}; {near}" if near else how, dtype=dtype)


def _of_draws(method: str, trace: Trace, problem: Problem, names: Sequence[str], level: float) -> Estimates:
    """Posterior means, standard deviations and quantiles of relabelled draws, where the chains agree."""
    by = algorithm_for(problem)
    how = f"quantiles of draws relabelled by {by}"
    if trace.is_approximation:
        how = f"quantiles of an approximation's draws, relabelled by {by}"
    else:
        mixing = mixing_of(trace, problem)
        if mixing is None or not mixing.converged:
            why = "it has one chain, which no other confirms" if trace.num_restarts == 1 else "its chains do not agree"
            return Estimates(method, (), level, how, f"{why} ({'no draws' if mixing is None else mixing.facts})")
    draws = relabel(trace, problem).mixtures
    values = np.asarray(jax.vmap(jax.vmap(naturals))(jax.tree.map(jnp.asarray, draws)))  # [R, S, Q]
    r_hats, _ = rank_statistics(values)
    moves = np.ptp(values, axis=(0, 1)) > STILL * np.max(np.abs(values), axis=(0, 1))
    clear = trace.is_approximation | ~(r_hats >= R_HAT_LIMIT)
    tails = np.quantile(values, [0.5 - level / 2, 0.5 + level / 2], axis=(0, 1))  # [2, Q]
    rows = []
    for q, (place, mean) in enumerate(paired(places_of(draws, names), np.mean(values, axis=(0, 1)))):
        told = clear[q] and moves[q]
        spread = (float(np.std(values[..., q], ddof=1)), *tails[:, q].tolist()) if told else (None, None, None)
        rows.append(Estimate(*place, mean, *spread))
    blank = None if np.all(clear) else "labels of some components are ambiguous: their parameters have no interval"
    return Estimates(method, tuple(rows), level, f"{how}; {blank}" if blank else how)


Place = tuple[str, int | None, str | None]


def places_of(mixture: Mixture, names: Sequence[str]) -> list[Place]:
    """Parameter, component and column of each entry of `naturals`."""
    family, k, d = mixture.covariance, mixture.num_components, mixture.num_dimensions
    each: list[int | None] = [j + 1 for j in range(k)]
    owners = [None] if family.is_shared else each
    # The family's shape for 2 components of 3 dimensions shows whether deviations vary with the column.
    columns: list[str | None] = list(names) if 3 in family.shape(2, 3) else [None]
    places: list[Place] = [("weight", j, None) for j in each]
    places += [("mean", j, name) for j in each for name in names]
    places += [("sd", j, name) for j in owners for name in columns]
    if family.has_correlations and d > 1:
        places += [("correlation", j, f"{a}, {b}") for j in owners for a, b in combinations(names, 2)]
    return places if mixture.background is None else [*places, ("background", None, None)]


def naturals(mixture: Mixture) -> Array:
    """Weights, means, standard deviations and correlations of one mixture, and a background's weight. [Q]"""
    family, d = mixture.covariance, mixture.num_dimensions
    parts = [mixture.weights, mixture.means, family.deviations(mixture.scales)]
    if family.has_correlations and d > 1:
        trils = family.correlation_trils(mixture.scales)
        correlations = trils @ jnp.swapaxes(trils, -1, -2)
        parts.append(correlations[..., *np.triu_indices(d, 1)])
    if mixture.background is not None:
        parts.append(mixture.background.weight)
    return jnp.concatenate([part.ravel() for part in parts])


def _transformed_errors(problem: Problem, mixture: Mixture) -> tuple[NDArray[np.float64] | None, str | None]:
    """Standard errors of the transformed parameters [Q], or why there are none."""
    if mixture.num_parameters > MOST_PARAMETERS:
        return (
            None,
            f"{mixture.num_parameters:,} parameters are more than the {MOST_PARAMETERS} that it is computed for",
        )
    if problem.rows.stream is not None:
        return None, "the rows are not in memory"
    errors, distance = (
        np.asarray(part) for part in _errors_at(problem.num_rows * problem.num_dimensions, problem, mixture)
    )
    if not np.all(np.isfinite(errors)):
        return None, "it is not positive definite there, so that the end is no strict maximum"
    if not distance <= SHORT:
        return (
            None,
            f"the climb stopped {float(distance):.2g} standard errors short of the maximum; give it more iterations",
        )
    return errors, None


class _Errors(NamedTuple):
    transformed: Array  # [Q]
    distance: Array  # []   to the maximum by a Newton step, in standard errors of the farthest coordinate


def _at(problem: Problem, mixture: Mixture) -> _Errors:
    """The errors by the inverse of the exact Hessian; it depends on no chart."""
    chart = Chart.of(problem, weights="log_ratio")
    u, constrain = raveled(mixture, chart)
    found = curvature(problem, mixture, chart)
    covariance = covariance_of(-found.hessian)  # [P, P]
    step = covariance @ found.gradient
    kinds = _kinds(mixture)
    slopes = jax.jacfwd(lambda v: carry(naturals(constrain(v)), kinds))(u)  # [Q, P]
    variances = jnp.einsum("qp,pr,qr->q", slopes, covariance, slopes)
    distance = jnp.max(jnp.abs(step) / jnp.sqrt(jnp.diagonal(covariance)), initial=0.0)
    return _Errors(jnp.sqrt(variances), distance)


_errors_at = jit_by_size(_at)


def _kinds(mixture: Mixture) -> NDArray[np.int_]:
    """The place in `_KINDS` of each entry of `naturals`. [Q]"""
    names = default_columns(mixture.num_dimensions)
    return np.asarray([KINDS.index(parameter) for parameter, *_ in places_of(mixture, names)])


def paired(places: Sequence[Place], values: NDArray[np.float64]) -> list[tuple[Place, float]]:
    """Each place with its value."""
    return list(zip(places, values.tolist(), strict=True))
