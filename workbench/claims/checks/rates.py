"""Checks of rates: passes of EM and of other methods near an optimum, as overlap grows, and rates of estimates in N.

Passes are counted until a climb is within the threshold `tolerance`, in nats, of the optimum.
"""

import math
from dataclasses import replace

import numpy as np

from workbench.claims.decision import (
    LEVEL,
    Decision,
    Interval,
    NoErrorKnown,
    Varied,
    Verdict,
    across,
    number,
    undecided,
)
from workbench.claims.evidence import Limits, settings_of
from workbench.claims.statistics import by_median, normal_interval, normal_test, sign_test
from workbench.studies import Findings, Row
from workbench.studies.rate import crossing_of, place_of


def em_slows_with_overlap(findings: Findings, limits: Limits) -> Decision:
    """The ratio of EM's passes at each separation to those at the largest, for each simulated data set."""
    separations = _separations(findings)
    if len(separations) < 2:
        return undecided("The study needs simulated data at several separations.")
    far = _by_replication(findings, separations[-1], "em", limits)
    decisions = []
    for separation in separations[:-1]:
        near = _by_replication(findings, separation, "em", limits)
        ratios = np.asarray([near[r] / far[r] for r in near if r in far])
        found = by_median(
            ratios[np.isfinite(ratios)], 1.0, "times as many passes", "data sets", settings=settings_of(findings)
        )
        if found is not None:
            decisions.append((separation, found))
    if not decisions:
        return undecided(f"Too few data sets have an optimum at {separations[-1]:g} standard deviations and nearer.")
    (nearest, base), *others = decisions
    rows = [Varied.of(each, "separation", f"{s:g}", within=True) for s, each in others]
    note = f"At {nearest:g} against {separations[-1]:g} standard deviations."
    return across(_noted(base, note), rows, at=f"separation {nearest:g}")


def ascent_overtakes_em(findings: Findings, limits: Limits) -> Decision:
    """The separation below which L-BFGS needs fewer passes than EM.

    The missing information at the crossing is a property of a problem, and carries over to other data.
    """
    separations = _separations(findings)
    if not separations:
        return undecided("The study has no simulated data.")
    found = crossing_of(findings, limits["tolerance"])
    near = [_by_replication(findings, separations[0], name, limits) for name in ("em", "lbfgs")]
    logs = np.asarray([math.log(near[0][r] / near[1][r]) for r in near[0]])
    logs = logs[np.isfinite(logs)]
    if found is None:
        if len(logs) and np.max(logs) < 0:
            note = f"EM needs fewer passes, down to {separations[0]:g} standard deviations."
            return Decision(Verdict.FAILS, 0, "crossings", NoErrorKnown(), note, settings=settings_of(findings))
        return undecided("The two do not cross in two data sets or more.")
    # Each data set of the nearest separation says which of the two needs fewer passes.
    p = sign_test(logs, 0.0)
    interval = Interval(found.low, found.high, f"{found.crossed} data sets, Student's t")
    nearer = Verdict.HOLDS if np.median(logs) > 0 else Verdict.FAILS
    verdict = Verdict.UNDECIDED if p > LEVEL else nearer
    note = (
        f"The curves cross in {found.crossed} of {found.replications} data sets, where EM's rate is "
        f"{found.missing:.2f}; beyond it EM needs fewer passes."
    )
    return Decision(
        verdict, found.separation, "standard deviations apart", interval, note, p, settings=settings_of(findings)
    )


def acceleration_beats_ascent(findings: Findings, limits: Limits) -> Decision:
    """Passes of EM with Anderson's extrapolation over those of L-BFGS, at each separation."""
    decisions = []
    for separation in _separations(findings):
        counts = [_by_replication(findings, separation, name, limits) for name in ("anderson", "lbfgs")]
        ratios = np.asarray([counts[0][r] / counts[1][r] for r in counts[0] if r in counts[1]])
        # Fewer passes are a ratio below one; signs are changed so that more is more.
        found = by_median(
            -ratios[np.isfinite(ratios)], -1.0, "passes for each of L-BFGS", "data sets", settings=settings_of(findings)
        )
        if found is not None:
            decisions.append((separation, found))
    if not decisions:
        return undecided("Too few data sets have an optimum at any separation.")
    decisions = [(separation, _mirrored(found)) for separation, found in decisions]
    (nearest, base), *others = decisions
    rows = [Varied.of(each, "separation", f"{s:g}", within=True) for s, each in others]
    return across(_noted(base, f"At {nearest:g} standard deviations."), rows, at=f"separation {nearest:g}")


