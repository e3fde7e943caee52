"""The page and the figure of a sweep."""

from collections.abc import Mapping
from typing import Any

from markupsafe import Markup
from matplotlib.figure import Figure

from workbench.jobs.sweep import Swept
from workbench.plots import selection as drawing
from workbench.report.page import Grid, Page, Picture, Section, Shown, Words, reproduce, toml_of

OF_CELLS = Markup(
    "A dash marks a missing number. <code>workbench table</code> shows every column, as CSV, JSON or Parquet."
)


def show_sweep(found: Swept, title: str, config: Mapping[str, Any]) -> Shown:
    """The page of a sweep: its rows, and figures along the swept settings.

    Args:
        found: the rows.
        title: the title of the page.
        config: the config of the job.
    """
    figures = sweep_figures(found)
    caption = (
        "Each mark is a cell; lines are medians over the cells of one method at one setting. Swept settings: "
        f"{', '.join(drawing.swept_columns(found))}. Log-joints of different data cannot be compared."
    )
    alt = "Best log-joint and passes of every method along the sweep."
    pictures = [Picture.of(figure, "Along the sweep", alt, caption) for figure in figures.values()]
    sections = [Section(picture.title, [picture]) for picture in pictures]
    sections.append(Section("Cells", [Grid(found, f"Cells of {title}"), Words(OF_CELLS, "note")]))
    home = [Words(f"Data files are relative to {config['folder']}.", "note")] if "folder" in config else []
    text = toml_of(config.get("sweep", {}))
    where = reproduce("workbench run NAME.toml", text, "The sweep, as it was run", *home)
    return Shown(Page(title, [Words(found.reading, "reading")], [*sections, where]), figures)


def sweep_figures(found: Swept) -> dict[str, Figure]:
    """The figures by name: best log-joint and passes along the first swept number; none if no number was swept."""
    along = drawing.axis_of(found)
    if along is None:
        return {}
    figure = Figure(figsize=(9.6, 4.0), layout="constrained")
    left, right = figure.subplots(1, 2)
    drawing.along(left, found, along, "log_joint", "best sound log-joint (nats)")
    drawing.along(right, found, along, "passes", "passes of all restarts")
    right.set_yscale("log")
    return {"sweep": figure}
