"""Stopping: where a rule that waits for a small rise of the mean log-likelihood stops EM, and how far off."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, ClassVar, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from pydantic import Field

from workbench.charts import Chart
from workbench.config import Listed, Whole
from workbench.errors import MOST_WHOLE
from workbench.geometry.curvature import information
from workbench.geometry.standard_errors import covariance_of, delta, deviations, natural
from workbench.mixture import Mixture
from workbench.problem import Problem
from workbench.starts import KMeansPlusPlus, draw_starts
from workbench.studies.base import Row, Study
from workbench.studies.subjects import Subjects, best_optimum, is_strict, subject_named


class Stopping(Study):
    """EM stopped by scikit-learn's rule, compared with the optimum to which it goes on.

    The rule stops EM as soon as a pass raises the log-likelihood per point by less than the tolerance
    (`GaussianMixture.tol`, 1e-3 by default). From each start the climb is followed to the optimum that the study knows,
    and starts that lead elsewhere are left out. A row holds the passes at the stop, the nats that are still missing,
    and the largest distance of any parameter from its value at the optimum, in standard errors.
    """

    study: Literal["stopping"] = "stopping"
    subjects: Subjects
    tolerances: Annotated[
        tuple[Annotated[float, Field(gt=0, allow_inf_nan=False)], ...], Field(min_length=1), Listed
    ] = Field((1e-3, 1e-4, 1e-6, 1e-8), description="rises per point below which the rule stops")
    restarts: Whole = Field(12, description="starts by k-means++")
    max_passes: Annotated[int, Field(ge=10, le=MOST_WHOLE)] = Field(3000, description="passes of EM from each start")
    within: Annotated[float, Field(gt=0, allow_inf_nan=False)] = Field(
        0.01, description="nats below the optimum within which a climb must end to count"
    )

    summary: ClassVar[str] = "how far from the optimum EM is stopped by a small rise of the mean log-likelihood"
    shown: ClassVar[tuple[str, ...]] = ("subject", "tolerance", "start", "passes", "short", "off")

    def cells(self) -> Sequence[Row]:
        """Every subject."""
        return [{"subject": subject.name} for subject in self.subjects]

    def measure(self, cell: Row, folder: Path) -> list[Row]:
        """One row for each tolerance and start."""
        problem = subject_named(self.subjects, str(cell["subject"])).problem(self.seed, folder)
        nature = best_optimum(problem, self.seed)
        if not is_strict(nature):
            return []
        optimum = nature.mixture.canonical()
        target, errors = np.asarray(natural(optimum)), np.asarray(_errors(problem, optimum))
        starts = draw_starts(KMeansPlusPlus(), problem, self.restarts, self.seed)
        heights, values = (np.asarray(a) for a in _paths(problem, starts, self.max_passes))
        rows: list[Row] = []
        for tolerance in self.tolerances:
            for start, (height, path) in enumerate(zip(heights, values, strict=True)):
                if not height[-1] > nature.log_joint - self.within:
                    continue
                still = np.flatnonzero(np.diff(height) < tolerance * problem.num_points)
                stop = int(still[0]) + 1 if len(still) else self.max_passes
                off = float(np.max(np.abs(path[stop] - target) / errors))
                short = float(nature.log_joint - height[stop])
                rows.append({"tolerance": tolerance, "start": start, "passes": stop, "short": short, "off": off})
        return rows


@jax.jit
def _errors(problem: Problem, optimum: Mixture) -> Array:
    """Standard errors of all parameters by the observed information. [Q]"""
    chart = Chart.of(problem, weights="log_ratio")
    covariance = covariance_of(information(problem, optimum, chart).observed)
    return deviations(delta(optimum, chart, covariance))


@partial(jax.jit, static_argnums=2)
def _paths(problem: Problem, starts: Mixture, passes: int) -> tuple[Array, Array]:
    """log_joint and parameters, components in the order of their means, along EM. [R, T + 1], [R, T + 1, Q]"""

    def step(mixture: Mixture, _: None) -> tuple[Mixture, tuple[Array, Array]]:
        image, height = problem.em_step(mixture)
        order = jnp.argsort(mixture.means[:, 0])
        return image, (height, natural(mixture.permute(order)))

    return jax.vmap(lambda start: jax.lax.scan(step, start, None, length=passes + 1)[1])(starts)
