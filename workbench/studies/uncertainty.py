"""Uncertainty: standard errors of every parameter by seven methods, and the coverage of intervals."""

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, ClassVar, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from pydantic import Field

from workbench.charts import Chart
from workbench.config import Listed, Whole
from workbench.diagnostics.convergence import rank_statistics
from workbench.diagnostics.proportion import Proportion
from workbench.engine.keys import named_key, restart_keys
from workbench.errors import MOST_WHOLE
from workbench.experiment.config import FamilyName
from workbench.geometry.bootstrap import SCHEMES, refits
from workbench.geometry.coverage import Intervals, credible, in_order, percentile, wald
from workbench.geometry.curvature import information
from workbench.geometry.rate import displaced
from workbench.geometry.standard_errors import (
    Labelled,
    covariance_of,
    delta,
    deviations,
    labelled_as,
    missing_information,
    names,
    natural,
    supplemented,
)
from workbench.loop.run import run
from workbench.methods import EM, Gibbs
from workbench.mixture import ConjugatePrior, FlatPrior, Mixture, covariance_named
from workbench.problem import Problem
from workbench.studies.base import Row, Study
from workbench.studies.subjects import Subjects, best_optimum, is_strict, number, subject_named

WAYS = ("observed", "louis", "supplemented", *SCHEMES, "posterior")

# Differences of the EM map that change by more than this in every iteration of a run are no derivatives.
MOST_CHANGE = 1e-3

# Chains have not mixed if the R-hat of a matched parameter is larger than this (Gelman et al. 2013, sec. 11.5).
MOST_R_HAT = 1.1

Result = tuple[np.ndarray | None, str]  # standard errors [Q], or None and why


class StandardErrors(Study):
    """At the best optimum of each subject, the standard error of every weight, mean, variance and covariance.

    - `observed`: the inverse of minus the exact Hessian, in a chart, and the delta method.
    - `louis`: Louis' (1982) formula, complete less missing information, which needs only the complete-data score.
    - `supplemented`: supplemented EM (Meng & Rubin 1991), from EM steps and the complete information.
    - `nonparametric`, `parametric`, `weighted`: bootstraps, EM from the estimate on every replicate.
    - `posterior`: the standard deviation of Gibbs draws begun at the estimate.

    The components of replicates and draws are matched to those of the estimate. If more than a share `doubtful` of them
    fit two orders about equally well, their spread reflects labels and not parameters. The standard errors are then
    refused, and the note gives the reason. They are also refused if more than that share of the refits do not
    converge, if chains do not mix, or if an information matrix is singular.
    """

    study: Literal["standard_errors"] = "standard_errors"
    subjects: Subjects
    replicates: Annotated[int, Field(ge=10, le=MOST_WHOLE)] = Field(1000, description="data sets of each bootstrap")
    em: EM = Field(EM(), description="refits every replicate, from the estimate")
    sampler: Gibbs = Field(Gibbs(num_samples=2000), description="draws from the posterior, from the estimate")
    prior: ConjugatePrior = Field(
        ConjugatePrior(), description="of the posterior, where a subject has no conjugate one"
    )
    doubtful: Annotated[float, Field(ge=0, lt=1)] = Field(
        0.05, description="largest share of replicates or draws whose labels are in doubt"
    )

    summary: ClassVar[str] = "standard errors by observed information, Louis, supplemented EM, bootstraps, posterior"
    shown: ClassVar[tuple[str, ...]] = ("subject", "parameter", "estimate", *WAYS, "note")

    def cells(self) -> Sequence[Row]:
        """Every subject."""
        return [{"subject": subject.name} for subject in self.subjects]

    def measure(self, cell: Row, folder: Path) -> list[Row]:
        """One row for each parameter; components are numbered in the order of their means."""
        problem = subject_named(self.subjects, str(cell["subject"])).problem(self.seed, folder)
        self.em.check(problem)
        nature = best_optimum(problem, self.seed)
        estimate = nature.mixture.canonical()
        results: dict[str, Result] = dict.fromkeys(WAYS, (None, ""))
        if is_strict(nature):
            results |= _by_information(problem, estimate, named_key(self.seed, "supplemented"))
            results |= {scheme: self._by_refits(scheme, problem, estimate) for scheme in SCHEMES}
            results |= {"posterior": self._by_draws(problem, estimate)}
            note = "; ".join(f"{way}: {why}" for way, (_, why) in results.items() if why)
        else:
            note = f"no strict maximum, {nature.kind.value}: {nature.reason}"
        values = np.asarray(natural(estimate))
        called = names(problem.covariance, problem.components, problem.num_dimensions)
        shared: Row = {"replicates": self.replicates, "note": note}
        rows: list[Row] = []
        for q, name in enumerate(called):
            errors: Row = {way: None if each is None else number(each[q]) for way, (each, _) in results.items()}
            rows.append({"parameter": name, "estimate": float(values[q]), **errors, **shared})
        return rows

    def tabulated(self, rows: list[Row]) -> list[Row]:
        """The rows, with the note of a subject in its first row only."""
        firsts = {id(rows[i]) for i in range(len(rows)) if i == 0 or rows[i]["subject"] != rows[i - 1]["subject"]}
        return [row if id(row) in firsts else row | {"note": ""} for row in rows]

    def spread(self, labelled: Labelled) -> Result:
        """Standard deviations over replicates or draws, unless the labels of too many are in doubt."""
        if labelled.ambiguous > self.doubtful:
            return None, f"labels in doubt in {labelled.ambiguous:.1%}"
        return np.std(labelled.values, axis=0, ddof=1), ""

    def _by_refits(self, scheme: str, problem: Problem, estimate: Mixture) -> Result:
        fitted = refits(scheme, problem, estimate, named_key(self.seed, scheme), self.replicates, em=self.em)
        converged = np.asarray(fitted.converged)
        lost = float(np.mean(~converged))
        if lost > self.doubtful:
            return None, f"{lost:.1%} of the refits do not converge"
        kept = jax.tree.map(lambda leaf: np.asarray(leaf)[converged], fitted.mixture)
        return self.spread(labelled_as(estimate, kept))

    def _by_draws(self, problem: Problem, estimate: Mixture) -> Result:
        prior = problem.prior if isinstance(problem.prior, ConjugatePrior) else self.prior
        bayesian = Problem(problem.x, problem.components, problem.covariance.name, prior, weights=problem.weights)
        chains = self.sampler.num_chains
        starts = jax.tree.map(lambda leaf: jnp.repeat(leaf[None], chains, axis=0), estimate)
        draws = run(self.sampler, bayesian, starts, named_key(self.seed, "posterior")).answer
        flat = jax.tree.map(lambda leaf: np.reshape(leaf, (-1, *leaf.shape[2:])), draws)
        labelled = labelled_as(estimate, flat)
        result = self.spread(labelled)
        r_hat = float(np.max(rank_statistics(labelled.values.reshape(chains, -1, labelled.values.shape[1]))[0]))
        if result[0] is not None and r_hat > MOST_R_HAT:
            return None, f"chains have not mixed, R-hat {r_hat:.2f}"
        return result


