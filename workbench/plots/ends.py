"""Quantities for the score and waterfall plots: the gaps of rows below the best, and the ends of restarts."""

from dataclasses import dataclass

import numpy as np

from workbench.compare import Comparison
from workbench.compare.summary import WITHIN, best_log_joint, statuses_and_mixing
from workbench.diagnostics import Status
from workbench.loop.trace import Trace

# The middle share of a sampler's draws that a band covers.
BAND = (0.05, 0.95)


@dataclass(frozen=True)
class Gaps:
    """Nats below the best sound log-joint of a comparison; negative for unsound mixtures above it."""

    best: float
    sound: bool  # False if no method has a sound result; the best is then the highest end

    @classmethod
    def of(cls, comparison: Comparison) -> "Gaps":
        """Gaps below the best sound result of all methods, or below the highest finite end if there is none."""
        best = best_log_joint(comparison)
        if best is not None:
            return cls(best, True)
        ends = np.concatenate([trace.log_joint[:, -1] for trace in comparison.values()])
        return cls(float(np.max(ends[np.isfinite(ends)], initial=-np.inf)), False)

    @property
    def label(self) -> str:
        """The label of an axis."""
        if not np.isfinite(self.best):
            return "no end is finite"
        what = "best sound log-joint" if self.sound else "highest end; none is sound"
        return f"nats below the {what}\n({self.best:.3f})"

    def below(self, values: np.ndarray) -> np.ndarray:
        """The gap of each value; NaN where a value is not finite."""
        with np.errstate(invalid="ignore"):
            gaps = self.best - np.asarray(values, float)
        return np.where(np.isfinite(gaps), gaps, np.nan)

    def band(self, trace: Trace) -> tuple[float, float, float]:
        """Low end, median and high end of the gaps of a sampler's draws."""
        gaps = self.below(trace.log_joint[:, -trace.draws :])
        if not np.any(np.isfinite(gaps)):
            return np.nan, np.nan, np.nan
        low, middle, high = np.nanquantile(gaps, (BAND[0], 0.5, BAND[1]))
        return float(low), float(middle), float(high)


def statuses(comparison: Comparison, name: str) -> list[Status]:
    """The status of each restart of a method. [R]"""
    return [ended.status for ended in statuses_and_mixing(comparison, name)[0]]


def last_rows(trace: Trace) -> np.ndarray:
    """The row at which each restart stopped; later rows cost no pass. [R]"""
    return np.asarray(np.argmax(trace.passes == trace.passes[:, -1:], axis=1))


def typical_restart(trace: Trace, gaps: np.ndarray, collapsed: list[bool]) -> int | None:
    """The restart with the median number of passes among those that reach the method's best end."""
    ends = np.where(collapsed, np.nan, gaps[:, -1])  # [R]
    if not np.any(np.isfinite(ends)):
        return None
    near = gaps <= np.nanmin(ends) + WITHIN  # [R, T]
    reached = [r for r, end in enumerate(ends) if np.isfinite(end) and near[r, -1]]
    arrivals = [trace.passes[r, np.argmax(near[r])] for r in reached]
    return reached[int(np.argsort(arrivals, kind="stable")[(len(reached) - 1) // 2])]
