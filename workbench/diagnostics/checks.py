"""Named checks of a run; each is a statement about its trace that is either true or false."""

import numpy as np

from workbench.loop.trace import Trace
from workbench.mixture import Mixture
from workbench.problem import Problem

# Relative difference allowed between two sums of N terms: the one pass, and the density evaluated point by point.
AGREEMENT = 1e-9
AGREEMENT_FLOAT32 = 1e-4

# Points that are evaluated together, which bounds the memory of the check.
BLOCK = 2**18


def checks(trace: Trace, problem: Problem, starts: Mixture) -> dict[str, bool]:
    """The checks that every run must pass, by name.

    Args:
        trace: of any method.
        problem: the problem of the trace.
        starts: the starts that were given to the run, leaves [R, ...].
    """
    return {
        "begins_at_the_starts": _begins_at(trace, starts),
        "scores_are_finite": bool(np.all(np.isfinite(trace.log_joint))),
        "passes_never_fall": bool(np.all(np.diff(trace.passes, axis=1) >= 0)),
        "weights_are_distributions": _are_distributions(np.asarray(trace.mixtures.weights)),
        "score_agrees_point_by_point": _agrees(trace, problem),
        "promise_was_kept": bool(np.all(trace.ok)),
    }


def _begins_at(trace: Trace, starts: Mixture) -> bool:
    first = trace.at(np.arange(trace.num_restarts), np.zeros(trace.num_restarts, int))
    pairs = ((first.weights, starts.weights), (first.means, starts.means), (first.scales, starts.scales))
    return all(np.array_equal(np.asarray(a), np.asarray(b)) for a, b in pairs)


def _are_distributions(weights: np.ndarray) -> bool:
    # The tolerance allows for the rounding of a sum of K terms in float32.
    return bool(np.all(weights >= 0) and np.allclose(np.sum(weights, -1), 1.0, rtol=0, atol=1e-6))


def _agrees(trace: Trace, problem: Problem) -> bool:
    """Whether the score of the best end equals the sum of the log densities of single points."""
    scores = trace.log_likelihood[:, -1]
    if not np.any(np.isfinite(scores)):
        return False
    best = int(np.nanargmax(np.where(np.isfinite(scores), scores, -np.inf)))
    mixture = trace.at(best, -1)
    blocks = (problem.x[first : first + BLOCK] for first in range(0, problem.num_points, BLOCK))
    total = float(sum(np.sum(np.asarray(mixture.log_density(block), np.float64)) for block in blocks))
    limit = AGREEMENT if problem.dtype == np.float64 else AGREEMENT_FLOAT32
    return bool(abs(total - scores[best]) <= limit * max(abs(total), 1.0))
