"""The report: one page of HTML with everything in it, for reading anywhere and for keeping."""

import base64
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from workbench.compare import Comparison, table
from workbench.compare.optima import WITHIN
from workbench.compare.summary import judge
from workbench.engine.files import replacing
from workbench.posterior import posterior_summary
from workbench.posterior.table import agreement_table, chain_table, estimate_tables, reading
from workbench.report.captions import words_of, words_on_labels
from workbench.report.claims_page import Line, resting_on
from workbench.report.environment import environment
from workbench.report.figures import figures_of, svg_of
from workbench.table import Table

TITLE = "Mixtures compared"


@dataclass(frozen=True)
class Picture:
    """A figure with its words."""

    name: str
    title: str
    alt: str
    caption: str
    source: str  # data URI: an image keeps its own colours and names, whatever page it is in


@dataclass(frozen=True)
class Ending:
    """How many restarts of a method ended in one way, and why."""

    method: str
    status: str
    count: int
    message: str  # of the first of them


@dataclass(frozen=True)
class Posterior:
    """What the draws of one sampler say."""

    method: str
    reading: str
    grids: list[Table]


@dataclass(frozen=True)
class Section:
    """One comparison, as the template reads it."""

    anchor: str
    name: str
    facts: str
    reading: str
    methods: list[str]
    lines: list[tuple[str, list[str]]]
    pictures: list[Picture]
    posteriors: list[Posterior]
    endings: list[Ending]
    config: str


def render(comparisons: Sequence[tuple[Comparison, str]], *, title: str = TITLE, claims: Sequence[Line] = ()) -> str:
    """A page of HTML that needs no other file, no network and no script.

    Args:
        comparisons: each with the text that says where it comes from: its resolved config, versions, seeds.
        title: of the page.
        claims: of a ledger, that rest on these runs.
    """
    sections = [_section(i, comparison, config) for i, (comparison, config) in enumerate(comparisons, 1)]
    template = environment().get_template("comparison.html")
    return template.render(title=title, sections=sections, within=WITHIN, claims=claims)


def write_report(
    path: Path, comparisons: Sequence[tuple[Comparison, str]], *, title: str = TITLE, of: Path | None = None
) -> None:
    """Write the page of `render` to a file, with the claims that rest on its results. A reader never sees half of it.

    Args:
        path: of the file.
        comparisons: as of `render`.
        title: of the page.
        of: the results folder; that of the file unless given.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    text = render(comparisons, title=title, claims=resting_on(path.parent if of is None else of))
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def _section(number: int, comparison: Comparison, config: str) -> Section:
    shown = table(comparison)
    return Section(
        anchor=f"comparison-{number}",
        name=comparison.name or f"Comparison {number}",
        facts=_facts(comparison),
        reading=shown.reading,
        methods=[summary.method for summary in shown.summaries],
        lines=shown.lines,
        pictures=_pictures(comparison, shown.reading),
        posteriors=_posteriors(comparison),
        endings=_endings(comparison),
        config=config,
    )


def _facts(comparison: Comparison) -> str:
    problem = comparison.problem
    points = f"{problem.num_points:,} points in {_plural(problem.num_dimensions, 'column')}"
    components = f"{problem.covariance.name} covariance, {_plural(problem.components, 'component')}"
    facts = f"{points}; {components}; {type(problem.prior).__name__}"
    if comparison.columns:
        facts += f". Columns: {', '.join(comparison.columns)}"
    if comparison.units not in ("", "none"):
        facts += f". Units: {comparison.units}"
    samples = any(trace.is_sampler for trace in comparison.values())
    return f"{facts}. {words_on_labels(problem)}" if samples else f"{facts}."


def _plural(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def _pictures(comparison: Comparison, reading: str) -> list[Picture]:
    name = comparison.name or "the data"
    pictures = []
    for figure_name, figure in figures_of(comparison).items():
        title, alt, caption = words_of(figure_name, comparison.problem.num_dimensions)
        source = base64.b64encode(svg_of(figure).encode()).decode()
        full = f"{alt} {name}. {reading}" if figure_name == "score" else f"{alt} {name}."
        pictures.append(Picture(figure_name, title, full, caption, f"data:image/svg+xml;base64,{source}"))
    return pictures


def _posteriors(comparison: Comparison) -> list[Posterior]:
    """Of each sampler; without seconds, so that the page is the same whenever it is drawn."""
    found = []
    for name, trace in comparison.items():
        if trace.is_sampler:
            summary = posterior_summary(trace, comparison.problem, columns=comparison.columns)
            grids = [*estimate_tables(summary), chain_table(summary), agreement_table(summary)]
            found.append(Posterior(name, reading(summary), grids))
    return found


def _endings(comparison: Comparison) -> list[Ending]:
    """By method, the most frequent status first."""
    endings = []
    for name in comparison:
        found, _ = judge(comparison, name)
        for status, count in Counter(verdict.status for verdict in found).most_common():
            message = next(verdict.message for verdict in found if verdict.status == status)
            endings.append(Ending(name, status.name.lower(), count, message))
    failed = [Ending(name, "failed", 1, why) for name, why in comparison.failures.items()]
    return endings + failed
