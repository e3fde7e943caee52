"""The table of a comparison, with a reading in a few sentences, as text, HTML, JSON or CSV."""

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from workbench.compare.comparison import Comparison
from workbench.compare.optima import WITHIN
from workbench.compare.remarks import remarks_on, remedies
from workbench.compare.summary import LOWER, NEAR, YARDSTICK, MethodSummary, summarise
from workbench.diagnostics import Status
from workbench.diagnostics.convergence import E_BFMI_LIMIT
from workbench.display import PRINTED, line, page
from workbench.engine.devices import USUAL, dtype_name, precision_note
from workbench.errors import checks_arguments
from workbench.frames import frame_of_rows
from workbench.loop.trace import passes_text
from workbench.table import Table, plain
from workbench.wrapping import paragraph

Cell = Callable[[MethodSummary], str]


def _number(value: float | None, form: str) -> str:
    return "–" if value is None or not math.isfinite(value) else format(value, form)


def _passes(value: float | None) -> str:
    return "–" if value is None else passes_text(value)


def _near(s: MethodSummary) -> str:
    return (
        "–"
        if s.passes_to_near_best is None
        else f"{passes_text(s.passes_to_near_best)} ({s.near_best} of {s.restarts})"
    )


def _duration(seconds: float | None) -> str:
    """A short time with three digits, in s, ms or µs."""
    if seconds is None or not math.isfinite(seconds):
        return "–"
    size, unit = next((size, unit) for size, unit in _UNITS if seconds >= size or unit == _UNITS[-1][1])
    return f"{seconds / size:.3g} {unit}"


_UNITS = ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs"))


def _heldout(s: MethodSummary) -> str:
    if s.heldout_log_density is None:
        return "–"
    return f"{s.heldout_log_density:.3f} ± {_number(s.heldout_standard_error, '.3f')}"


def _gain(s: MethodSummary) -> str:
    if s.heldout_gain is None:
        return "–"
    return f"{s.heldout_gain:+.3f} ± {_number(s.heldout_gain_error, '.3f')}"


def _evidence(s: MethodSummary) -> str:
    if s.log_evidence is None:
        return "–"
    return f"{_number(s.log_evidence, '.3f')} ± {_number(s.log_evidence_standard_error, '.3f')}"


# Other optima shown in one cell; JSON and CSV have them all.
_SHOWN = 2


def _others(s: MethodSummary) -> str:
    others = s.optima[1:]
    shown = [f"{optimum.log_joint:.3f} ({optimum.restarts})" for optimum in others[:_SHOWN]]
    rest = [f"and {len(others) - _SHOWN} more"] if len(others) > _SHOWN else []
    return "\n".join(shown + rest) or "–"


def _reached(s: MethodSummary) -> str:
    return f"{s.reached_best} of {s.restarts}" if s.evidence_bound is None else "–"


def _lower(s: MethodSummary) -> str:
    return "–" if s.lower_than_em is None else f"{s.lower_than_em} of {s.restarts}"


def _count(*statuses: Status) -> Cell:
    return lambda s: f"{sum(s.statuses.get(status.name, 0) for status in statuses)} of {s.restarts}"


# The lines that matter most, which stand first and are set apart: the answer, how often it is reached, and the price.
FIRST: tuple[tuple[str, Cell], ...] = (
    ("best sound log-joint", lambda s: _number(s.best_log_joint, ".3f")),
    (f"reached the best (within {WITHIN:g})", _reached),
    ("passes to the best (median)", lambda s: _passes(s.passes_to_best)),
)

