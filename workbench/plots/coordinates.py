"""Plots of the studies of coordinates, units and step sizes."""

from typing import TYPE_CHECKING

import numpy as np
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from workbench.geometry.stability import Outcome
from workbench.plots.style import CYCLE, EDGE, OWNERS, colours, legend_above, plain, tidy
from workbench.studies import Findings
from workbench.studies.coordinates import OWN

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Marker, colour and label by the units of a climb's coordinates; EM has none.
MARKS = {None: ("o", OWNERS["em"], "em"), "working": ("s", OWNERS["ascent"], "ascent, working units"),
         "data": ("^", "#000000", "ascent, data units")}  # fmt: skip

# Place of paths that agree to the last bit.
FLOOR = 1e-17

# Place of paths that are not finite, as a share of the axis.
BEYOND = 0.97


def paths(ax: "Axes", findings: Findings) -> None:
    """The largest gap between the two paths in nats per point, with a row for each subject and change of units."""
    rows = list(dict.fromkeys((row["subject"], row["change"]) for row in findings.rows))
    for number, (units, (marker, shade, label)) in enumerate(MARKS.items()):
        ax.plot([], [], marker, color=shade, label=label)
        for row in findings.where(units=units).rows:
            height = rows.index((row["subject"], row["change"])) + 0.16 * (number - 1)
            gap = row["gap"]
            if isinstance(gap, float):
                ax.plot(max(gap, FLOOR), height, marker, color=shade)
            else:
                at = ax.get_yaxis_transform()
                ax.plot(BEYOND, height, marker, color=shade, markerfacecolor="white", transform=at)
                ax.text(BEYOND - 0.02, height, "left the numbers ", ha="right", va="center", transform=at)
    ax.set_yticks(range(len(rows)), [plain(f"{subject}\n{change}") for subject, change in rows])
    ax.set_ylim(len(rows) - 0.5, -0.5)
    ax.set_xscale("log")
    ax.set_xlim(FLOOR / 3, 1e6)
    ax.set_xlabel("largest gap between the two paths (nats per point)")
    legend_above(ax, 3)
    tidy(ax)


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
SPREAD = 0.2


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
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.set_xlabel("restarts")
    legend_above(ax, 3)
    tidy(ax)


def steps(ax: "Axes", findings: Findings) -> None:
    """Passes back to the maximum against the step size, for one subject.

    Dots are counted passes, the line through them is the prediction of the quadratic, and the vertical line its edge.
    Crosses at the top are step sizes that did not return. EM's passes are a horizontal line, since it has no step size.
    """
    free = [shade for shade in CYCLE if shade != OWNERS["em"]]
    tops = [row["passes"] for row in findings.rows if isinstance(row["passes"], int)]
    top = 2.0 * max(tops, default=1)
    for chart, shade in zip(findings.values("chart"), free, strict=False):
        own = findings.where(chart=chart)
        rates, counted, foretold = (own.column(name) for name in ("step_size", "passes", "predicted_passes"))
        ax.plot(rates, foretold, color=shade, linewidth=1.2)
        ax.plot(rates, counted, "o", color=shade, markersize=4, label=plain(str(chart)))
        lost = np.isnan(counted)
        ax.plot(rates[lost], np.full(np.sum(lost), top), "x", color=shade, markersize=5)
        ax.axvline(own.column("predicted_edge")[0], color=shade, linewidth=0.9, linestyle=(0, (3, 2)))
    own_passes = findings.rows[0]["em_passes"]
    if isinstance(own_passes, int):
        ax.axhline(own_passes, color=OWNERS["em"], linewidth=2.0, label="EM, no step size")
    ax.set_xscale("log")
    ax.set_yscale("log")
    ax.set_xlabel("step size, per point, working units")
    ax.set_ylabel("passes back to the maximum")
    legend_above(ax, 2)
    tidy(ax)
