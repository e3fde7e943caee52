"""The page and the figure of a sweep."""

import base64
from pathlib import Path

from markupsafe import Markup
from matplotlib.figure import Figure

from workbench.engine.files import replacing
from workbench.jobs.sweep import Swept
from workbench.plots import sweep as drawing
from workbench.report.environment import environment
from workbench.report.figures import save_all, svg_of


def write_sweep_report(path: Path, found: Swept, title: str, config: str) -> None:
    """Write the page: one HTML file that needs no other, no network and no script. A reader never sees half of it."""
    sources = [base64.b64encode(svg_of(figure).encode()).decode() for figure in sweep_figures(found).values()]
    text = (
        environment()
        .get_template("sweep.html")
        .render(
            title=title,
            reading=found.reading,
            sources=[f"data:image/svg+xml;base64,{source}" for source in sources],
            swept=", ".join(drawing.swept_columns(found)),
            # Its cells are escaped where it is made.
            table=Markup(found.to_html()),
            config=config,
        )
    )
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def save_sweep_figures(found: Swept, folder: Path) -> list[Path]:
    """Write each figure to `folder/NAME.png` and return the paths. A reader never sees half a file."""
    return save_all(sweep_figures(found), folder)


def sweep_figures(found: Swept) -> dict[str, Figure]:
    """Passes and best log-joint along what was swept, where a number was; by name."""
    along = drawing.axis_of(found)
    if along is None:
        return {}
    figure = Figure(figsize=(9.6, 4.0), layout="constrained")
    left, right = figure.subplots(1, 2)
    drawing.along(left, found, along, "log_joint", "best sound log-joint (nats)")
    drawing.along(right, found, along, "passes", "passes of all restarts")
    right.set_yscale("log")
    return {"sweep": figure}
