"""Coverage: how often intervals contain the truth, over repeated data sets, separations and sample sizes."""

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, ClassVar, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from pydantic import Field

from workbench.config import Listed
from workbench.diagnostics.proportion import Proportion
from workbench.engine.keys import named_key, restart_keys
from workbench.experiment.config import FamilyName
from workbench.geometry.coverage import Intervals, credible, in_order, percentile, wald
from workbench.geometry.standard_errors import names
from workbench.methods import EM
from workbench.mixture import ConjugatePrior, FlatPrior, Mixture, covariance_named
from workbench.problem import Problem
from workbench.studies.base import Row, Study

Separation = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Size = Annotated[int, Field(ge=10)]

NOMINAL = 0.95


class Coverage(Study):
    """95 % intervals for the parameters of two univariate components of deviation one, on simulated data sets.

    - `wald`: EM's estimate, begun at the truth, plus and minus 1.96 standard errors by observed information.
    - `bootstrap`: percentiles of the nonparametric bootstrap, for data sets of at most `bootstrapped` points.
    - `posterior`: quantiles of Gibbs draws under a weak conjugate prior, scaled to all data sets together.

    All kinds use the same data sets; Wald intervals, which are the cheapest, use more of them. Components are ordered
    by their means. A data set without an interval counts as one whose interval misses. The last weight is left out,
    because the others determine it.
    """

    study: Literal["coverage"] = "coverage"
    separations: Annotated[tuple[Separation, ...], Field(min_length=1), Listed] = Field(
        description="distances between the means, in standard deviations of a component"
    )
    points: Annotated[tuple[Size, ...], Field(min_length=1), Listed] = Field(description="sizes N of the data sets")
    weight: Annotated[float, Field(gt=0, lt=1)] = Field(0.4, description="of the lower component")
    covariance: FamilyName = Field("tied", description="family that is fitted; tied: one variance for both")
    replications: Annotated[int, Field(ge=10)] = Field(1000, description="data sets of each cell")
    resampled: Annotated[int, Field(ge=10)] = Field(
        200, description="number of the first data sets that also have the expensive intervals: bootstrap and posterior"
    )
    em: EM = Field(EM(tolerance=1e-8, max_iterations=1000), description="stops within hundredths of a standard error")
    replicates: Annotated[int, Field(ge=20)] = Field(100, description="of each data set, by the bootstrap")
    bootstrapped: Annotated[int, Field(ge=0)] = Field(50, description="largest N that is bootstrapped; 0 for none")
    prior: ConjugatePrior = ConjugatePrior()
    num_warmup: Annotated[int, Field(ge=1)] = 200
    num_samples: Annotated[int, Field(ge=100)] = 1000

    summary: ClassVar[str] = "coverage of Wald, bootstrap and posterior intervals over separation and sample size"
    shown: ClassVar[tuple[str, ...]] = (
        "separation", "points", "parameter", "way", "coverage", "low", "high", "mean_width", "median_width", "missing",
    )  # fmt: skip

    def cells(self) -> Sequence[Row]:
        """Every separation and size."""
        return [{"separation": s, "points": n} for s, n in itertools.product(self.separations, self.points)]

    def measure(self, cell: Row, folder: Path) -> list[Row]:
        """One row for each parameter and kind of interval."""
        separation, n = cell["separation"], cell["points"]
        assert isinstance(separation, float) and isinstance(n, int)
        truth = self.truth(separation)
        keys = restart_keys(named_key(self.seed, f"{separation} {n}"), self.replications)
        found = self._intervals(truth, keys, n)
        values = np.asarray(in_order(truth))
        called = names(truth.covariance, 2, 1)
        rows: list[Row] = []
        for way, intervals in found.items():
            for q, name in enumerate(called):
                if name != "weight 2":
                    own: Row = {"parameter": name, "truth": float(values[q]), "way": way}
                    rows.append(own | _counted(intervals, q, float(values[q])))
        return rows

    def truth(self, separation: float) -> Mixture:
        """The mixture from which the data are drawn."""
        family = covariance_named(self.covariance)
        means = 0.5 * separation * jnp.asarray([[-1.0], [1.0]])
        return Mixture(jnp.asarray([self.weight, 1 - self.weight]), means, family.broadcast(jnp.eye(1), 2), family)

    def _intervals(self, truth: Mixture, keys: Array, n: int) -> dict[str, Intervals]:
        # Units and prior are those of one large data set, and the same for all.
        pooled = np.asarray(truth.sample(named_key(self.seed, "units"), POOLED)[0])
        flat, bayesian = (Problem(pooled, 2, self.covariance, prior) for prior in (FlatPrior(), self.prior))
        few = keys[: self.resampled]
        chain = {"num_warmup": self.num_warmup, "num_samples": self.num_samples}
        found = {"wald": wald(flat, truth, keys, num_points=n, em=self.em)}
        if n <= self.bootstrapped:
            again = percentile(flat, truth, few, num_points=n, em=self.em, replicates=self.replicates)
            found["bootstrap"] = again
        found["posterior"] = credible(bayesian, truth, few, num_points=n, **chain)
        return {way: jax.tree.map(np.asarray, intervals) for way, intervals in found.items()}


# Number of points from which the units and the prior are determined.
POOLED = 10_000


def _counted(intervals: Intervals, parameter: int, truth: float) -> Row:
    low, high = intervals.low[:, parameter], intervals.high[:, parameter]
    there = np.isfinite(low) & np.isfinite(high)
    share = Proportion(int(np.sum(there & (low <= truth) & (truth <= high))), len(low))
    widths = (high - low)[there]
    return {
        "replications": share.trials,
        "covered": share.successes,
        "coverage": share.share,
        "low": share.interval[0],
        "high": share.interval[1],
        "mean_width": float(np.mean(widths)) if len(widths) else None,
        "median_width": float(np.median(widths)) if len(widths) else None,
        "missing": int(np.sum(~there)),
    }
