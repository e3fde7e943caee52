"""Coordinates and optimisers: climbs from the same starts in every chart by every method, and how each ends."""

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, ClassVar, Literal

import numpy as np
from pydantic import Field

from workbench.compare.comparison import Comparison
from workbench.compare.summary import best_log_joint, statuses_and_mixing
from workbench.engine.keys import named_key
from workbench.experiment.config import AnyMethods
from workbench.geometry.outcomes import Outcome, outcomes, passes_to
from workbench.loop.run import run
from workbench.methods import GradientAscent, Method
from workbench.starts import RandomPoints, draw_starts
from workbench.studies.base import Row, Study
from workbench.studies.charting import Charts
from workbench.studies.subjects import Subjects, subject_named

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
    restarts: Annotated[int, Field(ge=1)] = Field(8, description="starts, the same for every method and chart")
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
