"""The decision on a claim: a verdict, the figure that it rests on, and how far that figure can be off."""

import math
from dataclasses import dataclass
from enum import StrEnum

import numpy as np


class Verdict(StrEnum):
    """What the evidence says of a claim."""

    HOLDS = "holds"
    FAILS = "fails"
    UNDECIDED = "not decided"


@dataclass(frozen=True)
class Decision:
    """A verdict and its figure.

    Attributes:
        verdict: what the evidence says.
        value: the figure; None where there is none, and the verdict is then "not decided".
        unit: of the figure, in words that follow a number: "nats", "of 100 starts".
        interval: of 95 %; None where the figure is a count or a number without an error of sampling.
        note: what a reader should know beside it, in one sentence.
    """

    verdict: Verdict
    value: float | None
    unit: str
    interval: tuple[float, float] | None = None
    note: str = ""

    @property
    def figure(self) -> str:
        """The value with its unit, as people read it."""
        return "-" if self.value is None else f"{number(self.value)} {self.unit}".rstrip()

    @property
    def error(self) -> str:
        """The interval as people read it; "exact" for a figure that has none."""
        if self.value is None:
            return "-"
        if self.interval is None:
            return "exact"
        low, high = self.interval
        return f"{number(low)} to {number(high)}"


def undecided(note: str) -> Decision:
    """No figure can be had of this evidence, and why."""
    return Decision(Verdict.UNDECIDED, None, "", note=note)


def number(value: float) -> str:
    """Whole numbers in full, others to three significant digits."""
    if not math.isfinite(value):
        return "no bound" if math.isinf(value) else "no number"
    return f"{value:,.0f}" if value == round(value) and abs(value) < 1e9 else f"{value:.3g}"


def beside(interval: tuple[float, float], bound: float) -> Verdict:
    """Holds where an interval lies above a bound, fails where it lies below, not decided where it holds the bound."""
    low, high = interval
    if low > bound:
        return Verdict.HOLDS
    return Verdict.FAILS if high < bound else Verdict.UNDECIDED


def median_interval(values: np.ndarray) -> tuple[float, float] | None:
    """Of 95 % for the median of what values [N] are a sample of, whatever its distribution.

    The order statistics between which the median lies unless fewer than 2.5 % of fair coins fall on one side. None
    where there are fewer than six values, which is too few to say.
    """
    ordered, n = np.sort(values), len(values)
    # Imported here because it takes long, and importing the package must stay quick.
    from scipy.stats import binom

    rank = int(binom.ppf(0.025, n, 0.5))
    return None if rank < 1 else (float(ordered[rank - 1]), float(ordered[n - rank]))
