"""Coordinates and units: climbs in every chart, the edge of stability of fixed steps, and changes of units."""

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal, TypeAlias, get_args

import jax.numpy as jnp
import numpy as np
from pydantic import Field

from workbench.charts import SCALES, WEIGHTS, Chart
from workbench.compare.comparison import Comparison
from workbench.compare.summary import best_log_joint, statuses_and_mixing
from workbench.config import Config, Listed, Whole
from workbench.engine.keys import named_key
from workbench.errors import InputError
from workbench.experiment.config import AnyMethods
from workbench.geometry.curvature import curvature_at
from workbench.geometry.stability import (
    Modes,
    Outcome,
    Units,
    ascent_passes,
    ascent_path,
    displaced,
    em_passes,
    em_path,
    farthest,
    hessian_in,
    outcomes,
    passes_to,
)
from workbench.loop.run import run
from workbench.methods import GradientAscent, Method
from workbench.problem import Problem
from workbench.starts import RandomPoints, draw_starts
from workbench.studies.base import Row, Study
from workbench.studies.subjects import Subjects, best_optimum, subject_named

if TYPE_CHECKING:
    WeightsName: TypeAlias = str
    ScalesName: TypeAlias = str
else:
    WeightsName = Literal[tuple(WEIGHTS)]
    ScalesName = Literal[tuple(SCALES)]


class ChartConfig(Config):
    """A chart, given by its coordinates of weights and of scales."""

    name: Annotated[str, Field(min_length=1)] = Field(description="shown in tables and figures")
    weights: WeightsName = Field(description="coordinates of the weights")
    scales: ScalesName = Field(description="coordinates of the covariances, or of the standard deviations")


Charts = Annotated[
    tuple[ChartConfig, ...],
    Field(min_length=1, description="the charts to compare"),
    Listed,
]


# The chart of a method that has its own coordinates.
OWN = "its own"


class Coordinates(Study):
    """Every optimiser of gradient ascent in every chart, and the other methods once, from the same starts.

    The best is the highest sound `log_joint` of all climbs of a subject. Methods with their own coordinates occur once.
    A step size that the config fixes is the same number in every chart: one that suits one chart is too long or too
    short in another, which is part of the effect of coordinates. If it is left out, a line search finds it in each.
    """

    study: Literal["coordinates"] = "coordinates"
    subjects: Subjects
    charts: Charts
    methods: AnyMethods
    restarts: Whole = Field(8, description="starts, the same for every method and chart")
    within: Annotated[float, Field(gt=0, allow_inf_nan=False)] = Field(
        1e-6, description="a climb has reached the best if it ends within this many nats of it"
    )

    summary: ClassVar[str] = "failures by kind and passes to the best, for every chart and optimiser"
    shown: ClassVar[tuple[str, ...]] = ("subject", "method", "chart", "passes", *(outcome.value for outcome in Outcome))

    def cells(self) -> Sequence[Row]:
        """One cell for each subject, because the best is that of all climbs of a subject."""
        return [{"subject": subject.name} for subject in self.subjects]

    def measure(self, cell: Row, folder: Path) -> list[Row]:
        """One row for each method and chart."""
        problem = subject_named(self.subjects, str(cell["subject"])).problem(self.seed, folder)
        starts = draw_starts(RandomPoints(), problem, self.restarts, self.seed)
        climbs = {(name, chart): method for name, chart, method in self.climbs()}
        traces = {
            f"{name} in {chart}": run(method, problem, starts, named_key(self.seed, name))
            for (name, chart), method in climbs.items()
        }
        comparison = Comparison(problem, traces)
        best = best_log_joint(comparison)
        return [{"method": n, "chart": c, **self._row(comparison, f"{n} in {c}", best)} for n, c in climbs]

    def climbs(self) -> Iterator[tuple[str, str, Method]]:
        """Name, chart and method of every climb."""
        for name, method in self.methods.items():
            if isinstance(method, GradientAscent):
                for chart in self.charts:
                    parts = {"weights": chart.weights, "scales": chart.scales}
                    yield name, chart.name, method.model_copy(update=parts)
            else:
                yield name, OWN, method

    def _row(self, comparison: Comparison, label: str, best: float | None) -> Row:
        trace, top = comparison[label], -np.inf if best is None else best
        found = outcomes(trace, statuses_and_mixing(comparison, label)[0], top, self.within)
        counts, passes = Counter(found), passes_to(trace, found, top, self.within)
        there = passes[np.isfinite(passes)]
        return {
            "passes": float(np.median(there)) if len(there) else None,
            "restarts": trace.num_restarts,
            **{outcome.value: counts[outcome] for outcome in Outcome},
            "best": best,
            "passes_in_all": float(np.sum(trace.passes[:, -1])),
        }