# The lines of the table, top to bottom. A line is left out if no method has a figure for it.
LINES: tuple[tuple[str, Cell], ...] = (
    *FIRST,
    ("best sound log-likelihood", lambda s: _number(s.best_log_likelihood, ".3f")),
    ("held-out log density per point", _heldout),
    (f"held-out, less {YARDSTICK}'s on the same points", _gain),
    ("log evidence", _evidence),
    ("lower bound of the log evidence", lambda s: _number(s.evidence_bound, ".3f")),
    ("adjusted Rand index", lambda s: _number(s.adjusted_rand_index, ".3f")),
    ("matched error of means (sd)", lambda s: _number(s.matched_error, ".3f")),
    ("other sound ends (restarts)", _others),
    (f"ended lower than {YARDSTICK} (by {LOWER:g})", _lower),
    ("converged", _count(Status.CONVERGED)),
    ("ran out", _count(Status.BUDGET)),
    ("dropped", _count(Status.DROPPED)),
    ("on a plateau", _count(Status.PLATEAU)),
    ("collapsed", _count(Status.COLLAPSED)),
    ("divergent or not finite", _count(Status.DIVERGENT, Status.NONFINITE)),
    (f"passes to within {NEAR:g} nats per point", _near),
    ("seconds to the best (median)", lambda s: _number(s.seconds_to_best, ".3f")),
    ("passes in all", lambda s: passes_text(s.passes)),
    ("time of a pass", lambda s: _duration(s.seconds_per_pass)),
    ("seconds stepping", lambda s: _number(s.seconds, ".3f")),
    ("seconds compiling", lambda s: _number(s.compile_seconds, ".1f")),
    ("R-hat, largest", lambda s: _number(s.r_hat_max, ".3f")),
    ("ESS, smallest", lambda s: _number(s.ess_min, ".0f")),
    ("ESS of the tails, smallest", lambda s: _number(s.ess_tail_min, ".0f")),
    ("E-BFMI, smallest", lambda s: _number(s.e_bfmi, ".2f")),
    ("smallest relative eigenvalue", lambda s: _number(s.smallest_relative_eigenvalue, ".2g")),
    ("smallest component (points)", lambda s: _number(s.smallest_component_size, ".1f")),
    ("suspicious", lambda s: "–" if s.suspicious is None else ("yes" if s.suspicious else "no")),
    ("STALE: made by", lambda s: s.stale or "–"),
    ("components that have merged", lambda s: "yes" if s.merged else "–"),
    ("highest end, NOT SOUND: log-joint", lambda s: _number(s.ended_log_joint, ".3f")),
    ("highest end, NOT SOUND: log-likelihood", lambda s: _number(s.ended_log_likelihood, ".3f")),
)


@dataclass(frozen=True)
class ComparisonTable:
    """The summaries of one comparison. It prints as text, and as HTML in a notebook."""

    experiment: str
    summaries: tuple[MethodSummary, ...]
    components: int | None = None  # K of the problem
    advice: str = ""  # what to try if no result is sound, or components of the best have merged
    dtype: str = USUAL  # in which the numbers were computed
    remarks: tuple[str, ...] = ()  # sentences on the comparison as a whole
    longer: str = ""  # the sizes to try for chains that do not agree

    @property
    def lines(self) -> list[tuple[str, list[str]]]:
        """Heading and cells of each line with at least one figure, top to bottom."""
        filled = [(heading, [cell(s) for s in self.summaries]) for heading, cell in LINES]
        return [(heading, cells) for heading, cells in filled if any(c not in _EMPTY for c in cells)]

    @property
    def shown(self) -> Table:
        """A line for each quantity, a column for each method."""
        lines = [[heading, *cells] for heading, cells in self.lines]
        first = sum(heading in dict(FIRST) for heading, _ in self.lines)
        apart = first if first < len(lines) else 0
        return Table.of_lines(["", *(s.method for s in self.summaries)], lines, words=("0",), apart=apart)

    @property
    def reading(self) -> str:
        """A sentence or two that sum up the table."""
        text, note = read(self.summaries, self.components, self.advice, self.longer), precision_note(self.dtype)
        return " ".join([text, *self.remarks, *([note] if note else [])])

    def __str__(self) -> str:
        return "\n".join([*filter(None, [self.experiment]), str(self.shown), paragraph(self.reading)])

    def __repr__(self) -> str:
        return line("ComparisonTable", self.experiment, ", ".join(s.method for s in self.summaries), PRINTED)

    def _repr_html_(self) -> str:
        return page(self.shown, self.reading)

    def to_dict(self) -> dict[str, Any]:
        """Plain values: `experiment`, `dtype`, `reading` and a list `methods`. None stands for non-finite numbers."""
        methods = [plain(asdict(s)) for s in self.summaries]
        return {"experiment": self.experiment, "dtype": self.dtype, "reading": self.reading, "methods": methods}

    def to_json(self) -> str:
        """`to_dict` on one line."""
        return json.dumps(self.to_dict(), allow_nan=False)

    def to_csv(self) -> str:
        """One row for each method, with a header; the cells of statuses and optima hold JSON."""
        return self._numbers.to_csv()

    def to_dataframe(self) -> Any:
        """A frame of pandas, polars or Arrow with the columns of `to_csv`."""
        return frame_of_rows(self._numbers.rows, self._numbers.columns)

    @property
    def _numbers(self) -> Table:
        about = {"experiment": self.experiment, "dtype": self.dtype}
        rows = tuple(about | row for row in self.to_dict()["methods"])
        return Table((*about, *(each.name for each in fields(MethodSummary))), rows)