def ascent_is_dearer_on_clear_groups(findings: Findings, limits: Limits) -> Decision:
    """Passes of L-BFGS over those of EM where little information is missing, over all data sets of the study.

    Groups are *clear* if EM's rate, the largest fraction of missing information, is below the threshold. A simulated
    data set has the same noise at every separation, so that it counts once, by the median over its clear problems.
    """
    known = [row for row in findings.rows if row["rate"] is not None]
    rows = [row for row in known if np.isfinite(_passes(row, "lbfgs", limits) / _passes(row, "em", limits))]
    clear = [row for row in rows if _number(row["rate"]) < limits["missing"]]
    ratios: dict[tuple[object, object], list[float]] = {}
    for row in clear:
        ratio = _passes(row, "lbfgs", limits) / _passes(row, "em", limits)
        ratios.setdefault((row["subject"], row["replication"]), []).append(ratio)
    medians = np.asarray([np.median(each) for each in ratios.values()])
    found = by_median(-medians, -1.0, "passes for each pass of EM", "data sets", settings=settings_of(findings))
    if found is None:
        return undecided(f"Of {len(rows)} problems {len(clear)} have clear groups, which is too few.")
    note = f"Of {len(rows)} problems, those with less than {100 * limits['missing']:g} % of missing information."
    return _noted(_mirrored(found), note)


def equal_weights_give_a_quarter(findings: Findings, limits: Limits) -> Decision:
    """The slope of ln(error) on ln(N) of an over-specified fit with equal weights, without estimates that are 0.

    With equal weights the estimate is exactly 0 if the mean square of the points is at most one, in about half of all
    data sets whatever N. The error is the mean over the others.
    """
    rows, others = findings.where(weight=0.5).rows, [row for row in findings.rows if row["weight"] != 0.5]
    if not rows:
        return undecided("The study has no equal weights.")
    slope, error = _number(rows[0]["slope"]), _number(rows[0]["slope_error"])
    sizes = f"{rows[0].get('replications', '')} data sets at each of {len(rows)} N".strip()
    # The verdict is by the test against the usual slope, and fails if that of the theorem itself is refused.
    p, usual = (normal_test(slope, error, limits[name]) for name in ("slope", "usual"))
    if p <= LEVEL:
        verdict = Verdict.FAILS
    else:
        verdict = Verdict.HOLDS if usual <= LEVEL and slope < 0 else Verdict.UNDECIDED
    zeros = sum(_number(row["at_zero"]) for row in rows)
    note = f"{zeros:,.0f} estimates of 0 are left out."
    if others:
        note += f" With weights of {others[0]['weight']}: {_number(others[0]['slope']):.3f}."
    decisive = p if verdict == Verdict.FAILS else usual
    interval = normal_interval(slope, error, sizes)
    return Decision(
        verdict, slope, "slope of ln error on ln N", interval, note, decisive, settings=settings_of(findings)
    )


def stopping_when_it_stabilises(findings: Findings, limits: Limits) -> Decision:
    """How far from the optimum a rule stops that waits for a small rise of the mean log-likelihood, in standard errors.

    The rule is scikit-learn's. The rows of the study are starts, and the figure is the largest distance of any
    parameter from any of them.
    """
    rules = sorted({_number(row["tolerance"]) for row in findings.rows}, reverse=True)
    subjects = list(dict.fromkeys(str(row["subject"]) for row in findings.rows))
    if not rules:
        return undecided("The study stopped no climb.")
    default = min(rules, key=lambda tolerance: abs(math.log(tolerance / limits["usual"])))

    def decision(subject: str, tolerance: float) -> Decision:
        own = findings.where(subject=subject, tolerance=tolerance)
        off, short, passes = (own.column(name) for name in ("off", "short", "passes"))
        verdict = Verdict.HOLDS if np.max(off) <= limits["off"] else Verdict.FAILS
        note = (
            f"{len(off)} starts stop after {number(float(passes.min()))} to {number(float(passes.max()))} passes, "
            f"{number(float(short.min()))} to {number(float(short.max()))} nats short, and "
            f"{number(float(off.min()))} to {number(float(off.max()))} standard errors off."
        )
        return Decision(
            verdict,
            float(off.max()),
            "standard errors off, at most",
            NoErrorKnown(),
            note,
            settings=settings_of(findings),
        )

    rows = [
        Varied.of(decision(subject, tolerance), "rule", f"{tolerance:g} on {subject}", within=True)
        for subject in subjects
        for tolerance in rules
        if (subject, tolerance) != (subjects[0], default)
    ]
    return across(decision(subjects[0], default), rows, at=f"rule {default:g} on {subjects[0]}")


def _mirrored(found: Decision) -> Decision:
    """The decision on values whose signs were changed, with the figure and its interval as they were before."""
    assert isinstance(found.error, Interval) and found.value is not None
    interval = replace(found.error, low=-found.error.high, high=-found.error.low)
    return replace(found, value=-found.value, error=interval)


def _noted(found: Decision, note: str) -> Decision:
    return replace(found, note=note)


def _separations(findings: Findings) -> list[float]:
    """The separations of simulated data, ascending."""
    return sorted(_number(s) for s in findings.where(subject="simulated").values("separation"))


def _by_replication(findings: Findings, separation: float, name: str, limits: Limits) -> dict[object, float]:
    rows = findings.where(subject="simulated", separation=separation).rows
    return {row["replication"]: _passes(row, name, limits) for row in rows}


def _passes(row: Row, name: str, limits: Limits) -> float:
    """Passes of a method until it is within the tolerance; NaN where it does not come there."""
    values = row[f"{name}_to"]
    return _number(values[place_of(limits["tolerance"])]) if isinstance(values, list) else np.nan


def _number(value: object) -> float:
    return float(value) if isinstance(value, int | float) else np.nan
