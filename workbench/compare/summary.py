"""The figures of a comparison: one record for each method, from which tables, JSON, CSV and the report are made."""

from collections import Counter
from dataclasses import dataclass, replace
from typing import Any

import jax
import numpy as np

from workbench.compare.comparison import Comparison
from workbench.compare.optima import WITHIN, Optimum, optima_of, rivals_of, same_optimum
from workbench.compare.remarks import sliver_in, why_unsound
from workbench.data import default_columns
from workbench.diagnostics import (
    Mixing,
    Predictive,
    RestartStatus,
    Status,
    agreement_with,
    heldout_scores,
    matched_error,
    mixing_of,
    pooled_evidence,
    restart_statuses,
)
from workbench.diagnostics.equal_rows import equal_rows
from workbench.diagnostics.passed_over import passed_over
from workbench.display import as_html, as_text, line
from workbench.errors import checks_arguments
from workbench.loop.trace import Trace
from workbench.mixture import Mixture
from workbench.problem import Problem

# A restart is near the best if it is within this many nats *per point* of it. Minibatch methods can come so close, and
# predictions of two such fits hardly differ.
NEAR = 1e-3

# The method with which the ends of the others are compared, and the nats by which an end must be lower to count as
# lower. Climbs stop short of the same optimum by less.
YARDSTICK = "em"
LOWER = 1e-6


@dataclass(frozen=True)
class MethodSummary:
    """The figures of one method in a comparison; None where a figure does not apply.

    The *best* is the highest log_joint among all sound results of all methods. Passes and seconds to the best are
    medians over the restarts that came within 1e-3 nats of it; the seconds are those of all restarts advancing
    together. Passes to near it are the median over the restarts that came, and stayed, within 1e-3 nats per point; they
    are not reported for samplers.
    """

    method: str
    restarts: int
    best_log_likelihood: float | None
    best_log_joint: float | None
    heldout_log_density: float | None
    heldout_standard_error: float | None
    statuses: dict[str, int]
    reached_best: int
    passes_to_best: float | None
    seconds_to_best: float | None
    passes: float  # of all restarts
    seconds: float  # stepping
    compile_seconds: float
    r_hat_max: float | None
    ess_min: float | None
    smallest_relative_eigenvalue: float | None
    smallest_component_size: float | None
    suspicious: bool | None
    adjusted_rand_index: float | None
    matched_error: float | None
    optima: tuple[Optimum, ...]
    lower_than_em: int | None = None  # restarts that ended more than 1e-6 nats below em's end from the same start
    near_best: int | None = None  # restarts within 1e-3 nats per point of the best
    passes_to_near_best: float | None = None
    log_evidence: float | None = None
    log_evidence_standard_error: float | None = None  # over the runs
    evidence_bound: float | None = None  # of the best restart of an approximation
    seconds_per_pass: float | None = None  # seconds of stepping all restarts over the passes of all of them
    failure: str | None = None
    distinct_components: int | None = None  # of the best: components that hold a point and that rows distinguish
    merged: bool | None = None  # whether two components of the best have merged into one (a plateau)
    tied_points: float | None = None  # number of equal values under a tight component of the best; 0 if there are none
    # The highest finite end, if no result is sound. It is no estimate, but shows where the method ended.
    ended_log_likelihood: float | None = None
    ended_log_joint: float | None = None
    ess_tail_min: float | None = None  # over the tails of the same functionals as `ess_min`
    e_bfmi: float | None = None  # smallest over the chains; None where the sampler has no energies
    unsound: str | None = None  # why ends are not sound, if no result is or components of the best have merged
    sliver: str | None = None  # a component of the best that may be there by chance, as text
    equal_rows: str | None = None  # a component of the best that holds equal rows and hardly any other, as text
    equal_elsewhere: int | None = None  # restarts that end at the value of the best but on another mixture
    converged_on_best: int | None = None  # restarts that reach the best and have met their stopping rule
    searches_on_best: int | None = None  # searches of starts from which restarts reach the best; None if not known
    passed_over: str | None = None  # higher optima that the rule of soundness does not count, and what to do, as text
    searches: int | None = None  # independent searches that all starts come from; None if not known
    stale: str | None = None  # the code that made the stored run, if it is not the present one
    heldout_gain: float | None = None  # held-out log density per point less em's, on the same points
    heldout_gain_error: float | None = None  # standard error of the mean difference over the points
    rivals: tuple[float, ...] = ()  # log_joint of other optima less than 1.92 nats below the best

    def __repr__(self) -> str:
        """The answer and how often it is reached; printing shows every figure."""
        if self.failure is not None:
            return line("MethodSummary", f"{self.method}: failed: {self.failure}")
        best = "no sound result" if self.best_log_joint is None else f"best log_joint {self.best_log_joint:.3f}"
        reached = f"{self.reached_best} of {self.restarts} restarts reach the best of all methods"
        return line("MethodSummary", f"{self.method}: {best}", reached)

    __str__ = as_text
    _repr_html_ = as_html


