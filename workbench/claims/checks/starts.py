"""Checks of starts and remedies: failures over the number of groups and by rule, and what a floor breaks."""

import math

import numpy as np

from workbench.claims.decision import LEVEL, Decision, Exact, Interval, Varied, Verdict, across, undecided
from workbench.claims.evidence import Limits, settings_of
from workbench.claims.statistics import normal_interval, normal_test
from workbench.diagnostics.proportion import Proportion
from workbench.studies import Findings, Row

# Half steps, each of which halves the distance, down to rounding.
SCORING_STEPS = 60

# The largest log probability on the way of the fit, so that it stays below that of certainty.
SUREST = -1e-6


def successes_fall_exponentially(findings: Findings, limits: Limits) -> Decision:
    """The rate at which the probability that a random start succeeds falls with each further group, for each method.

    Theorem 2 of Jin et al. (2016) bounds it by `exp(-c K)`. `ln P = a - c K` is fitted by maximum likelihood to the
    counts of every K, without the K at which all starts succeed. The methods climb from the same starts, so that they
    are not pooled: the figure is that of the first, and the others are in the table.
    """
    random = findings.where(rule="random_points")
    fits = [(str(m), _exponential(random.where(method=m).rows, settings_of(findings))) for m in random.values("method")]
    if not fits or any(fit is None for _, fit in fits):
        return undecided("The study needs random points at three numbers of groups or more.")
    known = [(name, fit) for name, fit in fits if fit is not None]
    (first, base), *others = known
    return across(base, [Varied.of(fit, "method", name, within=True) for name, fit in others], at=first)


def kmeans_starts_fail_less(findings: Findings, limits: Limits) -> Decision:
    """The share of failures from k-means++ starts minus that from random points, summed over K, for each method.

    The methods climb from the same starts, so that they are not pooled.
    """
    methods = findings.values("method")
    gaps = [(str(m), _gap(findings.where(method=m))) for m in methods]
    if not gaps or any(gap is None for _, gap in gaps):
        return undecided("The study needs random points and k-means++.")
    known = [(name, gap) for name, gap in gaps if gap is not None]
    (first, base), *others = known
    rows = [Varied.of(gap, "method", name, within=True) for name, gap in others]
    own = findings.where(method=first)
    by_k = [(k, _gap(own.where(components=k))) for k in own.values("components")]
    rows += [Varied.of(gap, "groups", str(k), within=True) for k, gap in by_k if gap is not None]
    return across(base, rows, at=first)


def floor_breaks_monotonicity(findings: Findings, limits: Limits) -> Decision:
    """The number of steps in which the log-likelihood falls with a floor; one is enough to break monotonicity.

    Components become as narrow as the floor, where squared distances lose digits: with the floor and without, falls
    that rounding explains are left out. If EM without the floor has others, the comparison says nothing.
    """
    floored, plain = findings.where(method="em_floor", remedy="floor"), findings.where(method="em", remedy="none")
    if not floored.rows or not plain.rows:
        return undecided("The study needs EM with and without the floor.")
    # Without a prior log_joint is the log-likelihood.
    falls, own = (
        [int(_number(row["log_joint_falls"]) - _number(row["falls_in_rounding"])) for row in each.rows]
        for each in (floored, plain)
    )
    if sum(own):
        return undecided(f"EM without the floor falls {sum(own)} times, which rounding does not explain.")
    steps = sum(_number(row["steps"]) for row in floored.rows)
    verdict = Verdict.HOLDS if sum(falls) else Verdict.FAILS
    note = f"In {sum(each > 0 for each in falls)} of {len(falls)} problems; EM without the floor has no fall."
    if rounded := sum(_number(row["falls_in_rounding"]) for row in floored.rows):
        note += f" {rounded:,.0f} more may be rounding next to a singularity: at most N eps / width^2 nats."
    return Decision(
        verdict,
        sum(falls),
        f"falls in {steps:,.0f} steps",
        Exact("steps of stored runs"),
        note,
        settings=settings_of(findings),
    )