Factor = Annotated[float, Field(gt=0, allow_inf_nan=False)]

# Step sizes as shares of the predicted edge: over six doublings below it, and densely around it.
FACTORS = (
    0.015, 0.03, 0.06, 0.12, 0.18, 0.25, 0.35, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98, 1.02, 1.05, 1.1, 1.25, 1.5, 2.0,
)  # fmt: skip


class Stability(Study):
    """Climbs back to the best optimum from a point `displacement` nats below it.

    The displacement lowers `log_joint` equally along every direction, so that each of them matters. The predicted edge
    is `2 / largest curvature` of the objective per point. The observed edge is between the largest step size that
    returns to the optimum and the next larger one, which does not. EM needs no step size; the study reports the most
    passes that it needs if the whole displacement is along one direction.
    """

    study: Literal["stability"] = "stability"
    subjects: Subjects
    charts: Charts
    factors: Annotated[tuple[Factor, ...], Field(min_length=1), Listed] = Field(
        FACTORS, description="step sizes, in units of the predicted edge"
    )
    displacement: Factor = Field(1e-2, description="nats below the maximum at the start")
    within: Factor = Field(1e-6, description="a climb is back if it is within this many nats of the maximum")
    max_passes: Whole = Field(3000, description="passes after which a climb is given up")

    summary: ClassVar[str] = "passes of fixed-step ascent against its step size, and the edge of stability"

    def cells(self) -> Sequence[Row]:
        """Every subject in every chart."""
        return [{"subject": subject.name, "chart": chart.name} for subject in self.subjects for chart in self.charts]

    def measure(self, cell: Row, folder: Path) -> list[Row]:
        """One row for each step size."""
        problem = subject_named(self.subjects, str(cell["subject"])).problem(self.seed, folder)
        (chart,) = (each for each in self.charts if each.name == cell["chart"])
        best = best_optimum(problem, self.seed).mixture
        here = curvature_at(problem, best, weights=chart.weights, scales=chart.scales)
        modes = Modes.of(here.hessian, problem.num_points)
        away = modes.displacements(self.displacement, problem.num_points)
        places = Chart.of(problem, chart.weights, chart.scales)
        start = displaced(best, places, np.sum(away, axis=1) / np.sqrt(away.shape[1]))
        goal, rates = here.log_joint - self.within, np.sort(self.factors) * modes.edge
        parts = {"weights": chart.weights, "scales": chart.scales}
        passes = np.asarray(ascent_passes(problem, start, jnp.asarray(rates), goal, limit=self.max_passes, **parts))
        limit = jnp.asarray(self.max_passes)
        own = max(int(em_passes(problem, displaced(best, places, step), goal, limit)) for step in away.T)
        shared: Row = {
            "predicted_edge": modes.edge,
            **_seen(rates, passes <= self.max_passes),
            "condition": modes.condition,
            "em_passes": own if own <= self.max_passes else None,
        }
        return [
            {
                "factor": float(rate / modes.edge),
                "step_size": float(rate),
                "passes": int(count) if count <= self.max_passes else None,
                "predicted_passes": modes.passes(rate, self.displacement, self.within, self.max_passes),
                **shared,
            }
            for rate, count in zip(rates, passes, strict=True)
        ]

    def tabulated(self, rows: list[Row]) -> list[Row]:
        """One line for each subject and chart, with its best step size."""
        groups: dict[tuple[object, object], list[Row]] = {}
        for row in rows:
            groups.setdefault((row["subject"], row["chart"]), []).append(row)
        return [_line(group) for group in groups.values()]


def _seen(rates: np.ndarray, reached: np.ndarray) -> Row:
    """The largest step size that reaches the optimum, and the next larger one. Both are None if none does."""
    if not np.any(reached):
        return {"seen_low": None, "seen_high": None}
    last = int(np.max(np.flatnonzero(reached)))
    return {"seen_low": float(rates[last]), "seen_high": float(rates[last + 1]) if last + 1 < len(rates) else None}