def sound_ends(comparison: Comparison, trace: Trace) -> np.ndarray:
    """Whether each restart ends on a sound mixture with a finite value. [R]"""
    healths = comparison.rule.check_all(comparison.problem, trace.ends)
    return np.asarray([h.sound for h in healths]) & ~trace.collapsed & np.isfinite(trace.log_joint[:, -1])


def best_log_joint(comparison: Comparison) -> float | None:
    """The highest log_joint among the sound answers of all methods; None if there is none."""
    best = _best_answer(comparison)
    return None if best is None else best[0]


def _best_answer(comparison: Comparison) -> tuple[float, Mixture] | None:
    """The highest log_joint among the sound answers of all methods, and its mixture; None if there is none."""
    answers = []
    for trace in comparison.values():
        place = trace.best_place(comparison.problem, comparison.rule)
        if place is not None:
            answers.append((float(trace.log_joint[place]), trace.at(*place)))
    return max(answers, key=lambda answer: answer[0], default=None)


@checks_arguments
def summarise(comparison: Comparison) -> list[MethodSummary]:
    """One summary for each method, in the order of the comparison; methods that failed come last."""
    best, scores = _best_answer(comparison), _heldout_scores(comparison, YARDSTICK)
    summaries = [
        replace(_summarise(comparison, name, best, scores), stale=comparison.stale.get(name)) for name in comparison
    ]
    return summaries + [_failed(name, why) for name, why in comparison.failures.items()]


def statuses_and_mixing(comparison: Comparison, name: str) -> tuple[list[RestartStatus], Mixing | None]:
    """Statuses of all restarts of a method, and the mixing of its chains; None unless it is a sampler."""
    trace = comparison[name]
    mixing = mixing_of(trace, comparison.problem)
    return restart_statuses(trace, comparison.problem, comparison.rule, mixing), mixing


def _heldout_scores(comparison: Comparison, name: str) -> np.ndarray | None:
    """The log predictive density of a method's answer at each held-out point; None if either is missing. [N']"""
    heldout = comparison.reference.heldout
    if heldout is None or name not in comparison:
        return None
    trace = comparison[name]
    answer = draws_of(trace) if trace.is_sampler else trace.best(comparison.problem, comparison.rule)
    return None if answer is None else heldout_scores(answer, heldout, missing=comparison.reference.missing)


