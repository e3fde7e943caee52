"""Checks of climbs: the steps of EM and of gradient ascent from the same starts, and what they cost."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from workbench.claims.decision import (
    Decision,
    Exact,
    Interval,
    NoErrorKnown,
    Varied,
    Verdict,
    across,
    number,
    undecided,
)
from workbench.claims.evidence import Evidence, Limits, Ran, settings_of
from workbench.claims.statistics import by_median, by_share
from workbench.compare.summary import arrivals, best_log_joint
from workbench.diagnostics.proportion import Proportion
from workbench.geometry.singularity import falls
from workbench.loop.trace import Trace
from workbench.methods import EM, GradientAscent, Method
from workbench.mixture import Mixture
from workbench.studies import Findings, Row


def em_never_falls(evidence: Sequence[Evidence], limits: Limits) -> Decision:
    """The number of steps of EM after which log_joint was lower by more than rounding explains.

    EM checks every step itself, and the check compares the scores of the stored rows. Studies count the falls of EM
    under every prior. In one of collapse a component may be so narrow that squared distances lose their digits: a fall
    of at most `N eps / width^2` nats is rounding there.
    """
    traces = [trace for each in evidence if isinstance(each, Ran) for trace in each.of(EM).values()]
    studies = [each for each in evidence if isinstance(each, Findings)]
    rows = [row for each in studies for row in each.rows if _is_of(EM, each, row)]
    steps = sum(float(np.sum(trace.passes[:, -1])) for trace in traces) + sum(_count(row["steps"]) for row in rows)
    if not steps:
        return undecided("No stored run is one of EM.")
    by_hand, rounded = (sum(_count(row.get(n)) for row in rows) for n in ("log_joint_falls", "falls_in_rounding"))
    eps = limits["rounding"]
    lowered = sum(max(int(np.sum(~trace.ok[:, -1])), falls(trace.log_joint, eps)[0]) for trace in traces)
    lowered += by_hand - rounded
    verdict = Verdict.HOLDS if lowered == 0 else Verdict.FAILS
    note = f"{len(traces)} runs and {len(rows)} problems of studies; a fall is more than {eps:,.0f} eps of the value."
    if rounded:
        note += f" {rounded:,.0f} more are rounding next to a singularity: at most N eps / width^2 nats."
    return Decision(
        verdict,
        lowered,
        f"falls in {steps:,.0f} steps",
        Exact("steps of stored runs"),
        note,
        settings=settings_of(*evidence),
    )


def log_exceeds_sum(ran: Ran, limits: Limits) -> Decision:
    """The difference of `ln sum_k pi_k N_k` and `sum_k r_k ln (pi_k N_k)` at EM's best, in nats per point.

    It is the entropy of the responsibilities (an identity), so it is never negative, and it is zero only if every point
    belongs to a single component.
    """
    best = best_of(ran, EM)
    if best is None:
        return undecided("EM has no sound answer.")
    logs = np.asarray(best.component_log_joint(ran.problem.observations("the check")))  # [N, K]
    log_sum = np.asarray(best.log_density(ran.problem.observations("the check")))  # [N]
    log_r = logs - log_sum[:, None]
    r = np.exp(log_r)
    # A responsibility of zero contributes zero: 0 ln 0 = 0.
    gaps = log_sum - np.sum(np.where(r > 0, r * logs, 0.0), axis=1)
    entropies = -np.sum(np.where(r > 0, r * log_r, 0.0), axis=1)
    apart = float(np.max(np.abs(gaps - entropies)))
    holds = apart <= limits["rounding"] and np.min(gaps) >= -limits["rounding"] and np.max(gaps) > limits["rounding"]
    note = (
        f"The two sides differ by {number(apart)} nats at most; of {len(gaps):,} points the most blurred has an "
        f"entropy of {number(float(np.max(gaps)))}."
    )
    proof = Exact("an identity", proved=True)
    verdict = Verdict.HOLDS if holds else Verdict.FAILS
    return Decision(
        verdict, float(np.mean(gaps)), "nats per point, the mean entropy", proof, note, settings=settings_of(ran)
    )


def indicators_are_no_probabilities(ran: Ran, limits: Limits) -> Decision:
    """The number of points whose responsibilities are neither 0 nor 1, so that they are no value of an indicator.

    `z_nk` is 0 or 1, and `gamma_nk = P(z_nk = 1 | x_n) = E[z_nk | x_n]` by Bayes' rule (Bishop 2006, eq. 9.13).
    """
    best = best_of(ran, EM)
    if best is None:
        return undecided("EM has no sound answer.")
    r = np.asarray(best.responsibilities(ran.problem.observations("the check")))
    joint = np.exp(np.asarray(best.component_log_joint(ran.problem.observations("the check"))))
    apart = float(np.max(np.abs(r - joint / np.sum(joint, axis=1, keepdims=True))))
    between = int(np.sum(np.any((r > limits["fraction"]) & (r < 1 - limits["fraction"]), axis=1)))
    verdict = Verdict.FAILS if between and apart <= limits["rounding"] else Verdict.HOLDS
    note = f"gamma is the expectation of z given x, to {number(apart)}; z itself is an indicator."
    unit = f"of {len(r)} points have a gamma that no indicator takes"
    return Decision(verdict, between, unit, Exact("a definition", proved=True), note, settings=settings_of(ran))


def updates_are_averages(ran: Ran, limits: Limits) -> Decision:
    """The largest difference between one EM step of the package and weighted averages of the data, in NumPy."""
    best = best_of(ran, EM)
    if best is None:
        return undecided("EM has no sound answer.")
    if ran.problem.prior.proper or ran.problem.covariance.name != "full":
        return undecided("The weighted averages are those without a prior, and with full covariances.")
    start = next(iter(ran.of(EM).values())).at(0, 0)
    image, x = ran.problem.em_step(start)[0], np.asarray(ran.problem.observations("the check"))
    r = np.asarray(start.responsibilities(x))
    counts = r.sum(axis=0)
    means = r.T @ x / counts[:, None]
    about = x[:, None] - means  # [N, K, D]
    covariances = np.einsum("nk,nkd,nke->kde", r, about, about) / counts[:, None, None]
    pairs = (image.weights, counts / len(x)), (image.means, means), (image.covariances, covariances)
    gap = max(float(np.max(np.abs(np.asarray(a) - b)) / np.max(np.abs(b))) for a, b in pairs)
    verdict = Verdict.HOLDS if gap <= limits["rounding"] else Verdict.FAILS
    note = "Weights average the responsibilities; means and covariances average points, weighted by them."
    return Decision(
        verdict, gap, "relative difference at most", Exact("an identity", proved=True), note, settings=settings_of(ran)
    )


def old_mean_is_no_m_step(ran: Ran, limits: Limits) -> Decision:
    """What a covariance about the old mean loses of the M-step, in nats of the likelihood after one step from a start.

    `Sigma' = S + (m - mu)(m - mu)^T` with S the weighted covariance about the new mean m. It is the maximum over Sigma
    at the old mean, so that this and the new mean are two conditional steps that never lower Q: a generalised EM step
    (Dempster, Laird & Rubin 1977, sec. 2). At a fixed point m = mu, and both steps have the same fixed points.
    """
    traces = list(ran.of(EM).values())
    if not traces or ran.problem.covariance.name != "full" or ran.problem.prior.proper:
        return undecided("The experiment needs EM, without a prior, and full covariances.")
    trace, x = traces[0], np.asarray(ran.problem.observations("the check"))
    rises, losses = [], []
    for restart in range(min(trace.num_restarts, int(limits["starts"]))):
        start = trace.at(restart, 0)
        image = ran.problem.em_step(start)[0]
        moved = np.asarray(image.means) - np.asarray(start.means)
        wider = np.asarray(image.covariances) + moved[:, :, None] * moved[:, None, :]
        other = Mixture.from_covariances(np.asarray(image.weights), np.asarray(image.means), wider)
        before, full, partial = (float(np.sum(m.log_density(x))) for m in (start, image, other))
        rises.append(partial - before)
        losses.append(full - partial)
    best = best_of(ran, EM)
    left = 0.0 if best is None else float(np.max(np.abs(ran.problem.em_step(best)[0].means - best.means)))
    fell = sum(rise < -limits["rounding"] for rise in rises)
    note = (
        f"Its step rises from all but {fell} of {len(rises)} starts, by {number(float(np.min(rises)))} nats at least; "
        f"at EM's best the means still move by {number(left)}, so that both steps have it as a fixed point."
    )
    # As an M-step it would reach the same mixture.
    verdict = Verdict.FAILS if np.median(losses) > limits["rounding"] and not fell else Verdict.HOLDS
    return Decision(
        verdict,
        float(np.median(losses)),
        "nats lost in one step, at the median",
        NoErrorKnown(),
        note,
        settings=settings_of(ran),
    )


def direct_ascent_cannot(evidence: Sequence[Ran], limits: Limits) -> Decision:
    """The number of data sets on which no direct ascent of the likelihood comes to the best optimum of EM."""
    rows, missed = [], 0
    for ran in evidence:
        tops = [_highest(ran, kind) for kind in (EM, GradientAscent)]
        if None in tops:
            continue
        em, ascent = (float(top or 0.0) for top in tops)
        short = em - ascent > limits["within"]
        missed += short
        verdict = Verdict.HOLDS if short else Verdict.FAILS
        figure = f"{number(ascent - em)} nats above EM's best" if ascent != em else "EM's best"
        rows.append(Varied("data set", ran.name, True, verdict, figure, NoErrorKnown()))
    if not rows:
        return undecided("No experiment has both EM and direct ascent with a sound answer.")
    verdict = Verdict.HOLDS if missed == len(rows) else Verdict.FAILS
    unit = f"of {len(rows)} data sets where direct ascent ends below EM's best"
    return across(
        Decision(verdict, missed, unit, Exact("best ends of stored runs"), settings=settings_of(*evidence)), rows
    )


def ascent_needs_fewer_passes(ran: Ran, limits: Limits) -> Decision:
    """Passes of L-BFGS over passes of EM to the best, from the same starts: the median ratio."""
    pair, best = pair_of(ran), best_log_joint(ran.comparison)
    if pair is None or best is None:
        return undecided("The experiment does not have both EM and L-BFGS, or nothing sound.")
    passes = [_passes_to(trace, best, limits["within"]) for trace in pair]
    both = np.isfinite(passes[0]) & np.isfinite(passes[1])
    ratios = passes[1][both] / passes[0][both]
    found = by_median(-ratios, -1.0, "passes for each pass of EM", "starts on one data set", settings=settings_of(ran))
    if found is None:
        return undecided(f"{len(ratios)} starts lead both to the best optimum, which is too few.")
    em, ascent = (float(np.median(each[both])) for each in passes)
    note = f"EM {number(em)}, L-BFGS {number(ascent)} passes, from {len(ratios)} starts that lead both to the best."
    return negated(found, note)


def em_ends_higher(evidence: Sequence[Ran], limits: Limits) -> Decision:
    """The share of starts in which EM ends higher, among those from which EM and L-BFGS end on different optima.

    Each experiment is decided for itself. Opposite answers are not pooled: the figure is that of the first, and the
    sentence depends on the data set if two of them differ.
    """
    found = [(ran.name, _higher(ran, limits["within"])) for ran in evidence]
    parted = [(name, each) for name, each in found if each is not None]
    if not parted:
        return undecided("Both end on the same optimum from every start of every experiment.")
    rows = [Varied.of(each, "data set", name, within=True) for name, each in parted[1:]]
    return across(parted[0][1], rows, at=parted[0][0])


def best_of(ran: Ran, kind: type[Method]) -> Mixture | None:
    """The best sound answer of the methods of a class."""
    best = [trace.best_place(ran.problem, ran.comparison.rule) for trace in ran.of(kind).values()]
    found = [(trace, place) for trace, place in zip(ran.of(kind).values(), best, strict=True) if place is not None]
    return max(((t.log_joint[p], t.at(*p)) for t, p in found), key=lambda each: each[0], default=(0.0, None))[1]


def pair_of(ran: Ran) -> tuple[Trace, Trace] | None:
    """The traces of EM and of L-BFGS, which began at the same starts."""
    em = next(iter(ran.of(EM).values()), None)
    methods = ran.experiment.methods
    lbfgs = [t for name, t in ran.of(GradientAscent).items() if getattr(methods[name], "optimizer", "") == "lbfgs"]
    return None if em is None or not lbfgs else (em, lbfgs[0])


def negated(found: Decision, note: str) -> Decision:
    """The decision on values whose signs were changed, with the figure and its interval as they were before."""
    assert isinstance(found.error, Interval) and found.value is not None
    interval = replace(found.error, low=-found.error.high, high=-found.error.low)
    return replace(found, value=-found.value, error=interval, note=note)


def _higher(ran: Ran, within: float) -> Decision | None:
    """Whether EM ends higher from most of the starts that part the two; None if no start does."""
    pair = pair_of(ran)
    if pair is None:
        return None
    em, ascent = pair
    sound = ran.sound_ends(em) & ran.sound_ends(ascent)
    gap = np.where(sound, em.log_joint[:, -1] - ascent.log_joint[:, -1], 0.0)
    higher, lower = int(np.sum(gap > within)), int(np.sum(gap < -within))
    if not higher + lower:
        return None
    found = by_share(
        Proportion(higher, higher + lower),
        0.5,
        "% of the starts that part them",
        "starts that part them",
        settings=settings_of(ran),
    )
    note = f"EM ends higher from {higher}, lower from {lower}, and as high from the rest of {np.sum(sound)} starts."
    return replace(found, note=note)


def _highest(ran: Ran, kind: type[Method]) -> float | None:
    """The highest sound log_joint of the methods of a class."""
    traces = ran.of(kind).values()
    places = [(trace, trace.best_place(ran.problem, ran.comparison.rule)) for trace in traces]
    return max((float(trace.log_joint[place]) for trace, place in places if place is not None), default=None)


def _passes_to(trace: Trace, best: float, within: float) -> np.ndarray:
    """Passes until each restart came to the best, to so many nats, and stayed there; infinite if it did not. [R]"""
    passes = np.full(trace.num_restarts, np.inf)
    for restart, row in arrivals(trace, best, within):
        passes[restart] = max(float(trace.passes[restart, row]), 1.0)
    return passes


def _is_of(kind: type[Method], findings: Findings, row: Row) -> bool:
    """Whether a row of a study counts the steps of a method of a class."""
    methods = getattr(findings.study, "methods", {})
    return row.get("steps") is not None and isinstance(methods.get(row["method"]), kind)


def _count(value: object) -> int:
    return int(value) if isinstance(value, int | float) else 0
