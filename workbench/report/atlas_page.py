"""The page and the figures of the atlases of an experiment."""

import base64
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from matplotlib.figure import Figure

from workbench.engine.files import replacing
from workbench.geometry.atlas import HEADINGS
from workbench.geometry.surface import draws_surface, surface_of
from workbench.jobs.atlas import Atlases
from workbench.plots import atlas as drawing
from workbench.plots.surface import surface
from workbench.report.environment import environment
from workbench.report.figures import save_all, svg_of
from workbench.report.study_page import WIDE, StudyPicture

# Atlases whose ends are drawn one by one, and optima that are drawn on the data: more would be too small to read.
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


def write_atlas_report(path: Path, found: Atlases, config: str) -> None:
    """Write the page: one HTML file that needs no other, no network and no script. A reader never sees half of it."""
    text = (
        environment()
        .get_template("atlas.html")
        .render(
            title=f"Where the starts end: {found.comparison.name}",
            reading=found.reading,
            left_out=found.left_out,
            failures=found.failures,
            pictures=_pictures(found),
            headings=list(HEADINGS),
            atlases=found.atlases,
            config=config,
        )
    )
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def save_atlas_figures(found: Atlases, folder: Path) -> list[Path]:
    """Write each figure to `folder/atlas_NAME.png` and return the paths. A reader never sees half a file."""
    return save_all(atlas_figures(found), folder, "atlas_")


def atlas_figures(found: Atlases) -> dict[str, Figure]:
    """The figures of the atlases by name, those that apply."""
    return {name: figure.draw(found) for name, figure in _applying(found).items()}


def _pictures(found: Atlases) -> list[StudyPicture]:
    pictures = []
    for figure in _applying(found).values():
        drawn = figure.draw(found)
        width, height = drawn.get_size_inches()
        source = f"data:image/svg+xml;base64,{base64.b64encode(svg_of(drawn).encode()).decode()}"
        alt = f"{figure.alt} {found.comparison.name}."
        pictures.append(StudyPicture(figure.title, alt, figure.caption, source, width > WIDE * height))
    return pictures


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
        "Each mark is a start, and its height is how many nats it ended below the best strict sound maximum: "
        "linear down to 1 nat, logarithmic below. A step is an optimum, and its width its basin. Marks in a grey "
        "strip at the top, if any, ended above it with a singular covariance or a starved component, and are no "
        "answers.",
        "End value of every start, sorted from best to worst and marked by kind, on",
    ),
    "optima": AtlasFigure(
        _optima,
        "The optima on the data",
        "The components of each distinct optimum, the best first, at 1 and 2 standard deviations in the first two "
        "columns, or as densities of the only one. Those that are not sound come last. The shares are the least "
        f"and the largest of the bars above. At most {MOST_OPTIMA} are drawn.",
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