def _summarise(
    comparison: Comparison, name: str, best: tuple[float, Mixture] | None, yardstick: np.ndarray | None
) -> MethodSummary:
    """The summary of one method, given the best answer of all, and the held-out scores of the yardstick."""
    trace, problem, reference = comparison[name], comparison.problem, comparison.reference
    statuses, mixing = statuses_and_mixing(comparison, name)
    counts = Counter(each.status for each in statuses)
    place, health = trace.best_found(problem, comparison.rule) or (None, None)
    mixture = None if place is None else trace.at(*place)
    value = None if best is None else best[0]
    sound = np.zeros(trace.num_restarts, bool) if trace.is_sampler else sound_ends(comparison, trace)
    rows, elsewhere = _on_the_best(problem, trace, sound, best)
    near = arrivals(trace, value, NEAR * problem.num_points)
    end = _highest_end(trace) if place is None else None
    short = health is None or health.merged
    whole = None if short or trace.is_sampler else mixture
    columns = comparison.columns or default_columns(problem.num_dimensions)
    evidence = None if trace.log_evidence is None else pooled_evidence(trace.log_evidence)
    passes = float(np.sum(trace.passes[:, -1]))
    scores = _heldout_scores(comparison, name)
    heldout = None if scores is None else Predictive.of(scores, reference.heldout_weights)
    gain = None
    if scores is not None and yardstick is not None and name != YARDSTICK:
        gain = Predictive.of(scores - yardstick, reference.heldout_weights)
    rand = None
    if reference.labels is not None and mixture is not None:
        rand = agreement_with(reference.labels, mixture, problem)
    over = None if trace.is_sampler else passed_over(problem, trace, comparison.rule, value)
    return MethodSummary(
        method=name,
        restarts=trace.num_restarts,
        best_log_likelihood=None if place is None else float(trace.log_likelihood[place]),
        best_log_joint=None if place is None else float(trace.log_joint[place]),
        heldout_log_density=None if heldout is None else heldout.log_density,
        heldout_standard_error=None if heldout is None else heldout.standard_error,
        statuses={status.name: counts[status] for status in sorted(counts)},
        reached_best=len(rows),
        passes_to_best=_median_passes(trace, rows),
        seconds_to_best=float(np.median([trace.seconds[t] for _, t in rows])) if rows else None,
        passes=passes,
        seconds=float(trace.seconds[-1]),
        compile_seconds=trace.compile_seconds,
        r_hat_max=None if mixing is None else mixing.r_hat_max,
        ess_min=None if mixing is None else mixing.ess_min,
        smallest_relative_eigenvalue=None if health is None else health.smallest_relative_eigenvalue,
        smallest_component_size=None if health is None else health.smallest_component_size,
        suspicious=None if health is None else health.suspicious,
        adjusted_rand_index=rand,
        matched_error=None if reference.truth is None or mixture is None else matched_error(mixture, reference.truth),
        optima=() if trace.is_sampler else optima_of(problem, trace, sound),
        lower_than_em=None if name == YARDSTICK else _lower(trace, comparison.traces.get(YARDSTICK)),
        near_best=None if trace.is_sampler else len(near),
        passes_to_near_best=None if trace.is_sampler else _median_passes(trace, near),
        log_evidence=None if evidence is None else evidence.log_evidence,
        log_evidence_standard_error=None if evidence is None else evidence.standard_error,
        evidence_bound=None if trace.evidence_bound is None else float(trace.evidence_bound[trace.highest_bound]),
        seconds_per_pass=float(trace.seconds[-1]) / passes if passes > 0 else None,
        ess_tail_min=None if mixing is None else mixing.ess_tail_min,
        e_bfmi=None if mixing is None else mixing.e_bfmi,
        distinct_components=None if health is None else health.distinct,
        merged=None if health is None else health.merged,
        tied_points=None if health is None else 0 if health.tie is None else health.tie.points,
        ended_log_likelihood=None if end is None else float(trace.log_likelihood[end]),
        ended_log_joint=None if end is None else float(trace.log_joint[end]),
        unsound=why_unsound(problem, trace, comparison.rule, columns) if short and not trace.is_sampler else None,
        sliver=None if whole is None else sliver_in(problem, whole, columns),
        equal_rows=None if whole is None else equal_rows(problem, whole, columns),
        equal_elsewhere=None if trace.is_sampler else elsewhere,
        searches_on_best=comparison.searches_of(trace, [restart for restart, _ in rows]),
        passed_over=None if over is None else over.words,
        searches=comparison.searches_of(trace, range(trace.num_restarts)),
        converged_on_best=sum(_has_stopped(trace, restart, statuses[restart].status) for restart, _ in rows),
        heldout_gain=None if gain is None else gain.log_density,
        heldout_gain_error=None if gain is None else gain.standard_error,
        rivals=() if best is None or trace.is_sampler else rivals_of(problem, trace, sound & trace.converged, best),
    )


