"""The outcome of each climb relative to a known best value, with the kinds of failure kept apart."""

from enum import StrEnum

import numpy as np

from workbench.diagnostics.status import RestartStatus, Status
from workbench.loop.trace import Trace


class Outcome(StrEnum):
    """The outcome of a climb; exactly one applies."""

    REACHED = "reached"  # ended within the tolerance of the best
    LEFT = "left_the_mixtures"  # a step gave a negative weight or a matrix that is no covariance
    COLLAPSED = "collapsed"  # ran into a singularity
    DIVERGED = "diverged"  # a number is not finite, log_joint fell, or a line search found no rise
    WORSE = "worse_optimum"  # stopped by its own rule, far below the best
    SHORT = "stopped_short"  # stopped by its own rule at the best, but not within the tolerance
    UNFINISHED = "out_of_budget"


# A climb that stops within so many nats of the best is at the same optimum; beyond the tolerance, its rule was too lax.
SAME = 1e-3


def outcomes(trace: Trace, statuses: list[RestartStatus], best: float, within: float) -> list[Outcome]:
    """The outcome of every restart of a trace, which is not a sampler's. [R]

    Args:
        trace: of a method that climbs.
        statuses: of its restarts.
        best: log_joint to reach.
        within: tolerance in nats.
    """
    return [_outcome(trace, r, ended.status, best, within) for r, ended in enumerate(statuses)]


def passes_to(trace: Trace, found: list[Outcome], best: float, within: float) -> np.ndarray:
    """Passes at the first row within the tolerance of the best; NaN for restarts that do not end within it. [R]

    Rows are at marks a tenth apart, so that the number of passes is accurate to a tenth.
    """
    first = np.argmax(np.abs(trace.log_joint - best) <= within, axis=1)
    passes = trace.passes[np.arange(len(first)), first].astype(float)
    return np.where([outcome is Outcome.REACHED for outcome in found], passes, np.nan)


def _outcome(trace: Trace, restart: int, status: Status, best: float, within: float) -> Outcome:
    gap = best - trace.log_joint[restart, -1]
    if trace.collapsed[restart] and not trace.ok[restart, -1]:
        return Outcome.LEFT
    if status is Status.COLLAPSED:
        return Outcome.COLLAPSED
    if abs(gap) <= within:
        return Outcome.REACHED
    if status in (Status.DIVERGENT, Status.NONFINITE):
        return Outcome.DIVERGED
    if not trace.converged[restart]:
        return Outcome.UNFINISHED
    return Outcome.SHORT if abs(gap) <= SAME else Outcome.WORSE
