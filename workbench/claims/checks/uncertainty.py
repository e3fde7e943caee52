"""Checks of uncertainty: agreement of standard errors, and the coverage of intervals."""

from dataclasses import dataclass, replace

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
from workbench.claims.statistics import share_interval, share_test
from workbench.diagnostics.proportion import Proportion
from workbench.studies import Findings, Row
from workbench.studies.uncertainty import NOMINAL


def information_by_em_agrees(findings: Findings, limits: Limits) -> Decision:
    """The largest relative difference between standard errors from EM and those from the observed information."""
    rows = [row for row in findings.rows if row["observed"] is not None]
    if not rows:
        return undecided("No subject has an optimum with standard errors.")
    gaps = {}
    for way in ("louis", "supplemented"):
        known = [row for row in rows if row[way] is not None]
        if not known:
            return undecided(f"No subject has standard errors by {way}.")
        observed, other = (np.asarray([row[name] for row in known], float) for name in ("observed", way))
        gaps[way] = float(np.max(np.abs(other / observed - 1.0)))
    verdict = Verdict.HOLDS if all(gaps[way] <= limits[way] for way in gaps) else Verdict.FAILS
    subjects = len({row["subject"] for row in rows})
    note = f"{len(rows)} parameters of {subjects} subjects; Louis' formula alone: {number(gaps['louis'])}."
    return Decision(
        verdict, max(gaps.values()), "relative difference at most", NoErrorKnown(), note, settings=settings_of(findings)
    )


def wald_covers_clear_groups(findings: Findings, limits: Limits) -> Decision:
    """The smallest coverage of the Wald intervals of any parameter, at the largest separation and sample size.

    It holds if that coverage is significantly above the threshold `near`, and fails if it is significantly below the
    nominal one.
    """
    return _covers(findings, limits, clear=True)


def wald_falls_short_on_overlap(findings: Findings, limits: Limits) -> Decision:
    """The smallest coverage of the Wald intervals of any parameter, at the smallest separation and sample size.

    A data set without an interval is counted as a miss in the figure, and is left out in the table beside it: an
    interval that does not exist is another failure than one that misses.
    """
    return _covers(findings, limits, clear=False)


def _covers(findings: Findings, limits: Limits, *, clear: bool) -> Decision:
    wald = findings.where(way="wald")
    if not wald.rows:
        return undecided("The study has no Wald intervals.")
    of = max if clear else min
    place = {name: of(wald.values(name)) for name in ("separation", "points")}
    own = wald.where(**place)
    base = _Worst.of(own, missing=True).decision(limits, clear=clear)
    there = _Worst.of(own, missing=False).decision(limits, clear=clear)
    rows = [Varied.of(there, "no interval", "left out", within=True)]
    for name, value in place.items():
        for other in sorted(wald.values(name)):
            cell = wald.where(**{**place, name: other})
            if other != value and cell.rows:
                decision = _Worst.of(cell, missing=True).decision(limits, clear=clear)
                rows.append(Varied.of(decision, name, f"{other:g}", within=False))
    return across(base, rows, at="no interval counted as a miss")


@dataclass(frozen=True)
class _Worst:
    """The parameter of smallest coverage in one cell."""

    row: Row
    share: Proportion
    parameters: int
    settings: str

    @classmethod
    def of(cls, findings: Findings, *, missing: bool) -> "_Worst":
        """The parameter of smallest coverage among the rows, with data sets without an interval as misses or not."""
        shares = []
        for row in findings.rows:
            covered, trials, lost = (_whole(row[name]) for name in ("covered", "replications", "missing"))
            shares.append(Proportion(covered, max(1, trials - (0 if missing else lost))))
        place = int(np.argmin([share.share for share in shares]))
        return cls(findings.rows[place], shares[place], len(shares), settings_of(findings))

    def decision(self, limits: Limits, *, clear: bool) -> Decision:
        """The verdict with the coverage; intervals and p-values are simultaneous for all parameters (Bonferroni)."""
        interval = share_interval(self.share, "data sets", 1.0 - LEVEL / self.parameters)
        short = interval.high < NOMINAL
        near = interval.low > limits["near"]
        good, bad = (Verdict.HOLDS, Verdict.FAILS) if clear else (Verdict.FAILS, Verdict.HOLDS)
        verdict = bad if short else good if near else Verdict.UNDECIDED
        p = min(1.0, self.parameters * share_test(self.share, NOMINAL if short else limits["near"]))
        row = self.row
        note = (
            f"{row['parameter']}, at {row['separation']:g} standard deviations and N = {row['points']:,}; "
            f"{row['missing']} of {row['replications']:,} data sets have no interval."
        )
        shown = Interval(100 * interval.low, 100 * interval.high, interval.over, interval.level)
        unit = "% of intervals hold the truth"
        return replace(
            Decision(verdict, 100 * self.share.share, unit, shown, p_value=p, settings=self.settings), note=note
        )


def _whole(value: object) -> int:
    return int(value) if isinstance(value, int | float) else 0
