"""The tests and intervals by which checks decide; each says what was replicated."""

from dataclasses import replace

import numpy as np

from workbench.claims.decision import LEVEL, Decision, Interval, Verdict
from workbench.diagnostics.proportion import Proportion


def beside(interval: Interval, bound: float) -> Verdict:
    """Holds if an interval is above a bound, fails if it is below, and is not decided if it contains the bound."""
    if interval.low > bound:
        return Verdict.HOLDS
    return Verdict.FAILS if interval.high < bound else Verdict.UNDECIDED


def median_interval(values: np.ndarray, of: str) -> Interval | None:
    """The distribution-free interval for the median of the distribution from which values [N] are a sample.

    Its ends are order statistics, the innermost whose confidence is at least 95 %; `level` is that confidence. It is
    None for fewer than six values, whose range has less.
    """
    ordered, n = np.sort(values), len(values)
    # The imports of SciPy stand in the functions because they are slow, and importing the package must stay quick.
    from scipy.stats import binom

    rank = int(binom.ppf(LEVEL / 2, n, 0.5))
    if rank < 1:
        return None
    level = 1.0 - 2.0 * float(binom.cdf(rank - 1, n, 0.5))
    return Interval(float(ordered[rank - 1]), float(ordered[n - rank]), f"{n} {of}", level)


def sign_test(values: np.ndarray, bound: float) -> float:
    """The two-sided p-value that the median of values [N] is the bound. Ties are left out."""
    above, below = int(np.sum(values > bound)), int(np.sum(values < bound))
    return share_test(Proportion(above, above + below), 0.5) if above + below else 1.0


def share_test(share: Proportion, bound: float) -> float:
    """The two-sided p-value that a probability is the bound, by the exact binomial test."""
    from scipy.stats import binomtest

    return float(binomtest(share.successes, share.trials, bound).pvalue)


def normal_test(value: float, error: float, bound: float) -> float:
    """The two-sided p-value that an estimate with a normal error has the mean `bound`."""
    from scipy.stats import norm

    return float(2 * norm.sf(abs(value - bound) / error)) if error > 0 else float(value == bound)


def normal_interval(value: float, error: float, of: str) -> Interval:
    """The interval of an estimate with a normal error."""
    from scipy.stats import norm

    half = float(norm.isf(LEVEL / 2)) * error
    return Interval(value - half, value + half, of)


def share_interval(share: Proportion, of: str, confidence: float = 1.0 - LEVEL) -> Interval:
    """Wilson's interval of a share of independent trials."""
    return Interval(*share.interval_at(confidence), f"{share.trials} {of}", confidence)


def by_median(values: np.ndarray, bound: float, unit: str, of: str, *, settings: str) -> Decision | None:
    """Whether the median of independent values is above a bound; None if they are too few for an interval."""
    interval = median_interval(values, of)
    if interval is None:
        return None
    p = sign_test(values, bound)
    verdict = beside(interval, bound) if p <= LEVEL else Verdict.UNDECIDED
    return Decision(verdict, float(np.median(values)), unit, interval, p_value=p, settings=settings)


def by_share(share: Proportion, bound: float, unit: str, of: str, *, settings: str) -> Decision:
    """Whether a probability is above a bound; the figure is in per cent."""
    interval, p = share_interval(share, of), share_test(share, bound)
    verdict = beside(interval, bound) if p <= LEVEL else Verdict.UNDECIDED
    shown = Interval(100 * interval.low, 100 * interval.high, interval.over, interval.level)
    return Decision(verdict, 100 * share.share, unit, shown, p_value=p, settings=settings)


def turned(decision: Decision) -> Decision:
    """The decision on the opposite sentence."""
    return replace(decision, verdict=decision.verdict.opposite or decision.verdict)
