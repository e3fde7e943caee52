"""Checks of uncertainty: agreement of standard errors, and the coverage of intervals."""

from dataclasses import dataclass

import numpy as np

from workbench.claims.decision import Decision, Verdict, number, undecided
from workbench.diagnostics.proportion import Proportion
from workbench.studies import Findings, Row
from workbench.studies.uncertainty import NOMINAL

# Largest relative difference of standard errors that should differ only by rounding (Louis), or by differences of the
# EM map in place of its derivatives (supplemented EM).
SAME = {"louis": 1e-8, "supplemented": 1e-3}

# A coverage that is significantly above this counts as near the nominal one.
NEAR_NOMINAL = 0.9


def information_by_em_agrees(findings: Findings) -> Decision:
    """The largest relative difference between standard errors from EM and those from the observed information."""
    rows = [row for row in findings.rows if row["observed"] is not None]
    if not rows:
        return undecided("No subject has an optimum with standard errors.")
    gaps = {}
    for way in SAME:
        known = [row for row in rows if row[way] is not None]
        if not known:
            return undecided(f"No subject has standard errors by {way}.")
        observed, other = (np.asarray([row[name] for row in known], float) for name in ("observed", way))
        gaps[way] = float(np.max(np.abs(other / observed - 1.0)))
    verdict = Verdict.HOLDS if all(gaps[way] <= bound for way, bound in SAME.items()) else Verdict.FAILS
    largest = max(gaps.values())
    subjects = len({row["subject"] for row in rows})
    note = f"{len(rows)} parameters of {subjects} subjects; Louis' formula alone: {number(gaps['louis'])}."
    return Decision(verdict, largest, "relative difference at most", note=note)


def wald_covers_clear_groups(findings: Findings) -> Decision:
    """The smallest coverage of the Wald intervals of any parameter, at the largest separation and sample size."""
    wald = findings.where(way="wald")
    if not wald.rows:
        return undecided("The study has no Wald intervals.")
    worst = Worst.of(wald.where(separation=max(wald.values("separation")), points=max(wald.values("points"))))
    if worst.falls_short:
        return worst.decision(Verdict.FAILS)
    return worst.decision(Verdict.HOLDS if worst.is_near else Verdict.UNDECIDED)


def wald_falls_short_on_overlap(findings: Findings) -> Decision:
    """The smallest coverage of the Wald intervals of any parameter, at the smallest separation and sample size."""
    wald = findings.where(way="wald")
    if not wald.rows:
        return undecided("The study has no Wald intervals.")
    worst = Worst.of(wald.where(separation=min(wald.values("separation")), points=min(wald.values("points"))))
    if worst.falls_short:
        return worst.decision(Verdict.HOLDS)
    return worst.decision(Verdict.FAILS if worst.is_near else Verdict.UNDECIDED)


@dataclass(frozen=True)
class Worst:
    """The parameter of smallest coverage in one cell."""

    row: Row
    share: Proportion
    interval: tuple[float, float]  # simultaneous for all parameters (Bonferroni)

    @classmethod
    def of(cls, findings: Findings) -> "Worst":
        """The parameter of smallest coverage among the rows."""
        counts = zip(findings.column("covered"), findings.column("replications"), strict=True)
        shares = [Proportion(int(covered), int(trials)) for covered, trials in counts]
        place = int(np.argmin([share.share for share in shares]))
        confidence = 1.0 - (1.0 - 0.95) / len(shares)
        return cls(findings.rows[place], shares[place], shares[place].interval_at(confidence))

    @property
    def falls_short(self) -> bool:
        """Whether the coverage is significantly below the nominal one."""
        return self.interval[1] < NOMINAL

    @property
    def is_near(self) -> bool:
        """Whether the coverage is significantly above `NEAR_NOMINAL`."""
        return self.interval[0] > NEAR_NOMINAL

    def decision(self, verdict: Verdict) -> Decision:
        """The verdict with the coverage."""
        row, (low, high) = self.row, self.interval
        note = (
            f"{row['parameter']}, at {row['separation']:g} standard deviations and N = {row['points']:,}; "
            f"{row['missing']} of {self.share.trials:,} data sets have no interval."
        )
        return Decision(verdict, 100 * self.share.share, "% of intervals hold the truth", (100 * low, 100 * high), note)
