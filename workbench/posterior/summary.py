"""The posterior table of a sampler's run: estimates of each quantity from its draws, with their diagnostics."""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import jax
import numpy as np

from workbench.diagnostics.convergence import E_BFMI_LIMIT, energy_fractions, functionals, rank_statistics, tail_sizes
from workbench.display import PRINTED, line, page
from workbench.engine.devices import precision_note
from workbench.errors import checks_arguments
from workbench.frames import frame_of_rows
from workbench.loop.trace import Trace
from workbench.posterior.relabelling import RELABELLINGS, agreement_matrix, apply, timed
from workbench.posterior.switching import DEFAULT, check_sampler, label_switching, parameters, relabel
from workbench.problem import Problem
from workbench.table import Table
from workbench.table import plain as plain_values
from workbench.wrapping import paragraph

# Draws on which the relabelling algorithms are compared, spread evenly over all chains; agreement is known to a few
# percent.
COMPARED_DRAWS = 500


@dataclass(frozen=True)
class Estimate:
    """Estimates of one quantity from the draws of all chains; NaN where draws are not finite or never change."""

    name: str
    mean: float
    sd: float
    mcse: float  # Monte-Carlo standard error of the mean
    r_hat: float  # rank-normalised and split
    ess_bulk: float
    ess_tail: float
    # R-hat with the labels as sampled, in the most frequent order; it illustrates switching, and is no diagnostic.
    raw_r_hat: float | None = None


@dataclass(frozen=True)
class RelabellingsCompared:
    """Agreement of the relabelling algorithms on the same draws, and the cost of each."""

    names: tuple[str, ...]
    agreement: np.ndarray  # [M, M]   share of the draws on which two agree, up to one order common to all draws
    seconds: tuple[float, ...]  # of each, without compiling
    compile_seconds: tuple[float, ...]
    draws: int  # number of draws on which they were compared


@dataclass(frozen=True)
class PosteriorSummary:
    """Label-invariant functionals, parameters after relabelling, and the labellings that each chain visits.

    R-hat and effective sample sizes of an approximation's draws are NaN, because they say nothing about the posterior.
    """

    chains: int
    draws: int  # of each chain
    approximation: bool  # whether the draws come from a density that was fitted to the posterior
    relabelling: str
    functionals: tuple[Estimate, ...]
    parameters: tuple[Estimate, ...]
    labellings: int  # K!
    labellings_met: int  # visited by all chains together
    modes_visited: tuple[int, ...]  # number of the K! labellings that each chain visits
    switches: tuple[int, ...]  # number of draws of each chain in another labelling than the draw before
    e_bfmi: tuple[float, ...] | None  # of each chain's energies; None where the sampler has none
    dtype: str  # in which the numbers were computed
    compared: RelabellingsCompared
    stale: str | None = None  # the code that made the stored draws, if it is not the present one

    def __repr__(self) -> str:
        chains = f"{self.chains} chains of {self.draws:,} draws, relabelled by {self.relabelling}"
        sizes = f"{len(self.functionals)} functionals and {len(self.parameters)} parameters"
        return line("PosteriorSummary", chains, sizes, PRINTED)

    def __str__(self) -> str:
        return text_of(self)

    def _repr_html_(self) -> str:
        return page(reading(self), *(part for table in estimate_tables(self) for part in (table.title, table)))

    def to_dataframe(self) -> Any:
        """A row for each functional and parameter; pandas, polars or Arrow."""
        named = (("functional", self.functionals), ("parameter", self.parameters))
        rows = [{"kind": kind, **asdict(estimate)} for kind, estimates in named for estimate in estimates]
        return frame_of_rows(rows, ("kind", *Estimate.__dataclass_fields__))


