"""The coupling of the score equations, and the score left after solving each separately, over separation and K."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, ClassVar, Literal

import jax
import numpy as np
from pydantic import Field

from workbench.charts import Chart
from workbench.config import Listed, Whole
from workbench.data import Simulator
from workbench.engine.compat.compilation import jit_by_size
from workbench.errors import MOST_WHOLE
from workbench.geometry import coupling
from workbench.geometry.curvature import Information, places
from workbench.geometry.rate import rates
from workbench.geometry.stationary import Nature
from workbench.mixture import Mixture
from workbench.problem import Problem
from workbench.studies.base import Row, Study
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

# Columns with values only if there is a strict maximum.
_COLUMNS = (
    "log_joint", "share", "share_of_components", "share_of_parameters", "share_natural",
    "share_given_labels", "rate", "left_by_each",
    "left_by_all", "lost", "matrix", "blocks", "names",
)  # fmt: skip


class Coupling(Study):
    """The Hessian of the log-likelihood at the optimum in blocks, and the score after one step from near it.

    A *share* is the part of the Frobenius norm outside the diagonal blocks, which are whitened first
    (`geometry.coupling`), so that it does not depend on units or coordinates. `share` has one block for each textbook
    equation. With fixed responsibilities it is zero, to rounding, for every K (`share_given_labels`).
    What is *left* of the score is the norm after the step over the norm before, as a median over starts one nat below
    the optimum. K = 1 is the control: its two equations are uncoupled, and both steps leave nothing. In its natural
    parameters they are coupled (`share_natural`).
    """

    study: Literal["coupling"] = "coupling"
    subjects: MaybeSubjects = Field((), description="problems on data of one's own; may be left out")
    components: Annotated[tuple[Whole, ...], Listed] = Field(
        (1, 2, 3, 5), description="K of simulated data, which is fitted with the same K; [] for none"
    )
    separations: Annotated[
        tuple[Annotated[float, Field(ge=0, allow_inf_nan=False)], ...], Listed, Field(min_length=1)
    ] = Field((1.5, 2.0, 3.0, 4.0, 6.0, 8.0), description="smallest distances of two means, in standard deviations")
    dimensions: Whole = Field(2, description="columns of simulated data")
    points: Annotated[int, Field(ge=10, le=MOST_WHOLE)] = Field(2000, description="points of a simulated data set")
    replications: Whole = Field(5, description="simulated data sets of each kind")
    restarts: Whole = Field(8, description="starts near each optimum")

    summary: ClassVar[str] = "share of the Hessian between the equations, and the score that solving each alone leaves"
    shown: ClassVar[tuple[str, ...]] = (
        "subject", "components", "separation", "replication", "status", "share", "share_given_labels", "rate",
        "left_by_each", "left_by_all",
    )  # fmt: skip

    def cells(self) -> Sequence[Row]:
        """Every subject, then every simulated data set; one component has no separation."""
        real: list[Row] = [
            {"subject": s.name, "components": s.model.components, "separation": None, "replication": 0}
            for s in self.subjects
        ]
        return real + [
            {"subject": "simulated", "components": k, "separation": separation, "replication": r}
            for k in self.components
            for separation in (self.separations if k > 1 else (0.0,))
            for r in range(self.replications)
        ]

    def measure(self, cell: Row, folder: Path) -> list[Row]:
        """One row; the matrix of the heat map goes with the first replication."""
        problem, nature = self._optimum(cell, folder)
        unknown: Row = dict.fromkeys(_COLUMNS)
        status: Row = {"status": nature.kind.value, "log_joint": number(nature.log_joint)}
        if not is_strict(nature):
            return [unknown | status]
        known = information_at(problem, nature.mixture)
        row = unknown | status | _shares(problem, nature.mixture, known, with_matrix=cell["replication"] == 0)
        return [row | self._left(problem, nature.mixture, known)]

    def _optimum(self, cell: Row, folder: Path) -> tuple[Problem, Nature]:
        if cell["separation"] is None:
            return optimum_of_subject(subject_named(self.subjects, str(cell["subject"])), self.seed, folder)
        k, separation, replication = cell["components"], cell["separation"], cell["replication"]
        assert isinstance(k, int) and isinstance(separation, float) and isinstance(replication, int)
        return optimum_of_simulated(Simulator(k, self.dimensions, self.points, separation), self.seed + replication)

    def _left(self, problem: Problem, optimum: Mixture, known: Information) -> Row:
        starts = starts_near(problem, optimum, known, self.restarts, self.seed)
        before, each, together = (np.asarray(norms) for norms in _residuals(problem.rows.z.size, problem, starts))
        solved = np.isfinite(together)
        return {
            "left_by_each": number(np.median(each / before)),
            "left_by_all": number(np.median((together / before)[solved])) if np.any(solved) else None,
            "lost": int(np.sum(~solved)),  # Newton steps that did not end at a mixture
        }


def _shares(problem: Problem, optimum: Mixture, known: Information, *, with_matrix: bool) -> Row:
    where = places(optimum, Chart.of(problem, weights="log_ratio"))
    blocks = coupling.equations(where)
    row: Row = {
        "share": number(coupling.coupled_share(known.observed, blocks)),
        "share_of_components": number(coupling.coupled_share(known.observed, coupling.components(where))),
        "share_of_parameters": number(coupling.coupled_share(known.observed, coupling.parameters(where))),
        "share_given_labels": number(coupling.coupled_share(known.complete, blocks)),
        "rate": rates(known).em,
    }
    if problem.components == 1:
        row["share_natural"] = number(coupling.natural_share(optimum.means[0], optimum.covariances[0]))
    if with_matrix:
        matrix = np.asarray(coupling.whitened(known.observed, blocks))
        row |= {"matrix": matrix.tolist(), "blocks": blocks.of.tolist(), "names": list(blocks.names)}
    return row


@jit_by_size
def _residuals(problem: Problem, starts: Mixture) -> coupling.Residual:
    """Norms for every start. [R], [R], [R]"""
    chart = Chart.of(problem, weights="log_ratio")
    return jax.vmap(lambda start: coupling.left_of_score(problem, start, chart))(starts)
