"""How each restart ended, as a status, and named checks of a run, each of which is true or false.

Both are read off the trace, and never raised as errors.
"""

from enum import IntEnum
from typing import NamedTuple

import numpy as np

from workbench.data.known import UNKNOWN
from workbench.diagnostics.convergence import Mixing
from workbench.loop.trace import Trace, passes_text
from workbench.mixture import Mixture
from workbench.problem import Problem
from workbench.soundness import Health, Soundness


class Status(IntEnum):
    """How a restart ended. Where several apply, the highest is reported."""

    CONVERGED = 1  # the stopping rule was met; the chains of a sampler agree; an approximation may still be far off
    BUDGET = 2  # ran out of iterations, or of draws before several chains agreed
    DROPPED = 3  # lost the race and was stopped
    PLATEAU = 4  # two components have merged into one
    COLLAPSED = 6  # a covariance is singular or a component is starved
    DIVERGENT = 7  # broke its method's promise: EM fell, a line search failed, a transition diverged
    NONFINITE = 8  # the score or a parameter is not a finite number


# A point estimate that ends below its start by more than this share of its size has gone the wrong way.
FALL = 1e-9


class RestartStatus(NamedTuple):
    """A status, and a message that explains it for this restart."""

    status: Status
    message: str


def restart_statuses(trace: Trace, problem: Problem, rule: Soundness, mixing: Mixing | None) -> list[RestartStatus]:
    """The status of each restart of a trace. [R]

    Args:
        trace: of any method.
        problem: the problem of the trace.
        rule: of soundness.
        mixing: of the chains, if the trace is a sampler's.
    """
    if mixing is not None:
        return [_of_chain(trace, r, mixing) for r in range(trace.num_restarts)]
    if trace.evidence_bound is not None:
        return [_of_approximation(trace, r, float(bound)) for r, bound in enumerate(trace.evidence_bound)]
    healths = rule.check_all(problem, trace.ends)
    return [_of_estimate(trace, r, health) for r, health in enumerate(healths)]


def _of_estimate(trace: Trace, restart: int, health: Health) -> RestartStatus:
    first, last = trace.log_joint[restart, 0], trace.log_joint[restart, -1]
    if not (health.finite and np.isfinite(last)):
        return RestartStatus(Status.NONFINITE, f"log_joint is {last} at the end")
    if not trace.ok[restart, -1]:
        broken = "log_joint fell, no rise was found, or it left the mixtures"
        return RestartStatus(Status.DIVERGENT, f"a step broke the method's promise: {broken}")
    if last < first - FALL * abs(first):
        return RestartStatus(Status.DIVERGENT, f"ended {first - last:.3g} nats below its start")
    if trace.collapsed[restart]:
        return RestartStatus(Status.COLLAPSED, "the next step is a singular covariance or an empty component")
    if health.singular:
        eigenvalue = health.smallest_relative_eigenvalue
        return RestartStatus(Status.COLLAPSED, f"a covariance is singular: relative eigenvalue {eigenvalue:.2g}")
    if health.starved:
        return RestartStatus(Status.COLLAPSED, f"a component holds {health.smallest_component_size:.3g} points' worth")
    if health.merged:
        return RestartStatus(Status.PLATEAU, "two components have merged into one")
    if trace.dropped is not None and trace.dropped[restart]:
        return RestartStatus(Status.DROPPED, f"lost the race after {passes_text(trace.passes[restart, -1])} passes")
    if not trace.converged[restart]:
        return RestartStatus(
            Status.BUDGET, f"ran out of iterations after {passes_text(trace.passes[restart, -1])} passes"
        )
    return RestartStatus(
        Status.CONVERGED, f"met its stopping rule after {passes_text(trace.passes[restart, -1])} passes"
    )


def _of_chain(trace: Trace, chain: int, mixing: Mixing) -> RestartStatus:
    draws = trace.log_joint[chain, -trace.draws :]
    if not np.all(np.isfinite(draws)):
        return RestartStatus(Status.NONFINITE, "a draw has a log_joint that is not finite")
    if not trace.ok[chain, -1]:
        return RestartStatus(Status.DIVERGENT, "a transition after warm-up diverged, or the posterior was not reached")
    if not mixing.converged:
        if mixing.alone:
            return RestartStatus(Status.BUDGET, f"one chain has none to agree with; its halves have {mixing.facts}")
        return RestartStatus(Status.BUDGET, f"the chains do not agree yet: {mixing.facts}")
    return RestartStatus(Status.CONVERGED, f"the chains agree: {mixing.facts}")


def _of_approximation(trace: Trace, restart: int, bound: float) -> RestartStatus:
    draws = trace.log_joint[restart, -trace.draws :]
    if not (np.all(np.isfinite(draws)) and np.isfinite(bound)):
        return RestartStatus(Status.NONFINITE, f"a draw has a log_joint that is not finite, or the bound is {bound}")
    if not trace.ok[restart, -1]:
        return RestartStatus(Status.DIVERGENT, "a step broke the method's promise: the evidence lower bound fell")
    facts = f"after {passes_text(trace.passes[restart, -1])} passes; its lower bound of ln P(x) is {bound:.3f}"
    caveat = "this does not say how near the posterior is"
    if not trace.converged[restart]:
        return RestartStatus(Status.BUDGET, f"fitted until its iterations ran out, {facts}; {caveat}")
    return RestartStatus(Status.CONVERGED, f"the fit met its stopping rule {facts}; {caveat}")


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
    total = 0.0
    for first in range(0, problem.num_rows, BLOCK):
        terms = _terms(problem, mixture, first)
        total += float(np.sum(terms if problem.weights is None else terms * problem.weights[first : first + BLOCK]))
    limit = AGREEMENT if problem.dtype == np.float64 else AGREEMENT_FLOAT32
    return bool(abs(total - scores[best]) <= limit * max(abs(total), 1.0))


def _terms(problem: Problem, mixture: Mixture, first: int) -> np.ndarray:
    """The log-likelihood of each row of a block; of a row of known component, its log-joint with this one."""
    x = problem.x[first : first + BLOCK]
    if problem.known is None:
        return np.asarray(mixture.log_density(x, missing=problem.missing), np.float64)
    own = problem.known.components[first : first + BLOCK]
    joint = np.asarray(mixture.component_log_joint(x, missing=problem.missing), np.float64)
    alone = np.take_along_axis(joint, np.maximum(own, 0)[:, None], axis=1)[:, 0]
    return np.where(own == UNKNOWN, np.asarray(mixture.log_density(x, missing=problem.missing), np.float64), alone)