def _line(group: list[Row]) -> Row:
    first, there = group[0], [row for row in group if row["passes"] is not None]
    best = min(there, key=lambda row: float(str(row["passes"])), default=None)
    names = ("subject", "chart", "condition", "predicted_edge", "seen_low", "seen_high", "em_passes")
    return {name: first[name] for name in names} | {
        "best_step_size": None if best is None else best["step_size"],
        "fewest_passes": None if best is None else best["passes"],
    }


# Factors between the units of successive columns; the second is a thousand, as between grams and kilograms.
UNITS_OF_COLUMNS = (1.0, 1000.0, 10.0)

CHANGES = ("columns rescaled", "axes rotated")


class Affine(Study):
    """EM and fixed-step ascent on the original data, and on the same data after an affine map.

    EM's iterates are equivariant under the map, because the M-step is (Dempster, Laird & Rubin 1977). Those of ascent
    are only as equivariant as their coordinates: working units, which whiten the data by a triangular matrix, absorb a
    change of the columns' units but not a rotation; data units absorb neither. The step size is `step` times the
    stability edge at the optimum on the original data.
    """

    study: Literal["affine"] = "affine"
    subjects: Subjects
    steps: Whole = Field(30, description="of each climb")
    step: float = Field(0.5, gt=0, allow_inf_nan=False, description="of ascent, in units of the stability edge")

    summary: ClassVar[str] = "whether EM and ascent take the same path in other units of the data"

    def cells(self) -> Sequence[Row]:
        """Every subject and change of units."""
        return [{"subject": subject.name, "change": change} for subject in self.subjects for change in CHANGES]

    def measure(self, cell: Row, folder: Path) -> list[Row]:
        """One row for EM, and one for ascent in each kind of units."""
        problem = subject_named(self.subjects, str(cell["subject"])).problem(self.seed, folder)
        if not problem.covariance.is_unrestricted:
            raise InputError(f"subjects.{cell['subject']}.model.covariance: a rotation needs full covariances")
        matrix = matrix_of(str(cell["change"]), problem.num_dimensions)
        moved = Problem(
            problem.x @ matrix.T, problem.components, problem.covariance.name, problem.prior, weights=problem.weights
        )
        start = draw_starts(RandomPoints(), problem, 1, self.seed)
        start = type(start)(start.weights[0], start.means[0], start.scales[0], start.covariance)
        there, best = start.affine(matrix), best_optimum(problem, self.seed).mixture
        em = em_path(problem, start, steps=self.steps), em_path(moved, there, steps=self.steps)
        rows = [_row("em", None, float(farthest(problem, *em, moved)), None, None)]
        for units in get_args(Units):
            here = Modes.of(hessian_in(problem, best, units), problem.num_points)
            other = Modes.of(hessian_in(moved, best.affine(matrix), units), problem.num_points)
            rate = jnp.asarray(self.step * here.edge)
            path = ascent_path(problem, start, rate, units=units, steps=self.steps)
            along = ascent_path(moved, there, rate, units=units, steps=self.steps)
            rows.append(_row("ascent", units, float(farthest(problem, path, along, moved)), here, other))
        return rows


def matrix_of(change: str, dimensions: int) -> np.ndarray:
    """The matrix of a change of units: diagonal, or a rotation by 45 degrees in each plane of neighbours. [D, D]"""
    if change == CHANGES[0]:
        return np.diag(np.resize(UNITS_OF_COLUMNS, dimensions))
    turned, half = np.eye(dimensions), np.sqrt(0.5)
    for i in range(dimensions - 1):
        plane = np.eye(dimensions)
        plane[i : i + 2, i : i + 2] = [[half, -half], [half, half]]
        turned = plane @ turned
    return turned


def _row(method: str, units: str | None, gap: float, here: Modes | None, other: Modes | None) -> Row:
    return {
        "method": method,
        "units": units,
        "gap": gap if np.isfinite(gap) else None,  # nats per point; None if a path is not finite
        "finite": bool(np.isfinite(gap)),
        "edge": None if here is None else here.edge,
        "edge_after": None if other is None else other.edge,
        "condition": None if here is None else here.condition,
        "condition_after": None if other is None else other.condition,
    }
