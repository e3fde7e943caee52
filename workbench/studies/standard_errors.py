"""Standard errors of every parameter by seven ways, side by side, and a refusal where a way has none to tell."""

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

# Derivatives of the EM map that change by more along its whole run are none. Where EM is slow the first ones differ.
MOST_CHANGE = 1e-3

# Chains whose matched parameters have a larger R-hat have not mixed (Gelman et al. 2013, sec. 11.5).
MOST_R_HAT = 1.1

Told = tuple[np.ndarray | None, str]  # standard errors [Q], or None and why


class StandardErrors(Study):
    """At the best optimum of each subject, the standard error of every weight, mean, variance and covariance.

    - `observed`: the inverse of minus the exact Hessian, in a chart, and the delta method.
    - `louis`: Louis' (1982) formula, complete less missing information, from the complete-data score alone.
    - `supplemented`: supplemented EM (Meng & Rubin 1991), from EM steps and the complete information.
    - `nonparametric`, `parametric`, `weighted`: bootstraps, EM from the estimate on every replicate.
    - `posterior`: the standard deviation of Gibbs draws begun at the estimate.

    Replicates and draws take the labels of the estimate, component by component. Where more than `doubtful` of them lie
    about half way between two orders, their spread tells of labels and not of parameters: the way is refused, and the
    note says so. So it is where more than as many refits do not converge, chains do not mix or an information is
    singular.
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
        0.05, description="most replicates or draws whose labels are in doubt, as a share"
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
        told: dict[str, Told] = dict.fromkeys(WAYS, (None, ""))
        if is_strict(nature):
            told |= _by_information(problem, estimate, named_key(self.seed, "supplemented"))
            told |= {scheme: self._by_refits(scheme, problem, estimate) for scheme in SCHEMES}
            told |= {"posterior": self._by_draws(problem, estimate)}
            note = "; ".join(f"{way}: {why}" for way, (_, why) in told.items() if why)
        else:
            note = f"no strict maximum, {nature.kind.value}: {nature.reason}"
        values = np.asarray(natural(estimate))
        called = names(problem.covariance, problem.components, problem.num_dimensions)
        shared: Row = {"replicates": self.replicates, "note": note}
        rows: list[Row] = []
        for q, name in enumerate(called):
            errors: Row = {way: None if each is None else number(each[q]) for way, (each, _) in told.items()}
            rows.append({"parameter": name, "estimate": float(values[q]), **errors, **shared})
        return rows

    def tabulated(self, rows: list[Row]) -> list[Row]:
        """The note of a subject stands in its first row only."""
        firsts = {id(rows[i]) for i in range(len(rows)) if i == 0 or rows[i]["subject"] != rows[i - 1]["subject"]}
        return [row if id(row) in firsts else row | {"note": ""} for row in rows]

    def spread(self, labelled: Labelled) -> Told:
        """Standard deviations over replicates or draws, unless the labels of too many are in doubt."""
        if labelled.ambiguous > self.doubtful:
            return None, f"labels in doubt in {labelled.ambiguous:.1%}"
        return np.std(labelled.values, axis=0, ddof=1), ""

    def _by_refits(self, scheme: str, problem: Problem, estimate: Mixture) -> Told:
        fitted = refits(scheme, problem, estimate, named_key(self.seed, scheme), self.replicates, em=self.em)
        converged = np.asarray(fitted.converged)
        lost = float(np.mean(~converged))
        if lost > self.doubtful:
            return None, f"{lost:.1%} of the refits do not converge"
        kept = jax.tree.map(lambda leaf: np.asarray(leaf)[converged], fitted.mixture)
        return self.spread(labelled_as(estimate, kept))

    def _by_draws(self, problem: Problem, estimate: Mixture) -> Told:
        prior = problem.prior if isinstance(problem.prior, ConjugatePrior) else self.prior
        bayesian = Problem(problem.x, problem.components, problem.covariance.name, prior)
        chains = self.sampler.num_chains
        starts = jax.tree.map(lambda leaf: jnp.repeat(leaf[None], chains, axis=0), estimate)
        draws = run(self.sampler, bayesian, starts, named_key(self.seed, "posterior")).answer
        flat = jax.tree.map(lambda leaf: np.reshape(leaf, (-1, *leaf.shape[2:])), draws)
        labelled = labelled_as(estimate, flat)
        told = self.spread(labelled)
        r_hat = float(np.max(rank_statistics(labelled.values.reshape(chains, -1, labelled.values.shape[1]))[0]))
        if told[0] is not None and r_hat > MOST_R_HAT:
            return None, f"chains have not mixed, R-hat {r_hat:.2f}"
        return told


def _by_information(problem: Problem, estimate: Mixture, key: Array) -> dict[str, Told]:
    """The three that need no replicates."""
    observed, louis, supplementary, change = (np.asarray(a) for a in _at(problem, estimate, key))
    told: dict[str, Told] = {
        name: (errors, "") if np.all(np.isfinite(errors)) else (None, "the information is singular")
        for name, errors in (("observed", observed), ("louis", louis), ("supplemented", supplementary))
    }
    if not change <= MOST_CHANGE:
        told["supplemented"] = None, f"derivatives of the EM map change by {change:.1g} from step to step"
    return told


@jax.jit
def _at(problem: Problem, estimate: Mixture, key: Array) -> tuple[Array, Array, Array, Array]:
    """Standard errors by observed information, Louis' formula and supplemented EM, and the last one's change.

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
