"""The statistical rate of an over-specified mixture: two components are fitted to points from one."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, ClassVar, Literal

import numpy as np
from pydantic import Field

from workbench.config import Listed
from workbench.engine.keys import named_key
from workbench.geometry.overspecified import fits, slope
from workbench.studies.base import Row, Study


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
        tuple[Annotated[int, Field(ge=2)], ...], Field(min_length=2, description="sample sizes N"), Listed
    ] = (500, 2000, 8000, 32000)
    replications: Annotated[int, Field(ge=2)] = Field(200, description="data sets of each size")

    summary: ClassVar[str] = "error of an over-specified fit against N: slope -1/4 with equal weights, else -1/2"
    shown: ClassVar[tuple[str, ...]] = (
        "weight", "points", "mean_error", "standard_error", "mean_iterations", "unfinished", "slope", "slope_error",
    )  # fmt: skip

    def cells(self) -> Sequence[Row]:
        """Every weight."""
        return [{"weight": weight} for weight in self.weights]

    def measure(self, cell: Row, folder: Path) -> list[Row]:
        """One row for each N; each row also has the slope over all N."""
        weight = cell["weight"]
        assert isinstance(weight, float)
        rows = [self._row(weight, n) for n in self.points]
        errors, standard_errors = (np.asarray([r[c] for r in rows]) for c in ("mean_error", "standard_error"))
        fitted = slope(np.asarray(self.points), errors, standard_errors)
        both: Row = {"slope": fitted.value, "slope_error": fitted.standard_error}
        return [row | both for row in rows]

    def _row(self, weight: float, num_points: int) -> Row:
        found = fits(named_key(self.seed, f"{weight} {num_points}"), weight, num_points, self.replications)
        errors = np.abs(found.theta)
        return {
            "points": num_points,
            "mean_error": float(np.mean(errors)),
            "standard_error": float(np.std(errors, ddof=1) / np.sqrt(len(errors))),
            "mean_iterations": float(np.mean(found.iterations)),
            "unfinished": int(np.sum(~found.converged)),
        }
