"""Stability of fixed steps: passes to a maximum as a function of the step size, in every chart, compared with EM."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, ClassVar, Literal

import jax.numpy as jnp
import numpy as np
from pydantic import Field

from workbench.charts import Chart
from workbench.config import Listed
from workbench.geometry.curvature import curvature_at
from workbench.geometry.stability import Modes, ascent_passes, displaced, em_passes
from workbench.studies.base import Row, Study
from workbench.studies.charting import Charts
from workbench.studies.optimum import best_optimum
from workbench.studies.subjects import Subjects, subject_named

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
    max_passes: Annotated[int, Field(ge=1)] = 3000

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
