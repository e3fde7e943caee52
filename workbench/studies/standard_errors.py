"""Standard errors of every parameter by seven methods, and the reason where a method has none."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, ClassVar, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from pydantic import Field

from workbench.charts import Chart
from workbench.diagnostics.ranks import rank_statistics
from workbench.engine.keys import named_key
from workbench.geometry.information import information
from workbench.geometry.rate import displaced
from workbench.geometry.standard_errors import (
    SCHEMES,
    Labelled,
    covariance_of,
    delta,
    deviations,
    labelled_as,
    missing_information,
    names,
    natural,
    refits,
    supplemented,
)
from workbench.loop.run import run
from workbench.methods import EM, Gibbs
from workbench.mixture import ConjugatePrior, Mixture
from workbench.problem import Problem
from workbench.studies.base import Row, Study
from workbench.studies.optimum import best_optimum, is_strict, number
from workbench.studies.subjects import Subjects, subject_named

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
    replicates: Annotated[int, Field(ge=10)] = Field(1000, description="data sets of each bootstrap")
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
        bayesian = Problem(problem.x, problem.components, problem.covariance.name, prior)
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
