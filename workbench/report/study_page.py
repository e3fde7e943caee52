"""The page of a study, and the figures of each study, with their titles and captions, by the name of the study."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from markupsafe import Markup
from matplotlib.figure import Figure

from workbench.plots import atlas, coordinates, rate
from workbench.report import study_panels
from workbench.report.page import Grid, Page, Picture, Section, Shown, Words, of_picture, reproduce, toml_of
from workbench.studies import Findings

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@dataclass(frozen=True)
class StudyFigure:
    """A function that draws a figure from a study's rows, and the words around the figure."""

    draw: Callable[[Findings], Figure]
    title: str
    caption: str
    alt: str  # alternative text


def single(draw: Callable[["Axes", Findings], None]) -> Callable[[Findings], Figure]:
    """A figure of one panel."""

    def drawn(findings: Findings) -> Figure:
        figure = Figure(figsize=(7.4, 4.8), layout="constrained")
        draw(figure.subplots(), findings)
        return figure

    return drawn


STUDY_FIGURES: dict[str, Mapping[str, StudyFigure]] = {
    "bad_optima": {
        "failures": StudyFigure(
            single(atlas.failures),
            "How often a random start misses a group",
            "Each mark is the share of starts from which a method ends far below the best optimum, with its 95 % "
            "interval; methods are drawn beside each other. Strong lines: means at random points. Dashes: k-means++ "
            "seeding. EM and ascent fail alike, because the start decides. Dotted: the chance that K random points "
            "leave some group without one; climbs mend many such starts, and ever fewer as K grows.",
            "Share of failing starts against the number of groups, by method and start rule: it grows from none at two "
            "groups, and less so from k-means++.",
        )
    },
    "collapse": {
        "axes": StudyFigure(
            study_panels.collapse_along_axes,
            "How often climbs collapse",
            "Each mark is the share of starts that end on a singular covariance, with its 95 % interval, along one "
            "axis with the others fixed as stated; curves are drawn beside each other, and all have the same starts. "
            "Dashes: the share that leave a component fewer points than a covariance needs without a singularity. With "
            "one remedy there is a curve for each method; with several, a curve for the first method of each, which is "
            "EM in the shipped study.",
            "Share of collapsing starts against N, D, K and separation, one curve for each method or remedy.",
        ),
        "maps": StudyFigure(
            study_panels.collapse_maps,
            "The map over sample size and separation",
            "Starts out of a hundred that collapse, for every method under every remedy.",
            "One grid of percentages for each method and remedy, over points and separation.",
        ),
    },
    "stopping": {
        "stops": StudyFigure(
            single(rate.stops),
            "Where a small rise stops EM",
            "Each mark is a start: the largest distance of any parameter from the optimum, in standard errors, when a "
            "pass raises the log-likelihood per point by less than the tolerance. Lines join the medians. Where groups "
            "overlap EM rises slowly long before it arrives, and the usual 1e-3 stops it after a few passes.",
            "Distance from the optimum in standard errors against the tolerance of the rule, both logarithmic.",
        )
    },
    "escape": {
        "escapes": StudyFigure(
            study_panels.escapes,
            "The way into a singularity",
            "Left: a component shrinks onto a point, a tied value or a flat. Solid: the other components settle by EM "
            "at each width; dashes: everything else is held; dotted: the slope of the theory, minus one for each "
            "point and direction. Right: collapses that EM finds by itself, step by step; the next step is singular.",
            "Log-likelihood against the width of a component on a logarithmic axis: straight lines without end.",
        )
    },
    "coordinates": {
        "passes": StudyFigure(
            study_panels.passes_by_chart,
            "Passes to the best in every chart",
            "A row for each chart, and below them the methods that bring their own coordinates. Marks are medians over "
            "the restarts that get within the stated nats of the best sound log-joint; a hollow mark says how many do. "
            "Where a mark is missing, no restart did.",
            "Dots of passes on a logarithmic axis, by chart and optimiser.",
        ),
        "failures": StudyFigure(
            study_panels.failures_by_chart,
            "How the climbs end",
            "All bars have the same starts. Light grey: restarts that reached the best. Black: restarts that left the "
            "set of mixtures, which only raw coordinates allow.",
            "Stacked bars of restarts by outcome, one for each method and chart.",
        ),
    },
    "stability": {
        "step_sizes": StudyFigure(
            study_panels.passes_by_step_size,
            "The edge of stability",
            "Passes of fixed-step ascent back to a maximum from a point near it. Dots are counted, lines are "
            "predicted from the Hessian, and vertical lines are its edge of stability, two over the largest "
            "curvature; crosses did not get back in time. The edge and the depth of the valley depend on the chart "
            "and the data. EM has no step size.",
            "Curves of passes against the step size that fall towards a vertical line and end at it; EM is a level "
            "line.",
        )
    },
    "affine": {
        "paths": StudyFigure(
            single(coordinates.paths),
            "The same climb in other units",
            "Largest gap, over the steps of a climb, between its path on the data and its path on the transformed data "
            "from the transformed start. EM's paths agree to rounding. Ascent's agree only where its coordinates "
            "absorb the change: working units absorb new units of the columns and no rotation.",
            "Dots of gaps on a logarithmic axis: EM at rounding error, ascent in data units many decades above.",
        )
    },
    "coupling": {
        "blocks": StudyFigure(
            study_panels.coupled_blocks,
            "How the score equations are coupled",
            "The Hessian of the log-likelihood at the optimum, with each equation's own block whitened. The remaining "
            "entries are correlations between equations, in any units and coordinates. One Gaussian has none. Well "
            "separated components have few; where they overlap, every equation depends on every other.",
            "Heat maps of the whitened Hessian: diagonal for one Gaussian, filled for two that overlap.",
        ),
        "curves": StudyFigure(
            study_panels.coupled_curves,
            "Coupling grows with overlap",
            "Left: the share of the whitened Hessian outside the blocks of the diagonal. Right: the share of the score "
            "that remains after one step from a nat below the optimum, if each equation is solved with the "
            "responsibilities held fixed, and if all are linearised and solved together. Marks are medians over data "
            "sets, and bars span them all. K = 1 is rounding: it is solved by either step. Where the "
            "overlap is large, more of the score can remain after Newton's step than after EM's.",
            "Share of the Hessian between equations, and score left after a step, against separation for each K.",
        ),
    },
    "rate": {
        "rates": StudyFigure(
            study_panels.rates,
            "EM slows down as overlap grows, and a direct method overtakes it",
            "Left: EM's rate, the largest fraction of missing information, at the optimum of each simulated data set, "
            "with real ones as dotted lines. Right: passes from one nat to 1e-8 nats below the optimum, from the same "
            "starts; lines are medians over data sets, and bands span them all. The grey band is where EM and L-BFGS "
            "cross, with its 95 % interval.",
            "EM's rate and the passes of five methods against separation; EM and L-BFGS cross.",
        ),
        "predicted": StudyFigure(
            single(rate.predicted),
            "Passes as the rates predict them",
            "Passes that EM's rate, and that of the gradient with its best fixed step, predict for the slowest "
            "direction, against passes counted; a start that hardly moves along that direction takes fewer.",
            "Counted passes against predicted ones lie along the diagonal.",
        ),
    },
    "overspecified": {
        "errors": StudyFigure(
            single(rate.errors),
            "An over-specified fit heals slowly",
            "Mean error of the location of two components fitted to one, against N, with two standard errors. Lines: "
            "the fitted powers of N. Theory: -1/4 where the weights are equal, -1/2 where they are not.",
            "Mean error against N on logarithmic axes: two lines, one half as steep as the other.",
        )
    },
    "calibration": {
        "ranks": StudyFigure(
            study_panels.rank_curves,
            "Whether the samplers are calibrated",
            "Mixtures are drawn from the prior, points from each of them, and the mixture is ranked among the draws "
            "given its points. Curves: the share of replications below each rank, less the share due to uniform "
            "ranks. For each quantity, the whole curve of a correct sampler stays in the grey band 19 times in 20. A "
            "hump means that the truth tends to lie below the draws; a trough, above. A wave that rises first and "
            "then falls below zero means that draws are too narrow; one that falls first, too wide.",
            "A panel for each quantity: curves of rank departures, one for each sampler, over a grey band about zero.",
        )
    },
    "standard_errors": {
        "ways": StudyFigure(
            study_panels.errors_by_way,
            "Standard errors by seven ways",
            "Every parameter of a subject has a line of its own, with its estimate; each mark is a standard error over "
            "that by observed information. Circle, cross and plus are the same number by three routes. Bars are two "
            "Monte-Carlo errors of a bootstrap. Rejected methods are named above a panel: many refits fail, or labels "
            "are in doubt, so that a spread would measure labels and not parameters.",
            "Dots of relative standard errors, one line for each parameter: near one where groups are clear.",
        )
    },
    "coverage": {
        "coverage": StudyFigure(
            study_panels.coverage_by_way,
            "How often 95 % intervals hold the truth",
            "Each mark is a share of simulated data sets, with its 95 % interval; curves are drawn beside each other. "
            "Rows: kinds of interval. Columns: parameters, components in the order of their means. A data set without "
            "an interval counts as a miss. Large data sets are not bootstrapped.",
            "Coverage against separation for each sample size: nominal to the right, below it to the left.",
        )
    },
}


def show_study(findings: Findings, title: str) -> Shown:
    """The page of a study: its figures and its rows."""
    figures = study_figures(findings)
    known = STUDY_FIGURES.get(findings.study.study, {})
    sections = [
        of_picture(Picture.of(figure, known[name].title, known[name].alt, known[name].caption))
        for name, figure in figures.items()
    ]
    note = Markup(
        "A dash marks a missing number. There are {} rows; every row, with all its columns, is in "
        "<code>cells</code> of this results folder. {}"
    ).format(len(findings.rows), findings.note)
    rows = Grid(replace(findings.table, note=""), f"Rows of {title}")
    sections.append(Section("What was found", [rows, Words(note, "note")]))
    where = reproduce("workbench run NAME.toml", toml_of(findings.study.resolved()))
    return Shown(Page(title, [Words(findings.study.summary, "reading")], [*sections, where]), figures)


def study_figures(findings: Findings) -> dict[str, Figure]:
    """The figures of a study by name, drawn from its rows."""
    return {name: figure.draw(findings) for name, figure in STUDY_FIGURES.get(findings.study.study, {}).items()}
