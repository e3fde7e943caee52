"""Optima that the rule of soundness passes over, although they are higher than the best and do not narrow further.

A covariance that is narrow relative to the data's counts as singular where few points hold it up. A spike goes on
narrowing until the climb is stopped; an end that has converged does not. Whether its points are a group, such as
replicates of one measurement, or lie close together by accident, the likelihood cannot tell, so the user is told.
"""

from typing import NamedTuple

import jax
import numpy as np

from workbench.loop.trace import Trace
from workbench.problem import Problem
from workbench.soundness import Soundness, tie_under

# Nats by which such an end is higher than the best.
HIGHER = 0.1

# A component with fewer points than this many times the fewest, between which a narrow gap is nothing special, is not
# named.
ENOUGH = 2.0


class PassedOver(NamedTuple):
    """The highest such end of a method."""

    starts: int  # that end there
    higher: float  # nats above the best; infinite if there is none
    points: float  # points' worth of the narrow component

    @property
    def words(self) -> str:
        """The fact and the remedy."""
        several = f"{self.starts} starts end" if self.starts > 1 else "one start ends"
        above = f" {self.higher:.1f} nats higher" if np.isfinite(self.higher) else ""
        return (
            f"{several}{above} on a component of {self.points:.3g} points' worth that is narrower than soundness "
            "allows but narrows no further: a group, unless its points are close by accident (if it is one, lower "
            "soundness.min_relative_eigenvalue)"
        )


def passed_over(problem: Problem, trace: Trace, rule: Soundness, best: float | None) -> PassedOver | None:
    """The highest converged end above the best log-joint whose one fault is a narrow component; None if there is none.

    Args:
        problem: the problem that was climbed.
        trace: of a method that climbs.
        rule: the rule of what is sound.
        best: the log-joint of the best sound end; None if there is none.
    """
    scores = np.asarray(trace.log_joint[:, -1])
    fewest = problem.covariance.fewest_points(problem.num_dimensions)
    above = trace.converged & ~trace.collapsed & (scores > (-np.inf if best is None else best + HIGHER))
    places = np.flatnonzero(np.isfinite(scores) & above)
    for value in sorted(set(np.round(scores[places], 3).tolist()), reverse=True):
        same = places[np.abs(scores[places] - value) < HIGHER]
        end = jax.tree.map(lambda leaf, r=same[0]: leaf[r], trace.ends)
        health = rule.check(problem, end)
        trils = np.asarray(problem.rows.to_working(end).scale_trils)
        narrowest = int(np.argmin(np.linalg.svd(trils, compute_uv=False)[..., -1]))
        points = problem.num_points * float(np.asarray(end.weights)[narrowest])
        enough = points >= ENOUGH * fewest > 0
        if health.singular and not health.starved and enough and tie_under(problem, end, narrowest) is None:
            return PassedOver(len(same), value - (-np.inf if best is None else best), points)
    return None
