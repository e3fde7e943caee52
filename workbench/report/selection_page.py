"""The page and the figure of a choice among numbers of components."""

import base64
from pathlib import Path

from matplotlib.figure import Figure

from workbench.files import replacing
from workbench.plots import selection as drawing
from workbench.report.environment import environment
from workbench.report.figures import DOTS_PER_INCH, svg_of
from workbench.selection import CRITERIA, Selection
from workbench.selection.selection import SCALE

COLUMNS = 4


def write_selection_report(path: Path, selection: Selection, config: str) -> None:
    """Write the page: one HTML file that needs no other, no network and no script. A reader never sees half of it."""
    drawn = base64.b64encode(svg_of(selection_figure(selection)).encode()).decode()
    text = (
        environment()
        .get_template("selection.html")
        .render(
            title=f"How many components: {selection.name}",
            selection=selection,
            scale=SCALE,
            criteria=list(CRITERIA.values()),
            source=f"data:image/svg+xml;base64,{drawn}",
            config=config,
        )
    )
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def save_selection_figure(selection: Selection, folder: Path) -> Path:
    """Write the figure to `folder/selection.png` and return the path. A reader never sees half a file."""
    path = folder / "selection.png"
    with replacing(path) as temporary:
        figure = selection_figure(selection)
        figure.savefig(temporary, format="png", dpi=DOTS_PER_INCH, metadata={"Software": None})
    return path


def selection_figure(selection: Selection) -> Figure:
    """A panel for each criterion over K."""
    rows = -(-len(CRITERIA) // COLUMNS)
    figure = Figure(figsize=(2.9 * COLUMNS, 2.7 * rows), layout="constrained")
    axes = figure.subplots(rows, COLUMNS).ravel()
    for ax, name in zip(axes, CRITERIA, strict=False):
        drawing.criterion(ax, selection, name)
    for ax in axes[len(CRITERIA) :]:
        ax.set_axis_off()
    figure.supxlabel("components K", fontsize="medium")
    figure.supylabel("nats below the best K", fontsize="medium")
    return figure