def _exponential(rows: list[Row], settings: str) -> Decision | None:
    """The fitted rate c of `P(success) = exp(a - c K)`, and whether it is above zero; None for fewer than three K."""
    # This import is slow; importing the package must stay quick.
    from scipy.stats import chi2

    groups = np.asarray([_number(row["components"]) for row in rows])
    trials = np.asarray([_number(row["starts"]) for row in rows])
    good = trials - np.asarray([_number(row["failures"]) for row in rows])
    # With two groups no start fails, and the bound is of no use where the probability is one.
    kept = good < trials
    if np.sum(kept) < 3:
        return None
    groups, trials, good = groups[kept], trials[kept], good[kept]

    design = np.stack([np.ones_like(groups), -groups])  # d ln P / d (a, c)
    found = np.asarray([0.0, 1.0 / groups.max()])
    for _ in range(SCORING_STEPS):
        p = np.exp(np.minimum(found @ design, SUREST))
        # Fisher scoring for counts whose log probability is linear.
        information = (design * (trials * p / (1.0 - p))) @ design.T
        found = found + 0.5 * np.linalg.solve(information, design @ ((good - trials * p) / (1.0 - p)))
    c = float(found[1])
    error = math.sqrt(np.linalg.inv(information)[1, 1])
    misfit = float(np.sum((good - trials * p) ** 2 / (trials * p * (1.0 - p))))
    fits = float(chi2.sf(misfit, len(groups) - 2)) if len(groups) > 2 else 1.0
    interval = normal_interval(c, error, f"{int(trials[0])} starts at each of {len(groups)} K")
    falls = normal_test(c, error, 0.0)
    # Counts that no exponential fits decide nothing about its rate, but that it is below zero.
    holds = Verdict.HOLDS if fits > LEVEL else Verdict.UNDECIDED
    verdict = Verdict.UNDECIDED if falls > LEVEL else holds if c > 0 else Verdict.FAILS
    last, first = int(np.argmax(groups)), int(np.argmin(groups))
    note = (
        f"{100 * (1 - good[first] / trials[first]):.0f} % fail at K = {groups[first]:.0f}, "
        f"{100 * (1 - good[last] / trials[last]):.0f} % at K = {groups[last]:.0f}; the misfit has p = {fits:.2g}."
    )
    unit = "is the rate of the exponential, for each group"
    return Decision(verdict, c, unit, interval, note, falls, settings=settings)


def _gap(findings: Findings) -> Decision | None:
    counts = []
    for rule in ("random_points", "kmeans++"):
        found = findings.where(rule=rule)
        if not found.rows:
            return None
        counts.append(Proportion(int(np.sum(found.column("failures"))), int(np.sum(found.column("starts")))))
    # This import is slow; importing the package must stay quick.
    from scipy.stats import fisher_exact

    random, seeded = counts
    table = [[each.successes, each.trials - each.successes] for each in counts]
    p = float(fisher_exact(np.asarray(table)).pvalue)
    gap = seeded.share - random.share
    # The interval of two independent shares (Newcombe 1998, Statistics in Medicine 17, method 10).
    (l1, u1), (l2, u2) = seeded.interval, random.interval
    low = gap - float(np.hypot(seeded.share - l1, u2 - random.share))
    high = gap + float(np.hypot(u1 - seeded.share, random.share - l2))
    interval = Interval(100 * low, 100 * high, f"{random.trials} starts by each rule")
    note = f"{100 * random.share:.1f} % from random points, {100 * seeded.share:.1f} % from k-means++."
    ahead = Verdict.HOLDS if high < 0 else Verdict.FAILS if low > 0 else Verdict.UNDECIDED
    verdict = ahead if p <= LEVEL else Verdict.UNDECIDED
    return Decision(verdict, 100 * gap, "points of per cent", interval, note, p, settings=settings_of(findings))


def _number(value: object) -> float:
    return float(value) if isinstance(value, int | float) else np.nan
