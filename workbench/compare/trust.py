"""Which method's answer to trust, in a sentence that follows from the figures of a comparison."""

from collections.abc import Sequence

from workbench.compare.optima import WITHIN
from workbench.compare.summary import MethodSummary
from workbench.diagnostics import Status
from workbench.problem import Problem

# The most values of other optima that a sentence gives.
RIVALS = 3

# Where every further search ends higher with probability 1/2, FEW of them end no higher with probability .0625, and
# fewer with more than a tenth: of fewer searches nothing can be concluded about others.
FEW = 4


def trusted(summaries: Sequence[MethodSummary]) -> str | None:
    """The method that reaches the best from the largest share of its starts, the first of equals; None if none does."""
    there = _there(summaries)
    return max(there, key=lambda s: s.reached_best / s.restarts).method if there else None


def whom_to_trust(summaries: Sequence[MethodSummary], problem: Problem | None = None) -> str:
    """A few sentences: how far the best can be trusted as an optimum, and whether the chains bear it out.

    The best is trusted where several independent searches end on it, of `FEW` or more that were made, at least one
    start has met its stopping rule, and none of its components is suspicious, merged or by chance. A best that a single
    search found says nothing about what further ones would find: where each has ended on an optimum of its own, the
    next is likely to find another (Good 1953, Biometrika 40: the share of unseen optima is about that of optima seen
    once). Whether the number of components is right is another question. Where other optima are nearly as high, the
    data cannot choose between their groups, however many starts agree, and no standard error says so.

    Args:
        summaries: of the methods of one comparison.
        problem: the problem that they solve.
    """
    climbs, there = _climbs(summaries), _there(summaries)
    if not there:
        sound = any(s.best_log_joint is not None for s in climbs)
        reason = "no method that climbs reaches the best" if sound else "no method that climbs has a sound answer"
        return f"Trust none yet: {'; '.join([reason, *_passed_over(climbs)])}.{_of_chains(summaries)}"
    found = "; ".join(f"{s.method} ends there from {s.reached_best} of {s.restarts} starts{_of(s)}" for s in there)
    one = problem is not None and problem.components == 1  # which has no optimum but its own
    doubts = _passed_over(climbs) + ([] if one else _of_searches(there)) + _doubts(there) + _of_parameters(problem)
    after = f"{_of_rivals(climbs)}{_of_chains(summaries)}"
    if doubts:
        return f"Do not trust the best yet: {'; '.join(doubts)} ({found}).{after}"
    others = [s.method for s in climbs if s not in there]
    never = f"; {', '.join(others)} never" if others else ""
    k = None if problem is None else problem.components
    number = "" if k is None else f" as the best optimum found of {k} component{'s' * (k != 1)}"
    return f"Trust {trusted(summaries)}{number}: {found}{never}.{after}"


def _climbs(summaries: Sequence[MethodSummary]) -> list[MethodSummary]:
    return [s for s in summaries if s.failure is None and s.r_hat_max is None and s.evidence_bound is None]


def _there(summaries: Sequence[MethodSummary]) -> list[MethodSummary]:
    """The methods that climb and reach the best."""
    return [s for s in _climbs(summaries) if s.best_log_joint is not None and s.reached_best]


def _of(s: MethodSummary) -> str:
    """The number of independent searches, where it is not that of the starts."""
    if s.searches_on_best is None or s.searches_on_best == s.reached_best:
        return ""
    return f" ({s.searches_on_best} independent search{'es' * (s.searches_on_best != 1)})"


def _passed_over(climbs: Sequence[MethodSummary]) -> list[str]:
    """A doubt where higher optima are not counted; of one method, because others tell of the same."""
    return [s.passed_over for s in climbs if s.passed_over is not None][:1]


def _of_searches(there: Sequence[MethodSummary]) -> list[str]:
    """A doubt where too few searches were made, or reach the best."""
    # The methods begin at the same starts, so that two methods on one start are no second witness.
    made = max(s.restarts if s.searches is None else s.searches for s in there)
    if max(s.reached_best if s.searches_on_best is None else s.searches_on_best for s in there) == 1:
        what = "a single search reaches it, so that others may find a higher one"
    elif made < FEW:
        what = f"only {made} searches were made, and half of all others may end higher"
    else:
        return []
    # Several starts of one search are one start repeated, and more of them would be the same again.
    again = made == 1 and any(s.restarts > 1 for s in there)
    return [f"{what} ({'begin by another rule of starts too' if again else 'give more, as restarts = 32'})"]


def _doubts(there: Sequence[MethodSummary]) -> list[str]:
    """Reasons not to trust the best that these methods reach."""
    doubts = []
    if not any(s.converged_on_best for s in there):
        doubts.append("no start that reaches it has converged (give the methods a larger max_iterations)")
    if any(s.merged for s in there):
        doubts.append("components have merged in it (ask for fewer)")
    if any(s.tied_points for s in there):
        doubts.append("a component sits on equal values")
    elif any(s.suspicious for s in there):
        doubts.append("a component is both tight and small")
    elif any(s.sliver for s in there):
        doubts.append("a component may be there by chance")
    if any(s.equal_elsewhere for s in there):
        doubts.append("another mixture has the same value")
    return doubts


def _of_parameters(problem: Problem | None) -> list[str]:
    """A doubt where nothing but the points holds the parameters, and these are more.

    Without correlations every cell tells of the mean and the deviation of its own column, so that cells are counted.
    """
    if problem is None or problem.prior.proper:
        return []
    apart = not problem.covariance.has_correlations and problem.num_dimensions > 1
    held, what = (problem.num_points * problem.num_dimensions, "values") if apart else (problem.num_points, "points")
    if problem.num_parameters <= held:
        return []
    return [
        f"its {problem.num_parameters:,} free parameters are more than the {held:,.6g} {what} (ask for "
        "fewer components, or a covariance with fewer parameters)"
    ]


def _of_rivals(climbs: Sequence[MethodSummary]) -> str:
    """A sentence on other optima that are nearly as high as the best, as of all methods; empty if there are none."""
    best = max(s.best_log_joint for s in climbs if s.best_log_joint is not None)
    found: list[float] = []
    for below in sorted(best - value for s in climbs for value in s.rivals):
        if not found or below - found[-1] > WITHIN:
            found.append(below)
    if not found:
        return ""
    several = len(found) > 1
    shown = ", ".join(f"{below:.2f}" for below in found[:RIVALS]) + (", ..." if len(found) > RIVALS else "")
    return (
        f" Beware: {len(found)} other optim{'a lie' if several else 'um lies'} only {shown} nats below, which these "
        f"data do not tell from the best, and {'their' if several else 'its'} groups are others: errors and intervals "
        "are those within the best alone."
    )


def _of_chains(summaries: Sequence[MethodSummary]) -> str:
    """A sentence on the chains of each sampler."""
    said = []
    for s in summaries:
        if s.r_hat_max is None:
            continue
        if s.restarts == 1:
            said.append(f"{s.method} has one chain, which no other confirms")
        elif s.statuses.get(Status.CONVERGED.name, 0) == s.restarts:
            said.append(f"the chains of {s.method} agree, and its intervals need no normal approximation")
        else:
            said.append(f"the chains of {s.method} do not agree: take no interval from it")
    text = "; ".join(said)
    return f" Of the samplers: {text}." if text else ""
