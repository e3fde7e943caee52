"""Checks of climbs: the steps and the ends of EM and of gradient ascent from the same starts."""

import math
from collections import Counter
from collections.abc import Sequence

import jax
import numpy as np

from workbench.claims.decision import Decision, Verdict, beside, median_interval, number, undecided
from workbench.claims.evidence import Ran
from workbench.compare.summary import WITHIN, arrivals, best_log_joint
from workbench.diagnostics.proportion import Proportion
from workbench.geometry.atlas import Atlas, atlas_of
from workbench.geometry.singularity import Flat, escape, falls
from workbench.geometry.stationary import Kind
from workbench.loop.trace import Trace
from workbench.methods import EM, GradientAscent, Method
from workbench.mixture import Mixture


def em_never_falls(evidence: Sequence[Ran]) -> Decision:
    """The number of steps of EM after which log_joint was lower by more than rounding.

    EM checks every step itself, and the check compares the scores of the stored rows.
    """
    traces = [trace for ran in evidence for trace in ran.of(EM).values()]
    steps = sum(float(np.sum(trace.passes[:, -1])) for trace in traces)
    if not steps:
        return undecided("No stored run is one of EM.")
    lowered = sum(max(int(np.sum(~trace.ok[:, -1])), falls(trace.log_joint)[0]) for trace in traces)
    verdict = Verdict.HOLDS if lowered == 0 else Verdict.FAILS
    starts = sum(trace.num_restarts for trace in traces)
    note = f"{starts:,} starts of {len(evidence)} experiments."
    return Decision(verdict, lowered, f"falls in {steps:,.0f} steps", note=note)


def log_exceeds_sum(ran: Ran) -> Decision:
    """The difference of `ln sum_k pi_k N_k` and `sum_k r_k ln (pi_k N_k)` at EM's best, in nats per point.

    It is the entropy of the responsibilities, so it is never negative (Jensen's inequality), and it is zero only if
    every point belongs to a single component.
    """
    best = _best_of(ran, EM)
    if best is None:
        return undecided("EM has no sound answer.")
    logs = np.asarray(best.component_log_joint(ran.problem.x))  # [N, K]
    log_sum = np.asarray(best.log_density(ran.problem.x))  # [N]
    r = np.exp(logs - log_sum[:, None])
    # A responsibility of zero contributes zero: 0 ln 0 = 0.
    sum_of_logs = np.sum(np.where(r > 0, r * logs, 0.0), axis=1)
    gaps = log_sum - sum_of_logs
    gap, error = float(np.mean(gaps)), float(np.std(gaps, ddof=1) / np.sqrt(len(gaps)))
    interval = (gap - 1.96 * error, gap + 1.96 * error)
    blurred = int(np.sum(r.max(axis=1) < 0.99))
    note = f"{blurred:,} of {len(gaps):,} points belong to no component by more than 99 %."
    # If every point belongs to a single component to the last digit, only rounding is left.
    verdict = Verdict.FAILS if gap < 1e-12 else beside(interval, 0.0)
    return Decision(verdict, gap, "nats per point", interval, note)


def ascent_needs_fewer_passes(ran: Ran) -> Decision:
    """Passes of L-BFGS over passes of EM to the best, from the same starts: the median ratio."""
    pair, best = _pair(ran), best_log_joint(ran.comparison)
    if pair is None or best is None:
        return undecided("The experiment does not have both EM and L-BFGS, or nothing sound.")
    passes = [_passes_to(trace, best) for trace in pair]
    both = np.isfinite(passes[0]) & np.isfinite(passes[1])
    ratios = passes[1][both] / passes[0][both]
    interval = median_interval(ratios)
    if interval is None:
        return undecided(f"{len(ratios)} starts lead both to the best optimum, which is too few.")
    opposite = (-interval[1], -interval[0])
    em, ascent = (float(np.median(each[both])) for each in passes)
    note = f"EM {number(em)}, L-BFGS {number(ascent)} passes, from {len(ratios)} starts that lead both to the best."
    return Decision(beside(opposite, -1.0), float(np.median(ratios)), "passes for each pass of EM", interval, note)


def em_ends_higher(evidence: Sequence[Ran]) -> Decision:
    """The share of starts in which EM ends higher, among those from which EM and L-BFGS end on different optima."""
    pairs = [(ran, _pair(ran)) for ran in evidence]
    higher = lower = starts = 0
    for ran, pair in pairs:
        if pair is None:
            continue
        em, ascent = pair
        sound = ran.sound_ends(em) & ran.sound_ends(ascent)
        gap = np.where(sound, em.log_joint[:, -1] - ascent.log_joint[:, -1], 0.0)
        higher, lower = higher + int(np.sum(gap > WITHIN)), lower + int(np.sum(gap < -WITHIN))
        starts += int(np.sum(sound))
    if higher + lower == 0:
        return undecided(f"From all {starts} starts both end on the same optimum.")
    share = Proportion(higher, higher + lower)
    note = f"EM ends higher from {higher}, lower from {lower}, and as high from the rest of {starts} starts."
    return Decision(beside(share.interval, 0.5), share.share, "of the starts that part them", share.interval, note)


def _best_of(ran: Ran, kind: type[Method]) -> Mixture | None:
    """The best sound answer of the methods of a class."""
    best = [trace.best_place(ran.problem, ran.comparison.rule) for trace in ran.of(kind).values()]
    found = [(trace, place) for trace, place in zip(ran.of(kind).values(), best, strict=True) if place is not None]
    return max(((t.log_joint[p], t.at(*p)) for t, p in found), key=lambda each: each[0], default=(0.0, None))[1]


