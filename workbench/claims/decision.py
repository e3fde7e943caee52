"""The decision on a claim: a verdict, the figure on which it rests, and the error of that figure."""

import math
from dataclasses import dataclass
from enum import StrEnum

import numpy as np


class Verdict(StrEnum):
    """The verdict on a claim."""

    HOLDS = "holds"
    FAILS = "fails"
    UNDECIDED = "not decided"


@dataclass(frozen=True)
class Decision:
    """A verdict and its figure.

    Attributes:
        verdict: holds, fails, or not decided.
        value: the figure; None if there is none, and the verdict is then "not decided".
        unit: of the figure, as words that follow a number: "nats", "of 100 starts".
        interval: the 95 % interval; None if the figure is a count or has no sampling error.
        note: what the reader should know besides, in one sentence.
    """

    verdict: Verdict
    value: float | None
    unit: str
    interval: tuple[float, float] | None = None
    note: str = ""

    @property
    def figure(self) -> str:
        """The value with its unit, as text."""
        return "-" if self.value is None else f"{number(self.value)} {self.unit}".rstrip()

    @property
    def error(self) -> str:
        """The interval as text; "exact" for a figure that has none."""
        if self.value is None:
            return "-"
        if self.interval is None:
            return "exact"
        low, high = self.interval
        return f"{number(low)} to {number(high)}"


def undecided(note: str) -> Decision:
    """The decision if the results give no figure; the note states the reason."""
    return Decision(Verdict.UNDECIDED, None, "", note=note)


def number(value: float) -> str:
    """A number as text: whole numbers in full, others to three significant digits."""
    if not math.isfinite(value):
        return "no bound" if math.isinf(value) else "no number"
    return f"{value:,.0f}" if value == round(value) and abs(value) < 1e9 else f"{value:.3g}"


def beside(interval: tuple[float, float], bound: float) -> Verdict:
    """Holds if an interval is above a bound, fails if it is below, and is not decided if it contains the bound."""
    low, high = interval
    if low > bound:
        return Verdict.HOLDS
    return Verdict.FAILS if high < bound else Verdict.UNDECIDED


def median_interval(values: np.ndarray) -> tuple[float, float] | None:
    """The distribution-free 95 % interval for the median of the distribution from which values [N] are a sample.

    Its ends are order statistics: each tail of a binomial distribution with probability one half has at most 2.5 %. It
    is None for fewer than six values, for which there is no such interval.
    """
    ordered, n = np.sort(values), len(values)
    # The import stands here because it is slow, and importing the package must stay quick.
    from scipy.stats import binom

    rank = int(binom.ppf(0.025, n, 0.5))
    return None if rank < 1 else (float(ordered[rank - 1]), float(ordered[n - rank]))