@checks_arguments
def table(comparison: Comparison) -> ComparisonTable:
    """The table of a comparison."""
    summaries, problem = tuple(summarise(comparison)), comparison.problem
    best = _best(summaries)
    # A method's text mentions equal values if they are under a component; the words are those of `Tie.text`.
    tied = any("equal" in (s.unsound or "") for s in summaries)
    advice = remedies(problem, tied=tied) if len(comparison) and (best is None or best.merged) else ""
    dtype = dtype_name(*(trace.mixtures.means for trace in comparison.values()))
    longer = _longer(summaries, comparison.sizes)
    return ComparisonTable(
        comparison.name, summaries, problem.components, advice, dtype, remarks_on(comparison), longer
    )


def read(
    summaries: tuple[MethodSummary, ...], components: int | None = None, advice: str = "", longer: str = ""
) -> str:
    """A few sentences: the best, how often and at what price each method reached it, and warnings.

    Args:
        summaries: of the methods.
        components: K of the problem.
        advice: what to try if no result is sound, or components of the best have merged.
        longer: the sizes to try for chains that do not agree.
    """
    best = _best(summaries)
    climbs = [s for s in summaries if s.r_hat_max is None and s.evidence_bound is None and s.failure is None]
    parts = [_arrival(s) for s in climbs]
    if best is None:
        text = "No method has a sound answer."
    elif parts:
        text = f"Best sound log-joint {best.best_log_joint:.3f}: {'; '.join(parts)}."
    else:
        text = f"Best log-joint {best.best_log_joint:.3f}."
    if best is not None:
        text += _fewer(best, climbs, components) + _unfinished(climbs)
    if best is None or best.merged:
        text += "".join(f" {s.method}: {s.unsound}." for s in climbs if s.unsound) + (f" {advice}" if advice else "")
    for s in summaries:
        if s.r_hat_max is not None and s.ess_min is not None:
            agree = "do not agree yet" if _disagree(s) else "agree"
            chains = f"{s.restarts} chains of {s.method} {agree}"
            if s.restarts == 1:
                chains = f"one chain of {s.method} has none to agree with: run several"
            text += f" The {chains} (R-hat {s.r_hat_max:.3f}, ESS {s.ess_min:.0f})."
        if s.e_bfmi is not None and not s.e_bfmi >= E_BFMI_LIMIT:
            text += f" Beware: E-BFMI of {s.method} is {s.e_bfmi:.2f}, below {E_BFMI_LIMIT:g}: it may miss the tails."
        if s.evidence_bound is not None:
            text += f" {s.method} approximates the posterior; its lower bound of ln P(x) is {s.evidence_bound:.3f}."
    if any(_disagree(s) for s in summaries):
        text += f" Try a longer warm-up and more draws{longer and f' ({longer})'}. {_OF_CHAINS}"
    for s in climbs:
        if s.equal_elsewhere:
            starts = "1 start" if s.equal_elsewhere == 1 else f"{s.equal_elsewhere} starts"
            text += (
                f" Beware: {starts} of {s.method} end on the same value and another mixture: "
                "more than one answer fits equally well."
            )
        if s.tied_points:
            text += f" Beware: a component of the best of {s.method} sits on {s.tied_points:,} equal values."
        elif s.sliver:
            text += f" Beware: the best of {s.method} has {s.sliver}: it may be a spurious maximum. {_OF_SLIVERS}"
        elif s.suspicious:
            text += f" Beware: the best of {s.method} has a component both tight and small."
    held: dict[str, list[str]] = {}
    for s in climbs:
        if s.equal_rows and not s.tied_points:
            held.setdefault(s.equal_rows, []).append(s.method)
    text += "".join(f" In the best of {', '.join(methods)}, {what}." for what, methods in held.items())
    return text + "".join(f" {s.method} failed: {s.failure}." for s in summaries if s.failure is not None)


