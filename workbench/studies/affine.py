"""Change of units: whether a climb from the same start takes the same path in other units of the same data."""

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar, Literal, get_args

import jax.numpy as jnp
import numpy as np
from pydantic import Field

from workbench.errors import InputError
from workbench.geometry.equivariance import Units, ascent_path, em_path, farthest, hessian_in
from workbench.geometry.stability import Modes
from workbench.problem import Problem
from workbench.starts import RandomPoints, draw_starts
from workbench.studies.base import Row, Study
from workbench.studies.optimum import best_optimum
from workbench.studies.subjects import Subjects, subject_named

# Factors between the units of successive columns; the second is a thousand, as between grams and kilograms.
FACTORS = (1.0, 1000.0, 10.0)

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
    steps: int = Field(30, ge=1, description="of each climb")
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
        moved = Problem(problem.x @ matrix.T, problem.components, problem.covariance.name, problem.prior)
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
        return np.diag(np.resize(FACTORS, dimensions))
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
