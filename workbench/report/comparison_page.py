"""The page of a comparison: its table, its figures, the posterior of each sampler, and the end of each restart."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from markupsafe import Markup
from matplotlib.figure import Figure

from workbench.compare import Comparison, table
from workbench.compare.estimates import estimates_of
from workbench.compare.optima import WITHIN
from workbench.compare.summary import MethodSummary, statuses_and_mixing
from workbench.compare.trust import trusted, whom_to_trust
from workbench.data import points_text
from workbench.experiment import Experiment
from workbench.jobs.judged import Judged
from workbench.posterior import posterior_summary
from workbench.posterior.summary import agreement_table, chain_table, estimate_tables, reading
from workbench.report.claims_page import resting_on, verdicts_of
from workbench.report.figures import figures_of, words_of, words_on_labels
from workbench.report.page import (
    Grid,
    Heading,
    Page,
    Part,
    Picture,
    Section,
    Shown,
    Words,
    reproduce,
    toml_of,
    write,
)
from workbench.table import Table

TITLE = "Mixtures compared"

LEAD = Markup(
    "Every method below answers the same question from the same starts, and one function scores them all. The "
    "<em>log-joint</em> is the log-likelihood plus the log prior, in nats. <em>Sound</em> means finite, with no "
    "component starved of points and no singular covariance. A <em>pass</em> is one sweep over all the data, which is "
    "the cost of one E-step, one gradient or one leapfrog step."
)
OF_FIGURES = (
    "Held-out densities are a mean over the points left out ± its standard error. Counts are of restarts, or of a "
    f"sampler's chains. Passes and seconds to the best end when a restart is within {WITHIN} nats of it. A dash marks "
    "a figure that does not apply."
)
OF_DRAWS = (
    "R-hat is rank-normalised and split; MCSE is the Monte-Carlo standard error of the mean. Functionals that do not "
    "depend on labels judge the chains: scores, the log density at rows spread evenly over the data sorted by their "
    "first column (1 the first, and so on), the probability that one component made two such neighbours, and sorted "
    "means. Parameters are given after relabelling. The R-hat of the labels as sampled is shown for comparison only: "
    "it is large where chains are in different labellings, which is not a failure."
)


OF_ESTIMATES = (
    "Components count from 1, in the order of the first column of their means. The normal approximation is made for "
    "the log-odds of weights, the logarithms of standard deviations and Fisher's z of correlations, and carried back. "
    "`workbench estimates` prints them for every method, with correlations, as CSV, JSON, LaTeX and Markdown."
)

# The most points times parameters for which a page has estimates: a sweep for each parameter takes some seconds.
MOST_WORK = 10**8


def show_comparison(comparison: Comparison, experiment: Experiment, folder: Path) -> Shown:
    """The page of an experiment: its comparison, and the claims that rest on its results folder."""
    figures = figures_of(comparison)
    config = toml_of(experiment.resolved())
    return Shown(_page([(comparison, config)], TITLE, resting_on(folder), [figures]), figures)


def render(comparisons: Sequence[tuple[Comparison, str]], *, title: str = TITLE) -> str:
    """An HTML page that needs no other file, no network and no script.

    Args:
        comparisons: each with a text on its origin: its resolved config, versions, seeds.
        title: the title of the page.
    """
    return _page(comparisons, title, (), [figures_of(comparison) for comparison, _ in comparisons]).html()


def write_report(path: Path, comparisons: Sequence[tuple[Comparison, str]], *, title: str = TITLE) -> None:
    """Write the page of `render` to a file, whole or not at all."""
    write(path, render(comparisons, title=title))


def _page(
    comparisons: Sequence[tuple[Comparison, str]],
    title: str,
    claims: Sequence[Judged],
    figures: Sequence[Mapping[str, Figure]],
) -> Page:
    sections = [
        Section(
            comparison.name or f"Comparison {number}",
            [*_parts(comparison, drawn), *_where_from(config)],
            f"comparison-{number}",
        )
        for number, ((comparison, config), drawn) in enumerate(zip(comparisons, figures, strict=True), 1)
    ]
    resting = [Section("Claims that rest on these runs", [verdicts_of(claims)])] if claims else []
    return Page(title, [Words(LEAD)], [*sections, *resting], listed=len(comparisons) > 1)


def _where_from(config: str) -> list[Part]:
    section = reproduce("workbench run NAME.toml", config, "Resolved configuration and provenance")
    return [Heading(section.title), *section.parts]


def _parts(comparison: Comparison, figures: Mapping[str, Figure]) -> list[Part]:
    shown, name = table(comparison), comparison.name or "the data"
    parts: list[Part] = [Words(_facts(comparison), "facts"), Words(shown.reading, "reading")]
    figures_table = Table.of_lines(["quantity", *shown.shown.heads[1:]], shown.shown.lines())
    parts += [Heading("The comparison"), Grid(figures_table, f"Figures of {name}"), Words(OF_FIGURES, "note")]
    for picture in _pictures(comparison, figures, shown.reading):
        parts += [Heading(picture.title), picture]
    parts += _estimates(comparison, shown.summaries)
    for method, trace in comparison.items():
        if trace.is_sampler:
            # Without seconds, so that a page that is drawn again is the same.
            summary = posterior_summary(trace, comparison.problem, columns=comparison.columns)
            tables = [*estimate_tables(summary), chain_table(summary), agreement_table(summary)]
            parts += [Heading(f"Posterior: {method}"), Words(reading(summary))]
            for each in tables:
                is_open = each.title.startswith("Parameters")
                parts.append(Grid(each, f"{each.title}, {method}, {name}", each.title, is_open))
            parts.append(Words(OF_DRAWS, "note"))
    return [*parts, Heading("How each restart ended"), Grid(_endings(comparison), f"Endings of {name}")]


def _estimates(comparison: Comparison, summaries: Sequence[MethodSummary]) -> list[Part]:
    """How far the best can be trusted, and the estimates of the climb that ends highest."""
    climbs = [s for s in summaries if s.best_log_joint is not None and not comparison[s.method].is_sampler]
    if not climbs:
        return []
    method = trusted(summaries) or max(climbs, key=lambda s: s.best_log_joint or 0.0).method
    parts: list[Part] = [Heading("Estimates"), Words(whom_to_trust(summaries, comparison.problem))]
    problem = comparison.problem
    if problem.num_points * problem.num_parameters > MOST_WORK:
        return [
            *parts,
            Words("Their intervals take a while on so many rows: `workbench estimates` prints them.", "note"),
        ]
    found = estimates_of(comparison, method)
    shown = found.shown
    parts += [Words(f"{shown.title}."), *([Words(found.mode)] if found.mode else [])]
    return [*parts, Grid(replace(shown, title=""), shown.title), Words(OF_ESTIMATES, "note")]


def _facts(comparison: Comparison) -> str:
    problem = comparison.problem
    points = f"{points_text(problem.num_rows, problem.weights)} in {_plural(problem.num_dimensions, 'column')}"
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


def _pictures(comparison: Comparison, figures: Mapping[str, Figure], reading: str) -> list[Picture]:
    name = comparison.name or "the data"
    pictures = []
    for figure_name, figure in figures.items():
        title, alt, caption = words_of(figure_name, comparison.problem.num_dimensions)
        said = f" {reading}" if figure_name == "score" else ""
        pictures.append(Picture.of(figure, title, f"{alt} {name}.{said}", caption))
    return pictures


def _endings(comparison: Comparison) -> Table:
    """The number of restarts by method and status, with a reason; the most frequent status of a method comes first."""
    lines: list[tuple[str, str, int, str]] = []
    for name in comparison:
        found, _ = statuses_and_mixing(comparison, name)
        for status, count in Counter(verdict.status for verdict in found).most_common():
            message = next(verdict.message for verdict in found if verdict.status == status)
            lines.append((name, status.name.lower(), count, message))
    lines += [(name, "failed", 1, why) for name, why in comparison.failures.items()]
    heads = ("method", "status", "restarts", "what it means, for the first of them")
    return Table.of_lines(heads, lines, words=(heads[0], heads[1], heads[3]))
