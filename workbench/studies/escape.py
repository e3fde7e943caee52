"""Escapes: the log-likelihood as a component shrinks onto points, imposed or by EM itself."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, ClassVar, Literal

import jax
import numpy as np
from pydantic import Field

from workbench.config import Listed
from workbench.geometry.monotonicity import path_of
from workbench.geometry.singularity import Flat, escape
from workbench.methods import EM
from workbench.problem import Problem
from workbench.starts import RandomPoints, draw_starts
from workbench.studies.base import Row, Study
from workbench.studies.subjects import Subject

Width = Annotated[float, Field(gt=0, lt=1)]


class EscapeSubject(Subject):
    """A problem, and the rows of its data onto which the first component shrinks."""

    rows: Annotated[tuple[Annotated[int, Field(ge=0)], ...], Field(min_length=1), Listed] = Field(
        description="one row for a point, or up to D rows for the flat through them"
    )


class Escapes(Study):
    """Three ways into the same singularity, for each subject.

    - `held`: the first component of the first start shrinks onto the rows, and everything else is held fixed.
    - `settled`: the same, but at each width all weights and the other components take some EM steps.
    - `em`: EM runs from random starts. Of those that collapse, the one that gets narrowest is recorded step by step, up
      to the last mixture that is not singular; there are no rows if none collapses. EM chooses the point.

    The slope of the log-likelihood against log sigma is fitted to the narrower half of the widths. In theory it is
    minus the number of rows that lie exactly on the flat times the number of directions lost.
    """

    study: Literal["escape"] = "escape"
    subjects: Annotated[tuple[EscapeSubject, ...], Field(min_length=1), Listed] = Field(
        description="the problems to look at"
    )
    widest: Width = Field(0.3, description="first width of the component, in units in which the data have unit spread")
    narrowest: Width = Field(1e-7, description="last width")
    widths: Annotated[int, Field(ge=6)] = Field(28, description="number of widths, evenly spaced in the logarithm")
    steps: Annotated[int, Field(ge=1)] = Field(10, description="EM steps of the others at each width, when settled")
    restarts: Annotated[int, Field(ge=1)] = Field(64, description="random starts of EM")
    iterations: Annotated[int, Field(ge=1)] = Field(300, description="EM steps from each start")

    summary: ClassVar[str] = "the log-likelihood against log sigma on the way into a singularity, its slope and theory"
    shown: ClassVar[tuple[str, ...]] = (
        "subject", "way", "points_on_it", "directions", "slope", "slope_error", "theory", "log_sigma",
        "log_likelihood",
    )  # fmt: skip

    def cells(self) -> Sequence[Row]:
        """Every subject in every way."""
        return [{"subject": s.name, "way": way} for s in self.subjects for way in ("held", "settled", "em")]

    def measure(self, cell: Row, folder: Path) -> list[Row]:
        """A row for each width, or for each step of EM."""
        subject = next(each for each in self.subjects if each.name == cell["subject"])
        problem = subject.problem(self.seed, folder)
        if cell["way"] == "em":
            return self._by_em(problem)
        return self._by_hand(problem, subject.rows, self.steps if cell["way"] == "settled" else 0)

    def tabulated(self, rows: list[Row]) -> list[Row]:
        """The end of every curve, with its slope."""
        return list({(row["subject"], row["way"]): row for row in rows}.values())

    def _by_hand(self, problem: Problem, rows: tuple[int, ...], steps: int) -> list[Row]:
        mixture = jax.tree.map(lambda leaf: leaf[0], draw_starts(RandomPoints(), problem, 1, self.seed))
        flat = Flat.through(problem, rows)
        log_sigmas = np.linspace(math.log(self.widest), math.log(self.narrowest), self.widths)
        found = escape(problem, mixture, 0, flat, log_sigmas, steps=steps)
        fitted: Row = {
            "points_on_it": flat.points,
            "directions": int(flat.lost.shape[1]),
            "slope": _number(found.slope),
            "slope_error": _number(found.slope_error),
            "theory": found.theory,
        }
        curve = zip(found.log_sigmas, found.log_likelihoods, strict=True)
        return [fitted | {"log_sigma": float(s), "log_likelihood": _number(value)} for s, value in curve]

    def _by_em(self, problem: Problem) -> list[Row]:
        starts = draw_starts(RandomPoints(), problem, self.restarts, self.seed)
        path = path_of(EM(), problem, starts, self.iterations)
        lengths = np.sum(np.isfinite(path.log_joint), axis=1)
        collapsed = np.nonzero(lengths <= self.iterations)[0]
        if len(collapsed) == 0:
            return []
        ends = path.log_width[collapsed, lengths[collapsed] - 1]
        deepest = collapsed[np.argmin(ends)]
        unknown: Row = dict.fromkeys(("points_on_it", "directions", "slope", "slope_error", "theory"))
        curve = zip(path.log_width[deepest], path.log_likelihood[deepest], strict=True)
        return [
            unknown | {"step": step, "log_sigma": float(width), "log_likelihood": float(value)}
            for step, (width, value) in enumerate(curve)
            if step < lengths[deepest]
        ]


def _number(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None
