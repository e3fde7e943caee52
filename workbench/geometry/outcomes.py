"""How each climb to a known best ended, with failures told apart by kind."""

from enum import StrEnum

import numpy as np

from workbench.diagnostics.status import RestartStatus, Status
from workbench.loop.trace import Trace


class Outcome(StrEnum):
    """What became of a climb; exactly one applies."""

    REACHED = "reached"  # ended within the tolerance of the best
    LEFT = "left_the_mixtures"  # a step gave a negative weight or a matrix that is no covariance
    COLLAPSED = "collapsed"  # ran into a singularity
    DIVERGED = "diverged"  # numbers that are not finite, a fall, or a line search that found no rise
    WORSE = "worse_optimum"  # stopped by its own rule, far below the best
    SHORT = "stopped_short"  # stopped by its own rule at the best, but not within the tolerance
    UNFINISHED = "out_of_budget"


# Stopped within so many nats of the best, but not within the tolerance: the same optimum, and a rule that was too lax.
SAME = 1e-3


def outcomes(trace: Trace, statuses: list[RestartStatus], best: float, within: float) -> list[Outcome]:
    """The outcome of every restart of a trace that is no sampler's. [R]

    Args:
        trace: of a method that climbs.
        statuses: of its restarts.
        best: log_joint to reach.
        within: nats that count as there.
    """
    return [_outcome(trace, r, ended.status, best, within) for r, ended in enumerate(statuses)]


def passes_to(trace: Trace, found: list[Outcome], best: float, within: float) -> np.ndarray:
    """Passes at the first recorded row within so many nats of the best; NaN for restarts that do not end there. [R]

    Rows lie a tenth of the price apart, so that a price is exact to a tenth.
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