@checks_arguments
def posterior_summary(
    trace: Trace, problem: Problem, relabelling: str = DEFAULT, columns: Sequence[str] = ()
) -> PosteriorSummary:
    """The posterior table of a sampler's draws, without warm-up.

    Args:
        trace: of a sampler.
        problem: the problem of the trace.
        relabelling: the relabelling algorithm for the parameters; a name in `RELABELLINGS`.
        columns: names of the data's columns; by default x1, x2, ...

    Raises:
        InputError: the trace has no draws, or there is no such algorithm.
    """
    relabelled = relabel(trace, problem, relabelling)
    invariant = functionals(trace, problem, columns)
    names, settled = parameters(relabelled.mixtures, columns)
    switching = label_switching(relabelled.permutations)
    most = np.broadcast_to(switching.labellings[0], relabelled.permutations.shape)
    raw, _ = rank_statistics(parameters(apply(most, trace.answer))[1])
    chains, draws = settled.shape[:2]
    energies = energy_fractions(trace)
    return PosteriorSummary(
        chains=chains,
        draws=draws,
        approximation=trace.is_approximation,
        relabelling=relabelled.algorithm,
        functionals=_without_diagnostics(trace, _estimates(invariant.names, invariant.values, invariant.ranked)),
        parameters=_without_diagnostics(trace, _estimates(names, settled, settled, raw)),
        labellings=math.factorial(problem.components),
        labellings_met=len(switching.labellings),
        modes_visited=tuple(switching.modes_visited.tolist()),
        switches=tuple(switching.switches.tolist()),
        e_bfmi=None if energies is None else tuple(energies.tolist()),
        dtype=problem.dtype.name,
        compared=compare_relabellings(trace, problem),
    )


def compare_relabellings(trace: Trace, problem: Problem) -> RelabellingsCompared:
    """All relabelling algorithms on the same draws of a sampler, at most 500, spread evenly over its chains.

    Raises:
        InputError: the trace has no draws.
    """
    check_sampler(trace)
    total = trace.num_restarts * trace.draws
    chosen = np.unique(np.linspace(0, total - 1, min(total, COMPARED_DRAWS)).astype(int))
    few = jax.tree.map(lambda leaf: np.reshape(leaf, (1, total, *leaf.shape[2:]))[:, chosen], trace.answer)
    scores = trace.log_joint[:, -trace.draws :].reshape(1, total)[:, chosen]
    results = {name: timed(algorithm, few, scores, problem) for name, algorithm in RELABELLINGS.items()}
    return RelabellingsCompared(
        names=tuple(results),
        agreement=agreement_matrix({name: one.permutations for name, one in results.items()}),
        seconds=tuple(one.seconds for one in results.values()),
        compile_seconds=tuple(one.compile_seconds for one in results.values()),
        draws=len(chosen),
    )


def _estimates(
    names: Sequence[str], values: np.ndarray, ranked: np.ndarray, raw: np.ndarray | None = None
) -> tuple[Estimate, ...]:
    """Estimates of values [R, S, Q]; chains are compared by `ranked`, and `raw` [Q] are R-hats with raw labels."""
    # This import takes 0.8 s; the package promises to import in little more time than numpyro itself.
    from arviz_stats.base import array_stats  # type: ignore[attr-defined]

    (r_hats, bulks), tails = rank_statistics(ranked), tail_sizes(ranked)
    estimates = []
    for q, name in enumerate(names):
        column, figures = values[..., q], np.full(4, np.nan)
        moves = bool(np.all(np.isfinite(column)) and np.ptp(column) > 0)
        if np.all(np.isfinite(column)):
            figures[:2] = np.mean(column), np.std(column, ddof=1)
        if moves:
            figures[2] = array_stats.mcse(column, chain_axis=0, draw_axis=1)
            figures[3] = tails[q]
        chains = (float(r_hats[q]), float(bulks[q])) if moves else (math.nan, math.nan)
        mean, sd, mcse, tail = figures.tolist()
        raw_r_hat = None if raw is None else float(raw[q]) if moves else math.nan
        estimates.append(Estimate(name, mean, sd, mcse, *chains, tail, raw_r_hat))
    return tuple(estimates)


def _without_diagnostics(trace: Trace, estimates: tuple[Estimate, ...]) -> tuple[Estimate, ...]:
    """The estimates; those of an approximation without R-hat and ESS, which its independent draws always pass."""
    if not trace.is_approximation:
        return estimates
    return tuple(replace(e, r_hat=math.nan, ess_bulk=math.nan, ess_tail=math.nan, raw_r_hat=None) for e in estimates)


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


def text_of(summary: PosteriorSummary, title: str = "") -> str:
    """All tables as text for a terminal, with a line above them if there is a title."""
    tables = [*estimate_tables(summary), chain_table(summary), agreement_table(summary), cost_table(summary)]
    return "\n\n".join(["\n".join(filter(None, [title, paragraph(reading(summary))])), *map(str, tables)])


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
