"""Rates: how fast EM and direct methods converge near an optimum, and how fast an over-specified fit does in N."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, ClassVar, Literal, NamedTuple

import jax
import numpy as np
from jax import Array
from pydantic import Field

from workbench.charts import Chart
from workbench.config import Listed, Whole
from workbench.data import Simulator
from workbench.engine.keys import named_key
from workbench.errors import MOST_WHOLE, InputError
from workbench.experiment.config import FamilyName
from workbench.geometry.rate import (
    Counted,
    Rates,
    crossing,
    error_ratios,
    fits,
    iterations_until,
    passes_of_ascent,
    passes_to,
    rates,
    slope,
)
from workbench.geometry.stationary import Nature
from workbench.methods import EM, SQUAREM, Anderson, GradientAscent, Method
from workbench.mixture import Mixture
from workbench.problem import Problem
from workbench.studies.base import Findings, Row, Study, Value
from workbench.studies.subjects import (
    MaybeSubjects,
    information_at,
    is_strict,
    number,
    optimum_of_simulated,
    optimum_of_subject,
    starts_near,
    subject_named,
)

# Stopping rules are switched off, because the count ends when the score is close enough to the optimum.
METHODS: dict[str, Method] = {
    "em": EM(tolerance=0.0),
    "squarem": SQUAREM(of=EM(tolerance=0.0)),
    "anderson": Anderson(of=EM(tolerance=0.0)),
    "lbfgs": GradientAscent(optimizer="lbfgs", weights="log_ratio", gradient_tolerance=0.0),
}

# Gaps in log_joint in nats: of the starts, to second order, and at the end of the count.
BEGIN, END = 1.0, 1e-8
TOLERANCES = (1e-2, 1e-3, 1e-4, 1e-6, END)

# EM's errors are followed for at most this many iterations, while they are above rounding.
FOLLOWED = 2000
ROUNDED = 1e-7

Separations = Annotated[
    tuple[Annotated[float, Field(ge=0, allow_inf_nan=False)], ...],
    Listed,
]


class Rate(Study):
    """For the optimum of each subject: the rate of EM, and the passes that EM and direct methods need near it.

    Every method begins at the same mixtures, one nat below the optimum in random directions, and ends 1e-8 nats below
    it. The starts are near because a rate is a property of the neighbourhood, and from farther away methods go to
    different optima. Simulated components are `separation` standard deviations apart, by default two univariate ones,
    each fitted with its own variance. Their optimum is the one that L-BFGS reaches from the truth; that of real data is
    the best from k-means++.
    """

    study: Literal["rate"] = "rate"
    subjects: MaybeSubjects = Field((), description="problems on data of one's own; may be left out")
    separations: Separations = Field((1.5, 2.0, 2.5, 3.0, 4.0, 6.0), description="of simulated components; [] for none")
    components: Annotated[int, Field(ge=2, le=MOST_WHOLE)] = Field(
        2, description="K of simulated subjects, fitted with the same K"
    )
    dimensions: Whole = Field(1, description="columns of simulated subjects")
    covariance: FamilyName = Field("full", description="family that is fitted to simulated subjects")
    points: Annotated[int, Field(ge=10, le=MOST_WHOLE)] = Field(1000, description="points of a simulated subject")
    replications: Whole = Field(8, description="simulated data sets at each separation")
    restarts: Whole = Field(8, description="starts near each optimum")
    limit: Whole = Field(100_000, description="most passes of a restart")

    summary: ClassVar[str] = "EM's rate from the missing information, and passes near an optimum, as overlap grows"
    shown: ClassVar[tuple[str, ...]] = (
        "subject", "separation", "replication", "status", "rate", "counted_rate", "condition", "em", "em_predicted",
        "gradient", "gradient_predicted", "lbfgs", "squarem", "anderson",
    )  # fmt: skip

    def cells(self) -> Sequence[Row]:
        """Every subject, then every simulated data set."""
        real: list[Row] = [{"subject": s.name, "separation": None, "replication": 0} for s in self.subjects]
        return real + [
            {"subject": "simulated", "separation": separation, "replication": r}
            for separation in self.separations
            for r in range(self.replications)
        ]

    def measure(self, cell: Row, folder: Path) -> list[Row]:
        """One row: rates and condition numbers at the optimum, and passes near it."""
        problem, nature = self._optimum(cell, folder)
        unknown: Row = dict.fromkeys(_COLUMNS)
        if not is_strict(nature):
            return [unknown | {"status": nature.kind.value, "log_joint": number(nature.log_joint)}]
        known = information_at(problem, nature.mixture)
        found = rates(known)
        identity = known.jacobian - (np.eye(len(known.jacobian)) - np.linalg.solve(known.complete, known.observed))
        replication = cell["replication"]
        assert isinstance(replication, int)
        # Each data set has starts of its own, so that the spread between data sets contains that between starts.
        starts = starts_near(problem, nature.mixture, known, self.restarts, self.seed + replication)
        row: Row = {
            "status": nature.kind.value,
            "log_joint": nature.log_joint,
            "parameters": len(found.missing),
            "missing": [float(m) for m in found.missing],
            "rate": found.em,
            "identity_gap": float(np.max(np.abs(identity))),
            "condition": found.condition,
            "condition_after": found.preconditioned,
            "em_predicted": number(iterations_until(found.em, END / BEGIN)),
            "gradient_predicted": number(iterations_until(found.gradient, END / BEGIN)),
        }
        return [unknown | row | self._passes(problem, starts, nature, found)]

    def _optimum(self, cell: Row, folder: Path) -> tuple[Problem, Nature]:
        if cell["separation"] is None:
            return optimum_of_subject(subject_named(self.subjects, str(cell["subject"])), self.seed, folder)
        separation, replication = cell["separation"], cell["replication"]
        assert isinstance(separation, float) and isinstance(replication, int)
        simulator = Simulator(self.components, self.dimensions, self.points, separation)
        return optimum_of_simulated(simulator, self.seed + replication, self.covariance)

    def _passes(self, problem: Problem, starts: Mixture, nature: Nature, found: Rates) -> Row:
        """For each method, the median passes of the restarts that arrive, and the number of these.

        A start a nat below one optimum may lie in the basin of a higher one, and then arrives nowhere.
        """
        top, optimum = nature.log_joint, nature.mixture
        levels = top - np.asarray(TOLERANCES)
        counts = {name: passes_to(method, problem, starts, levels, self.limit) for name, method in METHODS.items()}
        counts["gradient"] = passes_of_ascent(problem, starts, found.best_step, levels, self.limit)
        counts = {name: counted.at(top, END) for name, counted in counts.items()}
        each = {name: [_median(counted, t) for t in range(len(TOLERANCES))] for name, counted in counts.items()}
        arrived: Row = {f"{name}_arrived": int(np.sum(counted.arrived[:, -1])) for name, counted in counts.items()}
        medians: Row = {name: values[-1] for name, values in each.items()}
        rate = _counted_rate(problem, starts, optimum, counts["em"].arrived[:, -1])
        return {"counted_rate": rate} | medians | arrived | {f"{name}_to": values for name, values in each.items()}


_NAMES = (*METHODS, "gradient")
_COLUMNS = (
    "log_joint", "parameters", "missing", "rate", "counted_rate", "identity_gap", "condition", "condition_after",
    "em_predicted", "gradient_predicted", *_NAMES, *(f"{name}_arrived" for name in _NAMES),
    *(f"{name}_to" for name in _NAMES),
)  # fmt: skip


class Crossing(NamedTuple):
    """The separation below which a direct method needs fewer passes than EM, over replications of the data."""

    separation: float  # mean
    low: float  # of the 95 % interval of the mean, by Student's t
    high: float
    crossed: int  # replications in which the two curves cross
    replications: int
    missing: float  # mean of the largest fraction of missing information, EM's rate, at the crossing


def crossing_of(findings: Findings, tolerance: float, method: str = "lbfgs") -> Crossing | None:
    """The separation at which `method` overtakes EM on simulated data; None if it does in fewer than two replications.

    Passes are counted until `tolerance` nats below the optimum, one of `TOLERANCES`.

    Salakhutdinov, Roweis & Ghahramani (2003), "Optimization with EM and expectation-conjugate-gradient", ICML: EM loses
    where much information is missing.

    Raises:
        InputError: passes are not counted to this tolerance.
    """
    simulated, at = findings.where(subject="simulated"), place_of(tolerance)
    places, rates_there = [], []
    for replication in simulated.values("replication"):
        own = simulated.where(replication=replication)
        order = np.argsort(own.column("separation"))
        separations = own.column("separation")[order]
        passes = {name: [_at(row, f"{name}_to", at) for row in own.rows] for name in (method, "em")}
        place = crossing(separations, np.log(np.asarray(passes[method])[order] / np.asarray(passes["em"])[order]))
        places.append(place)
        if place is not None:
            rates_there.append(float(np.interp(place, separations, own.column("rate")[order])))
    found = np.asarray([place for place in places if place is not None])
    if len(found) < 2:
        return None
    # The import stands here because it is slow, and importing the package must stay quick.
    from scipy.stats import t as student

    half = student.ppf(0.975, len(found) - 1) * np.std(found, ddof=1) / np.sqrt(len(found))
    mean = float(np.mean(found))
    return Crossing(mean, mean - float(half), mean + float(half), len(found), len(places), float(np.mean(rates_there)))


def place_of(tolerance: float) -> int:
    """The place of a tolerance among `TOLERANCES`, and so of its passes in a column of lists.

    Raises:
        InputError: passes are not counted to this tolerance.
    """
    if tolerance not in TOLERANCES:
        counted = ", ".join(f"{each:g}" for each in TOLERANCES)
        raise InputError(
            f"tolerance: must be one of those to which the study counts passes ({counted}), got {tolerance:g}"
        )
    return TOLERANCES.index(tolerance)


def _at(row: Row, name: str, place: int) -> float:
    """An entry of a column of lists; NaN where a number is missing."""
    values = row[name]
    value = values[place] if isinstance(values, list) else None
    return np.nan if value is None else float(value)


def _median(counted: Counted, tolerance: int) -> Value:
    passes, arrived = counted.passes[:, tolerance], counted.arrived[:, tolerance]
    return float(np.median(passes[arrived])) if np.any(arrived) else None


def _counted_rate(problem: Problem, starts: Mixture, optimum: Mixture, arrived: np.ndarray) -> float | None:
    """The last ratio of successive errors of EM that rounding does not disturb, from the first start that arrives."""
    if not np.any(arrived):
        return None
    first = int(np.argmax(arrived))
    ratios = np.asarray(_ratios(problem, jax.tree.map(lambda leaf: leaf[first], starts), optimum))
    # Where groups are clear, EM comes to the optimum to the last bit, and the ratios after that are no numbers.
    with np.errstate(invalid="ignore"):
        clear = np.flatnonzero(np.cumprod(ratios) > ROUNDED)
    return number(ratios[clear[-1]]) if len(clear) else None


@jax.jit
def _ratios(problem: Problem, start: Mixture, optimum: Mixture) -> Array:
    return error_ratios(problem, start, optimum, Chart.of(problem, weights="log_ratio"), FOLLOWED)


class Overspecified(Study):
    """The error of theta in `w N(theta, 1) + (1 - w) N(-theta, 1)`, fitted by EM to points of N(0, 1), against N.

    Only theta is fitted; the weights, the variances and the symmetry are fixed (Dwivedi et al. 2020). In theory the
    slope of ln(mean error) on ln(N) is -1/4 for w = 1/2 and -1/2 for any other w.
    """

    study: Literal["overspecified"] = "overspecified"
    weights: Annotated[
        tuple[Annotated[float, Field(gt=0, lt=1)], ...], Field(min_length=1, description="w of each case"), Listed
    ] = (0.5, 0.7)
    points: Annotated[
        tuple[Annotated[int, Field(ge=2, le=MOST_WHOLE)], ...],
        Field(min_length=2, description="sample sizes N"),
        Listed,
    ] = (500, 2000, 8000, 32000)
    replications: Annotated[int, Field(ge=2, le=MOST_WHOLE)] = Field(200, description="data sets of each size")

    summary: ClassVar[str] = "error of an over-specified fit against N: slope -1/4 with equal weights, else -1/2"
    shown: ClassVar[tuple[str, ...]] = (
        "weight", "points", "mean_error_apart", "standard_error", "at_zero", "mean_iterations", "unfinished", "slope",
        "slope_error",
    )  # fmt: skip

    def cells(self) -> Sequence[Row]:
        """Every weight."""
        return [{"weight": weight} for weight in self.weights]

    def measure(self, cell: Row, folder: Path) -> list[Row]:
        """One row for each N; each row also has the slope over all N."""
        weight = cell["weight"]
        assert isinstance(weight, float)
        rows = [self._row(weight, n) for n in self.points]
        errors, standard_errors = (np.asarray([r[c] for r in rows]) for c in ("mean_error_apart", "standard_error"))
        fitted = slope(np.asarray(self.points), errors, standard_errors)
        both: Row = {"slope": fitted.value, "slope_error": fitted.standard_error}
        return [row | both for row in rows]

    def _row(self, weight: float, num_points: int) -> Row:
        found = fits(named_key(self.seed, f"{weight} {num_points}"), weight, num_points, self.replications)
        errors = np.abs(found.theta)
        # With equal weights the estimate is 0 in half of the data sets, an atom that says nothing about the error.
        atom = (found.second_moment <= 1.0) & (weight == 0.5)
        apart = errors[~atom]
        return {
            "points": num_points,
            "mean_error": float(np.mean(errors)),
            "replications": self.replications,
            "at_zero": int(np.sum(atom)),
            "mean_error_apart": float(np.mean(apart)),
            "standard_error": float(np.std(apart, ddof=1) / np.sqrt(len(apart))),
            "mean_iterations": float(np.mean(found.iterations)),
            "unfinished": int(np.sum(~found.converged)),
        }
