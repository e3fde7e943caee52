"""The tables of a posterior summary, for the terminal and the page, as JSON and CSV."""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict
from typing import Any

from workbench.diagnostics.convergence import E_BFMI_LIMIT
from workbench.engine.devices import precision_note
from workbench.posterior.summary import Estimate, PosteriorSummary
from workbench.table import Table
from workbench.table import plain as plain_values


def _number(value: float | None, form: str) -> str:
    if value is None or math.isnan(value):
        return "–"
    return format(value, form) if math.isfinite(value) else "infinite"


def _digits(value: float, count: int) -> str:
    """A number with this many significant digits, trailing zeros included."""
    return _number(value, f"#.{count}g").removesuffix(".")


def _mean(e: Estimate) -> str:
    """The mean to the second digit of its error; to four digits if the mean or its error is too small for that."""
    if not (math.isfinite(e.mean) and e.mcse > 0) or 0 < abs(e.mean) < _SMALL:
        return _number(e.mean, ".4g")
    return f"{e.mean:,.{min(max(1 - math.floor(math.log10(e.mcse)), 0), _DECIMALS)}f}"


# Below _SMALL a mean is printed with a power of ten; other means have at most _DECIMALS decimals.
_SMALL, _DECIMALS = 1e-3, 5

_CELLS: tuple[tuple[str, Callable[[Estimate], str]], ...] = (
    ("mean", _mean),
    ("sd", lambda e: _digits(e.sd, 3)),
    ("MCSE", lambda e: _digits(e.mcse, 2)),
    ("R-hat", lambda e: _number(e.r_hat, ".3f")),
    ("ESS bulk", lambda e: _number(e.ess_bulk, ",.0f")),
    ("ESS tail", lambda e: _number(e.ess_tail, ",.0f")),
)
_RAW = (("R-hat, labels as sampled", lambda e: _number(e.raw_r_hat, ".3f")),)


def reading(summary: PosteriorSummary) -> str:
    """A few sentences that sum up the table."""
    slow = [r for r, e in enumerate(summary.e_bfmi or (), 1) if not e >= E_BFMI_LIMIT]
    chains = ", ".join(f"chain {r}" for r in slow)
    beware = f"Beware: E-BFMI is below {E_BFMI_LIMIT:g} in {chains}, which may miss the tails." if slow else ""
    stale = f"Beware: the draws are STALE: other code made them ({summary.stale})." if summary.stale else ""
    return " ".join(filter(None, [_on_chains(summary), beware, stale, precision_note(summary.dtype)]))


def _on_chains(summary: PosteriorSummary) -> str:
    visited = f"{', '.join(map(str, summary.modes_visited))}; {summary.labellings_met} between them"
    if summary.approximation:
        return (
            f"{summary.chains} fits of an approximation to the posterior, {summary.draws:,} independent draws of each, "
            f"so that no R-hat says how near it is. Of {_labellings(summary)} they take {visited}."
        )
    invariant = _largest(summary.functionals, "r_hat")
    settled, raw = (_largest(summary.parameters, field) for field in ("r_hat", "raw_r_hat"))
    return (
        f"{summary.chains} chains of {summary.draws:,} draws. Largest R-hat: {invariant} of the label-invariant "
        f"functionals, {settled} of the parameters relabelled by {summary.relabelling}, {raw} with the labels as they "
        f"were sampled. Of {_labellings(summary)} the chains visit {visited}."
    )


def estimate_tables(summary: PosteriorSummary) -> list[Table]:
    """The functionals, and the parameters with their R-hat after relabelling and with raw labels."""
    return [
        _of_estimates("Label-invariant functionals", summary.functionals, _CELLS),
        _of_estimates(f"Parameters, relabelled by {summary.relabelling}", summary.parameters, _CELLS + _RAW),
    ]


def chain_table(summary: PosteriorSummary) -> Table:
    """For each chain, the number of labellings that it visits, its switches between them, and its E-BFMI."""
    energies = summary.e_bfmi or [None] * summary.chains
    counts = zip(summary.modes_visited, summary.switches, energies, strict=True)
    rows = tuple(
        (f"chain {r}", f"{m} of {summary.labellings:,}", f"{n:,}", _number(e, ".2f"))
        for r, (m, n, e) in enumerate(counts, 1)
    )
    return _table("Labellings visited by each chain", ("", "labellings", "switches", "E-BFMI"), rows)


def agreement_table(summary: PosteriorSummary) -> Table:
    """Share of the draws on which each pair of relabelling algorithms agrees."""
    compared = summary.compared
    shares = zip(compared.names, compared.agreement, strict=True)
    rows = tuple((name, *(f"{100 * share:.3g} %" for share in line)) for name, line in shares)
    title = f"Agreement of relabelling algorithms on {compared.draws:,} draws"
    return _table(title, ("", *compared.names), rows)


def cost_table(summary: PosteriorSummary) -> Table:
    """Seconds of each relabelling algorithm. They differ from run to run, so stored pages leave them out."""
    compared = summary.compared
    costs = zip(compared.names, compared.seconds, compared.compile_seconds, strict=True)
    rows = tuple((name, f"{seconds:.2g}", f"{compiling:.2g}") for name, seconds, compiling in costs)
    return _table(f"Cost of relabelling {compared.draws:,} draws", ("", "seconds", "seconds compiling"), rows)


def text_of(summary: PosteriorSummary, title: str) -> str:
    """All tables as text for a terminal."""
    tables = [*estimate_tables(summary), chain_table(summary), agreement_table(summary), cost_table(summary)]
    return "\n\n".join([f"{title}\n{reading(summary)}", *map(str, tables)])


def to_dict(summary: PosteriorSummary) -> dict[str, Any]:
    """Plain values; None stands for numbers that are not finite."""
    values = asdict(summary)
    values["compared"]["agreement"] = summary.compared.agreement.tolist()
    return dict(plain_values(values))


def csv_of(summaries: Sequence[tuple[str, str, PosteriorSummary]]) -> str:
    """One row for each quantity of experiments and methods, with a header; numbers that are not finite are empty."""
    about = ("experiment", "method", "relabelling", "dtype", "stale", "kind")
    rows = []
    for experiment, method, summary in summaries:
        shared = {"experiment": experiment, "method": method, "relabelling": summary.relabelling}
        shared |= {"dtype": summary.dtype, "stale": summary.stale or ""}
        for kind, estimates in (("functional", summary.functionals), ("parameter", summary.parameters)):
            rows += [{**shared, "kind": kind, **asdict(estimate)} for estimate in estimates]
    return Table((*about, *Estimate.__dataclass_fields__), tuple(rows)).to_csv()


def _labellings(summary: PosteriorSummary) -> str:
    return "one labelling" if summary.labellings == 1 else f"{summary.labellings:,} labellings"


def _of_estimates(
    title: str, estimates: Sequence[Estimate], cells: Sequence[tuple[str, Callable[[Estimate], str]]]
) -> Table:
    lines = ((estimate.name, *(cell(estimate) for _, cell in cells)) for estimate in estimates)
    return _table(title, ("", *(head for head, _ in cells)), lines)


def _table(title: str, heads: Sequence[str], lines: Iterable[Sequence[str]]) -> Table:
    return Table.of_lines(heads, lines, title=title, words=("0",))


def _largest(estimates: Sequence[Estimate], field: str) -> str:
    values = [getattr(estimate, field) for estimate in estimates]
    return _number(max((value for value in values if not math.isnan(value)), default=math.nan), ".3f")