def _disagree(s: MethodSummary) -> bool:
    """Whether there are several chains that do not agree."""
    return s.r_hat_max is not None and s.restarts > 1 and s.statuses.get(Status.CONVERGED.name, 0) != s.restarts


def _longer(summaries: tuple[MethodSummary, ...], sizes: Mapping[str, Mapping[str, int]]) -> str:
    """The sizes to try for chains that do not agree, by the keys of a config; empty where they are not known."""
    parts = [
        ", ".join(f"methods.{s.method}.{key} = {TIMES_LONGER * size}" for key, size in sizes[s.method].items())
        for s in summaries
        if _disagree(s) and s.method in sizes
    ]
    return f"say {'; '.join(parts)}, {TIMES_LONGER} times as many" if parts else ""


# How much longer chains that do not agree are to run, at first.
TIMES_LONGER = 4

_OF_CHAINS = (
    "Chains that still stand at different log-joints are in different modes: "
    "tempered_smc weighs modes against each other, and chains begun at the best of a climb "
    '(starts by wb.Given.of, or rule = "given") tell of that mode alone.'
)
_OF_SLIVERS = "Compare with fewer components, or with a prior."


def _best(summaries: tuple[MethodSummary, ...]) -> MethodSummary | None:
    """The method with the best sound result; None if there is none."""
    having = [s for s in summaries if s.best_log_joint is not None]
    return max(having, key=lambda s: s.best_log_joint or 0.0, default=None)


# Statuses of climbs that have found all components.
_WHOLE = {Status.CONVERGED.name, Status.BUDGET.name, Status.DROPPED.name}


def _fewer(best: MethodSummary, climbs: list[MethodSummary], components: int | None) -> str:
    """A sentence if the best is a mixture of fewer than K components."""
    if components is None or best.distinct_components is None or best.distinct_components >= components:
        return ""
    groups = "1 component" if best.distinct_components == 1 else f"{best.distinct_components} components"
    if not best.merged:
        return f" It is a mixture of {groups} in effect: the others hold no point."
    none = "" if any(_WHOLE & set(s.statuses) for s in climbs) else f", and no start found {components}"
    return f" Beware: components have merged in it, so that it is a mixture of {groups} (a plateau){none}."


def _unfinished(climbs: list[MethodSummary]) -> str:
    """A sentence if none of the climbs that reach the best has converged."""
    there = [s for s in climbs if s.reached_best]
    if not there or any(s.converged_on_best != 0 for s in there):
        return ""
    return (
        " Beware: no start that reaches it has converged. It is where climbs were cut off, which may go on to a better "
        "optimum or into a singularity: give them more iterations."
    )


def _arrival(s: MethodSummary) -> str:
    if s.best_log_joint is None:
        return f"{s.method} has no sound answer"
    if s.reached_best == 0:
        return f"{s.method} never reaches it ({s.best_log_joint:.3f})"
    passes = "1 pass" if s.passes_to_best == 1 else f"{_passes(s.passes_to_best)} passes"
    return f"{s.method} reaches it from {s.reached_best} of {s.restarts} starts in {passes}"


_EMPTY = {"–", "0 of 0"}
