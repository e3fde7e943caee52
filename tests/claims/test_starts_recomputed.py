"""Failures of starts on a ring of groups, recounted by plain EM, and the ledger's tests of the counts by SciPy."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ledger_runs import decided
from plain_ends import climbed, each_of, is_sound
from plain_mixture import Array, Plain
from scipy.optimize import minimize
from scipy.stats import binom, binomtest, chi2, fisher_exact, norm

from workbench.claims import Verdict
from workbench.data.simulate import ring
from workbench.problem import Problem
from workbench.starts import draw_starts

Counts = dict[tuple[int, str], int]  # failures, by K and rule


@pytest.fixture(scope="module")
def claim(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Any]:
    """A claim's decision and study, whose rows both claims share."""
    out: Path = tmp_path_factory.mktemp("recomputed")
    return lambda name: decided(name, out)


@pytest.fixture(scope="module")
def recounted(claim: Callable[[str], Any]) -> tuple[Counts, int]:
    """Failures of plain EM from the study's starts on the study's points, and the number of starts in each case."""
    _, (findings,) = claim("kmeans_starts_help")
    study, counts = findings.study, Counts()
    for k in study.components:
        x, _ = ring(k, study.points, study.separation, study.seed)
        angles = 2 * np.pi * np.arange(k) / k
        centres = np.stack([np.cos(angles), np.sin(angles)], axis=1) * study.separation / (2 * np.sin(np.pi / k))
        truth = Plain(np.full(k, 1 / k), centres, np.tile(np.eye(2), (k, 1, 1)))
        best = climbed(truth, x, "spherical").height
        for rule in study.starts:
            starts = draw_starts(rule, Problem(x, k, "spherical"), study.restarts, study.seed)
            ends = [climbed(start, x, "spherical") for start in each_of(starts)]
            lost = [end.collapsed or not is_sound(end.mixture, x, fewest=2) for end in ends]
            # A missed group costs 47 nats or more, and other ends agree to rounding: no start lies near the margin.
            missed = [best - end.height > study.margin for end in ends]
            counts[k, rule.model_dump()["rule"]] = int(np.sum(np.logical_or(lost, missed)))
    return counts, study.restarts


def test_plain_em_fails_from_the_same_starts(claim: Callable[[str], Any], recounted: tuple[Counts, int]) -> None:
    _, (findings,) = claim("kmeans_starts_help")
    assert {(row["components"], row["rule"]): row["failures"] for row in findings.rows} == recounted[0]


def test_the_rate_of_success_is_scipys(claim: Callable[[str], Any], recounted: tuple[Counts, int]) -> None:
    decision, _ = claim("random_starts_fail")
    counts, starts = recounted
    groups, failures = np.asarray([[k, n] for (k, rule), n in counts.items() if rule == "random_points"]).T
    groups, good = groups[failures > 0], starts - failures[failures > 0]

    def share(u: Array) -> Array:
        return np.exp(np.minimum(u[0] - u[1] * groups, -1e-12))

    def loss(u: Array) -> float:
        return -float(np.sum(binom.logpmf(good, starts, share(u))))

    found = minimize(
        loss, [0.0, 0.1], method="Nelder-Mead", options={"xatol": 1e-10, "fatol": 1e-13, "maxiter": 4000}
    ).x
    p = share(found)
    # The information is the variance of the score, which is enumerated over all counts.
    every = np.arange(starts + 1)
    scores = (every[:, None] - starts * p) / (1 - p)
    variances = np.sum(binom.pmf(every[:, None], starts, p) * scores**2, axis=0)
    design = np.stack([np.ones(len(groups)), -groups])
    error = np.sqrt(np.linalg.inv((design * variances) @ design.T)[1, 1])
    # A search without derivatives finds the top to the root of the rounding of the likelihood.
    assert decision.value == pytest.approx(found[1], abs=1e-6)
    assert (decision.error.low, decision.error.high) == pytest.approx(
        found[1] + error * norm.ppf([0.025, 0.975]), abs=1e-4
    )
    assert decision.p_value == pytest.approx(2 * norm.sf(found[1] / error), rel=1e-3)
    fits = chi2.sf(np.sum((good - starts * p) ** 2 / (starts * p * (1 - p))), len(groups) - 2)
    assert f"p = {fits:.2g}" in decision.note
    # An exponential that the counts refuse is not confirmed by its rate.
    assert decision.verdict == (Verdict.HOLDS if fits > 0.05 else Verdict.UNDECIDED)


def test_the_gap_between_rules_is_scipys(claim: Callable[[str], Any], recounted: tuple[Counts, int]) -> None:
    decision, (findings,) = claim("kmeans_starts_help")
    counts, starts = recounted
    trials = starts * len(findings.study.components)
    random, seeded = (sum(n for (_, r), n in counts.items() if r == rule) for rule in ("random_points", "kmeans++"))
    gap = (seeded - random) / trials
    assert decision.value == pytest.approx(100 * gap, rel=1e-12)
    assert decision.p_value == pytest.approx(
        fisher_exact([[random, trials - random], [seeded, trials - seeded]]).pvalue, rel=1e-9
    )
    # Newcombe's interval is made of Wilson's two.
    (l1, u1), (l2, u2) = (binomtest(n, trials).proportion_ci(method="wilson") for n in (seeded, random))
    p1, p2 = seeded / trials, random / trials
    low, high = gap - np.hypot(p1 - l1, u2 - p2), gap + np.hypot(u1 - p1, p2 - l2)
    assert (decision.error.low, decision.error.high) == pytest.approx((100 * low, 100 * high), rel=1e-9)
    assert decision.verdict == (Verdict.HOLDS if high < 0 else Verdict.UNDECIDED)
