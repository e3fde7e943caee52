"""Checks of starts and remedies: failures over the number of groups and by rule, and what a floor breaks."""

import math
from dataclasses import replace

import numpy as np

from workbench.claims.decision import LEVEL, Decision, Interval, Varied, Verdict, across, number, undecided
from workbench.claims.evidence import Limits
from workbench.claims.statistics import by_median, normal_test
from workbench.diagnostics.proportion import Proportion
from workbench.studies import Findings, Row

# Half steps, each of which halves the distance, down to rounding.
SCORING_STEPS = 60


def successes_fall_exponentially(findings: Findings, limits: Limits) -> Decision:
    """The rate at which the probability that a random start succeeds falls with each further group, for each method.

    Theorem 2 of Jin et al. (2016) bounds it by `exp(-c K)`. `ln P = a - c K` is fitted by maximum likelihood to the
    counts of every K, without the K at which all starts succeed. The methods climb from the same starts, so that they
    are not pooled: the figure is that of the first, and the others are in the table.
    """
    random = findings.where(rule="random_points")
    fits = [(str(m), _exponential(random.where(method=m).rows, limits)) for m in random.values("method")]
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
    """The share of steps in which the log-likelihood falls with a floor, minus that of EM without, over problems.

    Steps of one climb depend on each other; problems do not.
    """
    shares: dict[str, dict[tuple[object, ...], float]] = {}
    for method, remedy in (("em_floor", "floor"), ("em", "none")):
        rows = findings.where(method=method, remedy=remedy).rows
        shares[method] = {_place(row): _number(row["log_likelihood_falls"]) / _number(row["steps"]) for row in rows}
    both = [place for place in shares["em_floor"] if place in shares["em"]]
    gaps = 100 * np.asarray([shares["em_floor"][place] - shares["em"][place] for place in both])
    found = by_median(gaps, 0.0, "points of per cent more steps fall with the floor", "problems")
    if found is None:
        return undecided("The study needs EM with and without the floor, on six problems or more.")
    least, most = (number(100 * float(end(list(shares["em_floor"].values())))) for end in (min, max))
    return replace(found, note=f"With the floor {least} to {most} % of the steps of a problem fall.")


def _exponential(rows: list[Row], limits: Limits) -> Decision | None:
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
        p = np.exp(np.minimum(found @ design, -1e-6))
        # Fisher scoring for counts whose log probability is linear.
        information = (design * (trials * p / (1.0 - p))) @ design.T
        found = found + 0.5 * np.linalg.solve(information, design @ ((good - trials * p) / (1.0 - p)))
    c = float(found[1])
    error = math.sqrt(np.linalg.inv(information)[1, 1])
    misfit = float(np.sum((good - trials * p) ** 2 / (trials * p * (1.0 - p))))
    fits = float(chi2.sf(misfit, len(groups) - 2)) if len(groups) > 2 else 1.0
    interval = Interval(c - 1.96 * error, c + 1.96 * error, f"{int(trials[0])} starts at each of {len(groups)} K")
    falls = normal_test(c, error, 0.0)
    verdict = Verdict.UNDECIDED if falls > LEVEL else Verdict.HOLDS if c > 0 else Verdict.FAILS
    last, first = int(np.argmax(groups)), int(np.argmin(groups))
    note = (
        f"{100 * (1 - good[first] / trials[first]):.0f} % fail at K = {groups[first]:.0f}, "
        f"{100 * (1 - good[last] / trials[last]):.0f} % at K = {groups[last]:.0f}; an exponential fits: p = {fits:.2g}."
    )
    unit = "is the rate of the exponential, for each group"
    return Decision(verdict, c, unit, interval, note, falls)


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
    return Decision(verdict, 100 * gap, "points of per cent", interval, note, p)


def _place(row: Row) -> tuple[object, ...]:
    return tuple(row.get(name) for name in ("points", "dimensions", "components", "separation"))


def _number(value: object) -> float:
    return float(value) if isinstance(value, int | float) else np.nan
