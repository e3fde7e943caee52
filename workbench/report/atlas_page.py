"""The page and the figures of the atlases of an experiment."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup
from matplotlib.figure import Figure

from workbench.geometry.surface import draws_surface, surface_of
from workbench.jobs.atlas import Atlases
from workbench.plots import atlas as drawing
from workbench.plots.atlas import surface
from workbench.report.page import Grid, Page, Picture, Section, Shown, Words, of_picture, reproduce, toml_of

LEAD = Markup(
    "Every start is climbed to its end; ends that are equal up to the labels of components are one optimum. The "
    "gradient and the exact Hessian there decide its kind: a <em>maximum</em> descends in every direction, a "
    "<em>saddle</em> does not, a <em>plateau</em> is flat because components have merged or a weight has vanished, and "
    "a <em>degenerate</em> end rests on too few points. The <em>log-joint</em> is the log-likelihood plus the log "
    "prior, in nats."
)
OF_NUMBERS = Words(
    "Intervals are Wilson's, at 95 %. The largest eigenvalue is that of the Hessian in the complete-data information: "
    "-1 where no information is missing, 0 where the objective is flat; EM's rate there is 1 plus this eigenvalue.",
    "note",
)

# The most atlases and optima that are drawn; more would be too small to read.
MOST_ENDS = 6
MOST_OPTIMA = 9


@dataclass(frozen=True)
class AtlasFigure:
    """How a figure is drawn, and the words around it."""

    draw: Callable[[Atlases], Figure]
    title: str
    caption: str
    alt: str
    applies: Callable[[Atlases], bool] = lambda _: True


def show_atlases(found: Atlases, experiment: Mapping[str, Any]) -> Shown:
    """The page of the atlases of an experiment, whose resolved config is given."""
    figures = atlas_figures(found)
    notes = [f"{name} samples and is left out: it does not end on a point." for name in found.left_out]
    notes += [f"{name} failed: {why}" for name, why in found.failures.items()]
    lead = [Words(LEAD), Words(found.reading, "reading"), *(Words(note, "note") for note in notes)]
    sections = []
    for name, drawn in figures.items():
        own = FIGURES[name]
        sections.append(of_picture(Picture.of(drawn, own.title, f"{own.alt} {found.comparison.name}.", own.caption)))
    for each in found.atlases:
        title = f"{each.method} from {each.rule}"
        sections.append(Section(title, [Words(each.reading, "reading"), Grid(each.table, f"Optima of {title}")]))
    starts = max((each.starts for each in found.atlases), default=0)
    rules = ",".join(dict.fromkeys(each.rule for each in found.atlases))
    command = f"workbench atlas NAME.toml --starts {starts} --rules {rules}"
    where = reproduce(command, toml_of(experiment), "Resolved configuration", OF_NUMBERS)
    page = Page(f"Where the starts end: {found.comparison.name}", lead, [*sections, where])
    return Shown(page, {f"atlas_{name}": figure for name, figure in figures.items()})


def atlas_figures(found: Atlases) -> dict[str, Figure]:
    """The figures of the atlases that apply, by name."""
    return {name: figure.draw(found) for name, figure in _applying(found).items()}


def _applying(found: Atlases) -> dict[str, AtlasFigure]:
    return {name: figure for name, figure in FIGURES.items() if figure.applies(found)}


def _shares(found: Atlases) -> Figure:
    figure = Figure(figsize=(8.4, 1.6 + 0.62 * len(found.atlases)), layout="constrained")
    drawing.shares(figure.subplots(), found.atlases, found.numbers)
    return figure


def _ends(found: Atlases) -> Figure:
    shown = found.atlases[:MOST_ENDS]
    columns = min(len(shown), 2)
    rows = -(-len(shown) // columns)
    figure = Figure(figsize=(5.6 * columns, 4.4 * rows), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for ax, atlas in zip(axes, shown, strict=False):
        drawing.ends(ax, atlas)
    for ax in axes[len(shown) :]:
        ax.set_axis_off()
    return figure


def _optima(found: Atlases) -> Figure:
    shown = found.distinct[:MOST_OPTIMA]
    columns = min(len(shown), 3)
    rows = -(-len(shown) // columns)
    figure = Figure(figsize=(3.2 * columns, 2.9 * rows), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for ax, (basin, shares) in zip(axes, shown, strict=False):
        drawing.optimum(ax, found.comparison, basin, shares)
    for ax in axes[len(shown) :]:
        ax.set_axis_off()
    return figure


def _surface(found: Atlases) -> Figure:
    figure = Figure(figsize=(6.4, 6.8), layout="constrained")
    surface(figure.subplots(), found.comparison, surface_of(found.comparison.problem))
    return figure


FIGURES = {
    "shares": AtlasFigure(
        _shares,
        "How large each basin is",
        "Each bar is one method from one rule of starts, cut by the optimum that its starts lead to; equal "
        "colours are equal optima, matched by their parameters up to the labels of components.",
        "Share of starts that lead to each optimum, on",
    ),
    "ends": AtlasFigure(
        _ends,
        "Where every start ends",
        "Each mark is a start, and its height shows how many nats it ended below the best strict sound maximum: "
        "linear down to 1 nat, logarithmic below. A step is an optimum, and its width the size of its basin. Marks in "
        "a grey strip at the top, if any, ended above it with a singular covariance or a starved component, and are "
        "not answers.",
        "End value of every start, sorted from best to worst and marked by kind, on",
    ),
    "optima": AtlasFigure(
        _optima,
        "The optima on the data",
        "The components of each distinct optimum, the best first, at 1 and 2 standard deviations in the first two "
        "columns, or as densities of the only one. Optima that are not sound come last. The shares are the least "
        f"and the largest of the bars above. At most {MOST_OPTIMA} optima are drawn.",
        "Components of each distinct optimum drawn on the data, of",
        lambda found: bool(found.distinct),
    ),
    "surface": AtlasFigure(
        _surface,
        "The surface over the two means",
        "Contours: nats below the top, with weights and variances at their best for each pair of means (40 EM "
        "steps with the means held). Lines: the first five restarts of every method whose runs `workbench run` "
        "has stored, from a dot to a cross. The surface is symmetric about the diagonal, on which the components "
        "merge.",
        "Contours of the log-joint over the means of the two components, with the paths of each method, on",
        lambda found: draws_surface(found.comparison.problem),
    ),
}