def _has_stopped(trace: Trace, restart: int, status: Status) -> bool:
    """Whether the stopping rule was met, on a plateau or elsewhere."""
    return status == Status.CONVERGED or (status == Status.PLATEAU and bool(trace.converged[restart]))


def _failed(name: str, why: str) -> MethodSummary:
    blank: dict[str, Any] = dict.fromkeys(MethodSummary.__dataclass_fields__)
    blank |= {"restarts": 0, "reached_best": 0, "passes": 0.0, "seconds": 0.0, "compile_seconds": 0.0}
    return MethodSummary(**blank | {"method": name, "statuses": {}, "optima": (), "rivals": (), "failure": why})


def arrivals(trace: Trace, best: float | None, within: float) -> list[tuple[int, int]]:
    """Restart and first row of the restarts that come within some nats of the best, and neither leave it nor collapse.

    There are none for an approximation, which climbs another objective.
    """
    if best is None or trace.is_approximation:
        return []
    near = np.abs(trace.log_joint - best) <= within  # a spike passes the best on its way up, but does not stay
    stays = near.any(1) if trace.is_sampler else near[:, -1] & ~trace.collapsed
    return [(int(r), int(np.argmax(near[r]))) for r in np.flatnonzero(stays)]


def _on_the_best(
    problem: Problem, trace: Trace, sound: np.ndarray, best: tuple[float, Mixture] | None
) -> tuple[list[tuple[int, int]], int]:
    """Restart and first row of the restarts that reach the best, and the number that end at its value elsewhere.

    A restart that ends on another mixture has not reached the best. The draws of a sampler need not stay near it.
    """
    if best is None or trace.is_sampler:
        return arrivals(trace, None if best is None else best[0], WITHIN), 0
    rows = arrivals(trace, best[0], WITHIN)
    same = [sound[r] and same_optimum(problem, best[1], trace.at(r, -1)) for r, _ in rows]
    others = sum(bool(sound[r]) and not there for (r, _), there in zip(rows, same, strict=True))
    return [place for place, there in zip(rows, same, strict=True) if there], others


def _median_passes(trace: Trace, rows: list[tuple[int, int]]) -> float | None:
    """The median number of passes of some restarts and rows; None if there are none."""
    return float(np.median([trace.passes[place] for place in rows])) if rows else None


def _lower(trace: Trace, em: Trace | None) -> int | None:
    """Number of restarts that ended lower than em's from the same start; None for samplers, and without em.

    Restarts are left out if em collapsed, because its end is then the foot of a spike, or if a race dropped either.
    """
    if em is None or em.is_sampler or trace.is_sampler:
        return None
    shared = min(trace.num_restarts, em.num_restarts)
    ends, theirs = trace.log_joint[:shared, -1], em.log_joint[:shared, -1]
    fair = ~em.collapsed[:shared] & np.isfinite(theirs)
    for raced in (em, trace):
        fair &= True if raced.dropped is None else ~raced.dropped[:shared]
    # The comparison is negated so that an end that is NaN counts as lower.
    return int(np.sum(fair & ~(ends >= theirs - LOWER)))


def draws_of(trace: Trace) -> Mixture:
    """The draws with which a sampler predicts: those of all chains, or of an approximation's fit of highest bound.

    Leaves [S, ...].
    """
    if trace.evidence_bound is not None:
        return jax.tree.map(lambda leaf: leaf[trace.highest_bound], trace.answer)
    return jax.tree.map(lambda leaf: np.reshape(leaf, (-1, *leaf.shape[2:])), trace.answer)


def _highest_end(trace: Trace) -> tuple[int, int] | None:
    """Restart and row of the highest finite end, or of a sampler's highest draw, whether sound or not."""
    kept = max(trace.draws, 1)
    scores = np.where(np.isfinite(trace.log_joint[:, -kept:]), trace.log_joint[:, -kept:], -np.inf)
    restart, row = np.unravel_index(np.argmax(scores), scores.shape)
    return (int(restart), int(row) + trace.num_rows - kept) if np.isfinite(scores[restart, row]) else None