def _pair(ran: Ran) -> tuple[Trace, Trace] | None:
    """The traces of EM and of L-BFGS, which began at the same starts."""
    em = next(iter(ran.of(EM).values()), None)
    methods = ran.experiment.methods
    lbfgs = [t for name, t in ran.of(GradientAscent).items() if getattr(methods[name], "optimizer", "") == "lbfgs"]
    return None if em is None or not lbfgs else (em, lbfgs[0])


def _passes_to(trace: Trace, best: float) -> np.ndarray:
    """Passes until each restart came to the best and stayed there; infinite if it did not. [R]"""
    passes = np.full(trace.num_restarts, np.inf)
    for restart, row in arrivals(trace, best, WITHIN):
        passes[restart] = max(float(trace.passes[restart, row]), 1.0)
    return passes


# The width to which a component on a brink is narrowed, as a share of the data's, and the number of widths on the way.
NARROWED = 1e-10
WIDTHS = 12

# Most brinks that are examined, highest first. One is enough to show that the likelihood has no bound.
MOST_BRINKS = 4


def em_ends_on_maxima(ran: Ran) -> Decision:
    """The share of EM's starts that end on a strict and sound local maximum. The claim holds if all of them do."""
    atlas = _atlas(ran)
    if atlas is None:
        return undecided("The experiment does not have EM.")
    kinds = Counter(atlas.kinds)
    share = Proportion(kinds[Kind.MAXIMUM], atlas.starts)
    others = ", ".join(f"{count} {kind.value}" for kind, count in kinds.items() if kind != Kind.MAXIMUM)
    verdict = Verdict.HOLDS if share.successes == share.trials else Verdict.FAILS
    note = f"Ends that are no strict maximum: {others or 'none'}, of {atlas.starts}."
    return Decision(verdict, 100 * share.share, "% of starts", _percent(share), note)


def several_maxima(ran: Ran) -> Decision:
    """The number of distinct strict maxima, up to labels, on which EM's starts end.

    A function that is concave in any coordinates has at most one.
    """
    atlas = _atlas(ran)
    if atlas is None:
        return undecided("The experiment does not have EM.")
    maxima = [basin for basin in atlas.optima if basin.kind == Kind.MAXIMUM]
    if not maxima:
        return undecided("No start of EM ends on a strict maximum.")
    values = [basin.log_joint for basin in maxima]
    low, high = _percent(maxima[0].share)
    gap = number(max(values) - min(values))
    note = f"The worst lies {gap} nats below the best, which {number(low)} to {number(high)} % of starts reach (95 %)."
    verdict = Verdict.HOLDS if len(maxima) > 1 else Verdict.FAILS
    return Decision(verdict, len(maxima), "distinct strict maxima", note=note)


def best_start_is_a_spike(ran: Ran) -> Decision:
    """The nats by which the likelihood rises above the best sound optimum, from the ends that are not sound.

    A climb stops on the brink of a singular covariance. From there its narrowest component is narrowed further onto the
    points that it holds, while everything else is held fixed.
    """
    best, starts, brinks = best_log_joint(ran.comparison), 0, []
    if best is None:
        return undecided("No climb ended on a sound mixture.")
    for trace in ran.climbs.values():
        starts += trace.num_restarts
        lost = ~ran.sound_ends(trace) & np.isfinite(trace.log_joint[:, -1])
        brinks += [(float(trace.log_joint[r, -1]), trace.at(int(r), -1)) for r in np.flatnonzero(lost)]
    highest = sorted(brinks, key=lambda brink: -brink[0])[:MOST_BRINKS]
    top = max((max(score, _beyond(ran, end)) for score, end in highest), default=-math.inf)
    note = f"{len(brinks)} of {starts} climbs end on a brink; the width is narrowed to {NARROWED:g} of the data's."
    if not top > best + WITHIN:
        return Decision(Verdict.FAILS, 0, "nats above the best sound optimum", note=note)
    return Decision(Verdict.HOLDS, top - best, "nats above the best sound optimum, and rising", note=note)


def _atlas(ran: Ran) -> Atlas | None:
    """The atlas of the stored ends of EM."""
    for name, trace in ran.of(EM).items():
        rule = str(ran.experiment.starts.model_dump()["rule"])
        return atlas_of(ran.problem, trace, method=name, rule=rule, soundness=ran.comparison.rule)
    return None


def _beyond(ran: Ran, end: Mixture) -> float:
    """The highest log-likelihood on the way from a brink into its singularity; minus infinity if there is none."""
    problem = ran.problem
    if problem.covariance.is_shared:
        return -math.inf
    component, rows = _held(ran, end)
    if not rows:
        return -math.inf
    mixture = jax.tree.map(jax.numpy.asarray, end)
    widths = np.linspace(math.log(1e-3), math.log(NARROWED), WIDTHS)
    values = escape(problem, mixture, component, Flat.through(problem, rows), widths).log_likelihoods
    return float(np.max(values, where=np.isfinite(values), initial=-np.inf))


def _held(ran: Ran, end: Mixture) -> tuple[int, tuple[int, ...]]:
    """The narrowest component, and the rows onto which it shrinks: one, or up to D for a full covariance."""
    problem = ran.problem
    trils = np.asarray(problem.rows.to_working(end).scale_trils)
    component = int(np.argmin(np.linalg.svd(trils, compute_uv=False)[:, -1]))
    held = np.flatnonzero(np.asarray(end.responsibilities(problem.x))[:, component] > 0.5)
    most = problem.num_dimensions if problem.covariance.is_unrestricted else 1
    return component, tuple(int(row) for row in held[:most])


def _percent(share: Proportion) -> tuple[float, float]:
    low, high = share.interval
    return 100 * low, 100 * high
