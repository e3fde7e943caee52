"""The page and the figure of a choice among numbers of components."""

import base64
from pathlib import Path

from matplotlib.figure import Figure

from workbench.engine.files import replacing
from workbench.plots import selection as drawing
from workbench.report.environment import environment
from workbench.report.figures import DOTS_PER_INCH, svg_of
from workbench.selection import CRITERIA, FamilySelection, Selection

COLUMNS = 4


def write_selection_report(path: Path, selection: Selection | FamilySelection, config: str) -> None:
    """Write the page: one HTML file that needs no other, no network and no script. A reader never sees half of it."""
    is_grid = isinstance(selection, FamilySelection)
    drawn = base64.b64encode(svg_of(selection_figure(selection)).encode()).decode()
    text = (
        environment()
        .get_template("selection_families.html" if is_grid else "selection.html")
        .render(
            title=f"{'Which family, and how' if is_grid else 'How'} many components: {selection.name}",
            selection=selection,
            criteria=CRITERIA,
            source=f"data:image/svg+xml;base64,{drawn}",
            config=config,
        )
    )
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def save_selection_figure(selection: Selection | FamilySelection, folder: Path) -> Path:
    """Write the figure to `folder/selection.png` and return the path. A reader never sees half a file."""
    path = folder / "selection.png"
    with replacing(path) as temporary:
        figure = selection_figure(selection)
        figure.savefig(temporary, format="png", dpi=DOTS_PER_INCH, metadata={"Software": None})
    return path


def selection_figure(selection: Selection | FamilySelection) -> Figure:
    """A panel for each criterion over K, with a line for each covariance family where there are several."""
    rows = -(-len(CRITERIA) // COLUMNS)
    figure = Figure(figsize=(2.9 * COLUMNS, 2.7 * rows), layout="constrained")
    axes = figure.subplots(rows, COLUMNS).ravel()
    for ax, name in zip(axes, CRITERIA, strict=False):
        if isinstance(selection, FamilySelection):
            drawing.families(ax, selection, name)
        else:
            drawing.criterion(ax, selection, name)
    for ax in axes[len(CRITERIA) :]:
        ax.set_axis_off()
    if isinstance(selection, FamilySelection):
        axes[-1].legend(*axes[0].get_legend_handles_labels(), loc="center", frameon=False, title="covariance")
    figure.supxlabel("components K", fontsize="medium")
    figure.supylabel("nats below the best", fontsize="medium")
    return figure
