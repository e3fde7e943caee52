"""The decision on a claim: a verdict, its figure, how sure the figure is, and where the verdict turns.

The types refuse what a referee would: a verdict without its settings, an "exact" share, an interval that does not say
what was replicated, a verdict by an interval without the p-value of the test, and a verdict of "holds" beside a setting
of the sentence's own in which it fails.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import TypeAlias

# Family-wise level of the ledger's tests, and the level of each test before it is adjusted.
LEVEL = 0.05


class Verdict(StrEnum):
    """The verdict on a claim."""

    HOLDS = "holds"
    FAILS = "fails"
    DEPENDS = "depends"
    UNDECIDED = "not decided"

    @property
    def opposite(self) -> "Verdict | None":
        """Fails for holds, holds for fails; None for the others."""
        return {Verdict.HOLDS: Verdict.FAILS, Verdict.FAILS: Verdict.HOLDS}.get(self)


@dataclass(frozen=True)
class Exact:
    """A figure without error: counted in deterministic runs, summed over all that there is, or proved.

    Attributes:
        of: what was counted or summed, or the proof.
        proved: whether the figure follows from a proof, and the run tests only the code.
        terms: the number of terms of a complete sum; 0 for a count, which is a whole number.
    """

    of: str
    proved: bool = False
    terms: int = 0

    def __str__(self) -> str:
        return f"{'proved' if self.proved else 'exact'}: {f'all {self.terms:,} ' if self.terms else ''}{self.of}"


@dataclass(frozen=True)
class Interval:
    """A confidence interval over independent replications.

    Attributes:
        low: its lower end.
        high: its upper end.
        over: what was replicated independently, as "8 data sets".
        level: its confidence.

    Raises:
        ValueError: the ends are in the wrong order, or nothing is named that was replicated.
    """

    low: float
    high: float
    over: str
    level: float = 0.95

    def __post_init__(self) -> None:
        if not self.low <= self.high:
            raise ValueError(f"an interval from {self.low} to {self.high}")
        if not self.over:
            raise ValueError("an interval must say what was replicated")

    def __str__(self) -> str:
        level = "" if self.level == 0.95 else f"{100 * self.level:.3g} %, "
        return f"{number(self.low)} to {number(self.high)} ({level}{self.over})"


@dataclass(frozen=True)
class NoErrorKnown:
    """A figure of one run or one data set, of which nothing is known but its value."""

    def __str__(self) -> str:
        return "no error known"


Error: TypeAlias = Exact | Interval | NoErrorKnown


@dataclass(frozen=True)
class Varied:
    """The verdict under one other setting.

    Attributes:
        what: what is varied, as "seed", "tolerance", "family", "data set".
        at: its value.
        within: whether the sentence speaks of this setting, so that another verdict here contradicts it.
        verdict: the verdict there.
        figure: the figure with its unit, as text.
        error: how sure the figure is; None if there is none.
        p_value: of the test that decided there, before any adjustment; None where a count or a proof decided.
    """

    what: str
    at: str
    within: bool
    verdict: Verdict
    figure: str
    error: Error | None
    p_value: float | None = None

    @classmethod
    def of(cls, decision: "Decision", what: str, at: str, *, within: bool) -> "Varied":
        """A decision under another setting, as a line of the table."""
        return cls(what, at, within, decision.verdict, decision.figure, decision.error, decision.p_value)

    @property
    def error_text(self) -> str:
        """The error as text."""
        return "-" if self.error is None else str(self.error)


@dataclass(frozen=True)
class Decision:
    """A verdict and what it rests on.

    Attributes:
        verdict: holds, fails, depends, or not decided.
        value: the figure; None if there is none, and the verdict is then "not decided".
        unit: of the figure, as words that follow a number: "nats", "of 100 starts".
        error: how sure the figure is; None if there is no figure.
        note: what the reader should know besides, in a sentence or two.
        p_value: of the test that decided, before any adjustment; None where a count or a proof decided.
        sensitivity: the verdicts under other settings.
        border: where the verdict turns; given if and only if it depends.
        settings: under which it was decided, from `settings_of`; empty only without a figure.

    Raises:
        ValueError: the parts contradict each other.
    """

    verdict: Verdict
    value: float | None
    unit: str
    error: Error | None = None
    note: str = ""
    p_value: float | None = None
    sensitivity: tuple[Varied, ...] = ()
    border: str = ""
    settings: str = field(kw_only=True)

    def __post_init__(self) -> None:
        decided = self.verdict in (Verdict.HOLDS, Verdict.FAILS)
        within = [row for row in self.sensitivity if row.within]
        if self.value is None and (self.verdict != Verdict.UNDECIDED or self.error is not None):
            raise ValueError("a verdict needs a figure")
        if self.value is not None and not self.settings:
            raise ValueError("a verdict must name its settings")
        if self.value is not None and self.error is None:
            raise ValueError("a figure needs its error, if only that none is known")
        counted = isinstance(self.error, Exact) and not self.error.proved and not self.error.terms
        if counted and self.value != round(self.value or 0.0):
            raise ValueError(f"exact is a count, a complete sum or a proof, got {self.value}")
        if isinstance(self.error, Interval) and self.verdict != Verdict.UNDECIDED and self.p_value is None:
            raise ValueError("a verdict by an interval needs the p-value of its test")
        if (self.verdict == Verdict.DEPENDS) != bool(self.border):
            raise ValueError("a verdict depends if and only if there is a border")
        if self.verdict == Verdict.DEPENDS and len({row.verdict for row in within} - {Verdict.UNDECIDED}) < 2:
            raise ValueError("a verdict depends where it holds in one setting and fails in another")
        if decided and any(_opposes(row, self.verdict, len(within)) for row in within):
            raise ValueError("a verdict that turns within its sentence depends")

    @property
    def figure(self) -> str:
        """The value with its unit, as text."""
        return "-" if self.value is None else f"{number(self.value)} {self.unit}".rstrip()

    @property
    def error_text(self) -> str:
        """The error as text."""
        return "-" if self.error is None else str(self.error)


def undecided(note: str) -> Decision:
    """The decision if the results give no figure; the note states the reason."""
    return Decision(Verdict.UNDECIDED, None, "", note=note, settings="")


def across(base: Decision, rows: Sequence[Varied], *, at: str = "as stated") -> Decision:
    """A decision with further settings: it depends if one of those that its sentence speaks of has the other verdict.

    A row contradicts the decision only if its p-value, times the number of such rows (Bonferroni), is at most `LEVEL`.
    The p-value of a decision that depends is the larger of the two that it takes.

    Args:
        base: the decision in the settings of the claim.
        rows: the decisions in others.
        at: the settings of the claim in the table.
    """
    all_rows = (*base.sensitivity, *rows)
    within = [row for row in all_rows if row.within]
    # The rows that contradict either verdict. Where the decision itself is open, the two sides contradict each other.
    sides = {v: [row for row in within if _opposes(row, v, len(within))] for v in (Verdict.HOLDS, Verdict.FAILS)}
    if base.verdict == Verdict.UNDECIDED and base.value is not None:
        against, own = list(sides.values()) if all(sides.values()) else [], None
    else:
        against, own = [side for v, side in sides.items() if side and v == base.verdict], base.p_value
    if not against:
        return replace(base, sensitivity=all_rows)
    first = Varied.of(base, "claim", at, within=True)
    shown = all_rows if any(row.what == "claim" for row in all_rows) else (first, *all_rows)
    values = [own, *(min((len(within) * r.p_value for r in s if r.p_value is not None), default=None) for s in against)]
    known = [p for p in values if p is not None]
    return replace(
        base,
        verdict=Verdict.DEPENDS,
        sensitivity=shown,
        border=_border(shown),
        p_value=min(1.0, max(known)) if known else base.p_value,
    )


def holm(p_values: dict[str, float], family: int) -> dict[str, float]:
    """p-values adjusted so that the probability of any false rejection is controlled (Holm 1979, Scand. J. Stat. 6).

    Args:
        p_values: by name.
        family: the number of tests that count, at least those given; the others count as larger than all of them.
    """
    adjusted: dict[str, float] = {}
    largest = 0.0
    for rank, (name, p) in enumerate(sorted(p_values.items(), key=lambda item: item[1])):
        largest = max(largest, min(1.0, (max(family, len(p_values)) - rank) * p))
        adjusted[name] = largest
    return adjusted


def number(value: float) -> str:
    """A number as text: whole numbers in full, others to three significant digits."""
    if not math.isfinite(value):
        return "no bound" if math.isinf(value) else "no number"
    return f"{value:,.0f}" if value == round(value) and abs(value) < 1e9 else f"{value:.3g}"


def _opposes(row: Varied, verdict: Verdict, rows: int) -> bool:
    """Whether a row has the opposite verdict, significantly so among so many rows."""
    return row.verdict == verdict.opposite and (row.p_value is None or rows * row.p_value <= LEVEL)


def _border(rows: Sequence[Varied]) -> str:
    """Where a verdict holds and where it fails, one clause for each thing that is varied."""
    clauses, varied = [], {row.what for row in rows}
    for verdict in (Verdict.HOLDS, Verdict.FAILS):
        places: dict[str, list[str]] = {}
        for row in rows:
            if row.within and row.verdict == verdict:
                # The claim's own setting, as "separation 1.5", joins the others of its kind.
                kind, _, rest = row.at.partition(" ")
                what, at = (kind, rest) if row.what == "claim" and kind in varied else (row.what, row.at)
                places.setdefault(what, []).append(at)
        told = "; ".join(at[0] if what == "claim" else f"{what} {', '.join(at)}" for what, at in places.items())
        clauses.append(f"{verdict.value}: {told}")
    return ". ".join(clauses) + "."
