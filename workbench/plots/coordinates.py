"""Plots of the study of coordinates: passes to the best in every chart, and the outcomes of the climbs."""

from typing import TYPE_CHECKING

import numpy as np
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from workbench.geometry.stability import Outcome
from workbench.plots.style import EDGE, colours, legend_above, plain, tidy
from workbench.studies import Findings
from workbench.studies.coordinates import OWN

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Colours of the outcomes, from the best to the worst; similar colours are not adjacent.
SHADES: dict[Outcome, str] = {
    Outcome.REACHED: "0.87",
    Outcome.SHORT: "0.65",
    Outcome.UNFINISHED: "#56B4E9",
    Outcome.WORSE: "#0072B2",
    Outcome.COLLAPSED: "#E69F00",
    Outcome.DIVERGED: "#D55E00",
    Outcome.LEFT: "#000000",
}

# Vertical distance between the marks of the optimisers in a chart's row.
SPREAD = 0.15


def passes(ax: "Axes", findings: Findings) -> None:
    """Median passes to the best for one subject: a row for each chart, and for each method with its own coordinates.

    A mark is filled if all restarts reach the best; otherwise the number that do is written beside it. An optimiser
    without a mark reached it from no start.
    """
    charts = [chart for chart in findings.values("chart") if chart != OWN]
    named = findings.values("method")
    movers = [name for name in named if not findings.where(method=name, chart=OWN).rows]
    owners = [name for name in named if name not in movers]
    shades = colours(["em", *movers])
    for row in findings.rows:
        name, price, reached = str(row["method"]), row["passes"], row["reached"]
        moves = name in movers
        place = charts.index(row["chart"]) if moves else len(charts) + owners.index(name)
        height = place + SPREAD * (movers.index(name) - (len(movers) - 1) / 2) if moves else float(place)
        shade = shades.get(name, EDGE)
        if price is not None:
            all_there = reached == row["restarts"]
            ax.plot(price, height, "o", color=shade, markerfacecolor=shade if all_there else "white", markersize=6)
            if not all_there:
                note = f"{reached} of {row['restarts']}"
                ax.annotate(note, (price, height), (6, 0), textcoords="offset points", va="center", fontsize=6.5)
    for name in movers:
        ax.plot([], [], "o", color=shades[name], label=plain(name))
    rows = [*charts, *owners]
    for place in range(len(rows) - 1):
        ax.axhline(place + 0.5, color="0.9", linewidth=0.8, zorder=0)
    ax.set_yticks(range(len(rows)), [plain(str(row)) for row in rows])
    ax.set_ylim(len(rows) - 0.5, -0.5)
    ax.set_xscale("log")
    ax.xaxis.set_minor_formatter(NullFormatter())
    ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    ax.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    ax.set_xlabel("passes over the data to the best (median restart)")
    legend_above(ax, 4)
    tidy(ax)


def failures(ax: "Axes", findings: Findings) -> None:
    """The outcomes of the restarts for one subject, with a bar for each method and chart, divided by outcome."""
    labels = [
        str(row["method"]) if row["chart"] == OWN else f"{row['method']}: {row['chart']}" for row in findings.rows
    ]
    left = np.zeros(len(labels))
    for outcome, shade in SHADES.items():
        counts = findings.column(outcome.value).astype(float)
        if np.any(counts):
            ax.barh(range(len(labels)), counts, left=left, color=shade, label=outcome.value.replace("_", " "))
        left += counts
    ax.set_yticks(range(len(labels)), [plain(label) for label in labels], fontsize="small")
    ax.set_ylim(len(labels) - 0.4, -0.6)
    ax.set_xlim(0, np.max(left))
    ax.set_xlabel("restarts")
    legend_above(ax, 3)
    tidy(ax)
