"""The sentences of every introduction, each decided in both directions and beside plain NumPy."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from ledger_limits import limits_of
from scipy.stats import multivariate_normal

from workbench.claims import Verdict
from workbench.claims.checks import CHECKS
from workbench.mixture import ConjugatePrior, Mixture
from workbench.problem import Problem

HOLDS, FAILS, DEPENDS, UNDECIDED = Verdict
Make = Callable[..., Any]


def decide(name: str, evidence: Any) -> Any:
    return CHECKS[name].decide(evidence, limits_of(name))


def densities(mixture: Mixture, x: np.ndarray) -> np.ndarray:
    """pi_k N(x_n | mu_k, Sigma_k) by SciPy. [N, K]"""
    parts = zip(*(np.asarray(a) for a in (mixture.weights, mixture.means, mixture.covariances)), strict=True)
    return np.stack([w * multivariate_normal(m, s).pdf(x) for w, m, s in parts], axis=1)


def step(mixture: Mixture, x: np.ndarray, *, old_mean: bool) -> Mixture:
    """One EM step by plain sums, with the covariance about the old mean or about the new one."""
    r = densities(mixture, x)
    r /= r.sum(axis=1, keepdims=True)
    n = r.sum(axis=0)
    means = r.T @ x / n[:, None]
    about = np.asarray(mixture.means) if old_mean else means
    spread = [(r[:, k] * (x - about[k]).T) @ (x - about[k]) / n[k] for k in range(len(n))]
    return Mixture.from_covariances(n / len(x), means, np.stack(spread))


def log_likelihood(mixture: Mixture, x: np.ndarray) -> float:
    return float(np.sum(np.log(densities(mixture, x).sum(axis=1))))


def test_direct_ascent_that_comes_to_the_best_refutes_that_it_cannot(run: Make) -> None:
    both = replace(run(em=[["start", "good"]], ascent=[["start", "good"]]), name="a")
    short = replace(run(em=[["start", "good"]], ascent=[["start", "better"]]), name="b")
    assert decide("direct_ascent_cannot", [both, both]).verdict == FAILS
    assert decide("direct_ascent_cannot", [short, short]).verdict == HOLDS
    mixed = decide("direct_ascent_cannot", [both, short])
    assert mixed.verdict == DEPENDS and "holds: data set b" in mixed.border
    assert decide("direct_ascent_cannot", [run(em=[["start", "good"]])]).verdict == UNDECIDED


def test_a_gamma_between_zero_and_one_is_no_indicator_and_others_are(
    run: Make, two_groups: Problem, trace_of: Make, ran_of: Make
) -> None:
    ran = run(em=[["start", "start"]])
    found = decide("indicators_are_no_probabilities", ran)
    start, x = ran.comparison["em"].at(0, 1), np.asarray(two_groups.x)
    gamma = densities(start, x) / densities(start, x).sum(axis=1, keepdims=True)
    assert (found.verdict, found.value) == (FAILS, np.sum((gamma[:, 0] > 0.01) & (gamma[:, 0] < 0.99)))
    apart = Mixture.from_covariances([0.5, 0.5], [[-4.0, 0.0], [4.0, 1.0]], np.stack([1e-2 * np.eye(2)] * 2))
    clear = ran_of(two_groups, {"em": trace_of(two_groups, [[apart, apart]])})
    assert decide("indicators_are_no_probabilities", clear).verdict == HOLDS
    assert decide("indicators_are_no_probabilities", run(em=[["start", "spike"]])).verdict == UNDECIDED


def test_updates_are_averages_unless_they_are_broken_or_there_is_a_prior(
    run: Make, two_groups: Problem, shapes: dict[str, Mixture], trace_of: Make, ran_of: Make, monkeypatch: Any
) -> None:
    ran = run(em=[["better", "good"]])
    assert decide("updates_are_averages", ran).verdict == HOLDS
    proper = Problem(two_groups.x, 2, "full", ConjugatePrior())
    bayesian = ran_of(proper, {"em": trace_of(proper, [[shapes["better"], shapes["good"]]])})
    assert decide("updates_are_averages", bayesian).verdict == UNDECIDED
    monkeypatch.setattr(Problem, "em_step", lambda self, mixture: (shapes["merged"], 0.0))
    assert decide("updates_are_averages", ran).verdict == FAILS


def test_the_variance_about_the_old_mean_loses_what_plain_sums_lose(
    run: Make, two_groups: Problem, shapes: dict[str, Mixture], trace_of: Make, ran_of: Make
) -> None:
    x = np.asarray(two_groups.x)
    found = decide("old_mean_is_no_m_step", run(em=[["better", "good"]]))
    new, old = (log_likelihood(step(shapes["better"], x, old_mean=each), x) for each in (False, True))
    assert found.verdict == FAILS
    assert found.value == pytest.approx(new - old, rel=1e-8)
    # A generalised EM step: it rises as well, and at a fixed point it is the M-step.
    assert old > log_likelihood(shapes["better"], x)
    maximum = shapes["good"]
    for _ in range(300):
        maximum = step(maximum, x, old_mean=False)
    still = ran_of(two_groups, {"em": trace_of(two_groups, [[maximum, maximum]])})
    assert decide("old_mean_is_no_m_step", still).verdict == HOLDS
    assert decide("old_mean_is_no_m_step", run(ascent=[["start", "good"]])).verdict == UNDECIDED


def test_falls_of_a_study_count_unless_rounding_next_to_a_singularity_explains_them(
    run: Make, findings_of: Make
) -> None:
    up = run(em=[["start", "better", "good"]])

    def study(falls: int, rounded: int) -> Any:
        row = {"method": "em", "remedy": "none", "steps": 100, "log_joint_falls": falls, "falls_in_rounding": rounded}
        return findings_of([row, {**row, "remedy": "floor", "method": "em_floor", "log_joint_falls": 50}])

    held = decide("em_never_falls", [up, study(2, 2)])
    assert held.verdict == HOLDS and "2 more are rounding" in held.note
    found = decide("em_never_falls", [up, study(3, 2)])
    assert (found.verdict, found.value) == (FAILS, 1)
    # EM under any remedy counts, and a study that knows no rounding of distances; EM with a floor is another method.
    other = {"method": "em", "steps": 100, "log_joint_falls": 1}
    assert decide("em_never_falls", [up, findings_of([{**other, "remedy": "conjugate"}])]).value == 1
    assert decide("em_never_falls", [up, findings_of([{**other, "method": "em_floor"}])]).value == 0