def _by_information(problem: Problem, estimate: Mixture, key: Array) -> dict[str, Result]:
    """The standard errors by the three methods that need no replicates."""
    observed, louis, supplementary, change = (np.asarray(a) for a in _at(problem, estimate, key))
    results: dict[str, Result] = {
        name: (errors, "") if np.all(np.isfinite(errors)) else (None, "the information is singular")
        for name, errors in (("observed", observed), ("louis", louis), ("supplemented", supplementary))
    }
    if not change <= MOST_CHANGE:
        results["supplemented"] = None, f"derivatives of the EM map change by {change:.1g} from step to step"
    return results


@jax.jit
def _at(problem: Problem, estimate: Mixture, key: Array) -> tuple[Array, Array, Array, Array]:
    """Standard errors by observed information, Louis' formula and supplemented EM, and the change of the last.

    [Q], [Q], [Q], []
    """
    chart = Chart.of(problem, weights="log_ratio")
    known = information(problem, estimate, chart)
    start = displaced(problem, estimate, known, chart, key)
    by_em = supplemented(problem, estimate, start, chart, known.complete)
    louis = known.complete - missing_information(problem, estimate, chart)
    covariances = covariance_of(known.observed), covariance_of(louis), by_em.covariance
    errors = [deviations(delta(estimate, chart, covariance)) for covariance in covariances]
    return errors[0], errors[1], errors[2], jnp.max(by_em.change)


Separation = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Size = Annotated[int, Field(ge=10, le=MOST_WHOLE)]

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
    replications: Annotated[int, Field(ge=10, le=MOST_WHOLE)] = Field(1000, description="data sets of each cell")
    resampled: Annotated[int, Field(ge=10, le=MOST_WHOLE)] = Field(
        200, description="number of the first data sets that also have the expensive intervals: bootstrap and posterior"
    )
    em: EM = Field(EM(tolerance=1e-8, max_iterations=1000), description="stops within hundredths of a standard error")
    replicates: Annotated[int, Field(ge=20, le=MOST_WHOLE)] = Field(
        100, description="of each data set, by the bootstrap"
    )
    bootstrapped: Annotated[int, Field(ge=0, le=MOST_WHOLE)] = Field(
        50, description="largest N that is bootstrapped; 0 for none"
    )
    prior: ConjugatePrior = Field(ConjugatePrior(), description="of the posterior intervals alone")
    num_warmup: Whole = Field(200, description="sweeps of Gibbs before the first draw")
    num_samples: Annotated[int, Field(ge=100, le=MOST_WHOLE)] = Field(
        1000, description="draws of Gibbs for each interval"
    )

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
