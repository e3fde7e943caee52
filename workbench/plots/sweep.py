"""The plot of the results of a sweep against a swept number."""

from typing import TYPE_CHECKING

import numpy as np

from workbench.jobs.sweep import Swept
from workbench.plots.style import colours, tidy

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Columns of results, which are not swept.
FOUND = ("method", "state", "status", "log_joint", "passes", "step_seconds")


def swept_columns(found: Swept) -> list[str]:
    """The settings that were swept."""
    return [name for name in found.columns if name not in FOUND and not name.startswith("restarts_")]


def axis_of(found: Swept) -> str | None:
    """The swept number for the axis: the first that is not a seed, else the seed; None if none is a number."""
    numbers = [
        name
        for name in swept_columns(found)
        if all(isinstance(row.get(name), int | float) and not isinstance(row.get(name), bool) for row in found.rows)
    ]
    return next((name for name in numbers if name != "seed"), numbers[0] if numbers else None)


def along(ax: "Axes", found: Swept, x: str, y: str, label: str) -> None:
    """Cells as marks and medians at each value as lines, with a colour for each method."""
    methods = list(dict.fromkeys(str(row["method"]) for row in found.rows if row.get("method") is not None))
    for method, colour in zip(methods, colours(methods).values(), strict=True):
        pairs = [(row[x], row[y]) for row in found.rows if row.get("method") == method and row.get(y) is not None]
        if pairs:
            places, values = np.asarray(pairs, float).T
            ax.plot(places, values, ".", color=colour, alpha=0.35, markersize=5)
            unique = np.unique(places)
            ax.plot(unique, [float(np.median(values[places == place])) for place in unique], color=colour, label=method)
    ax.set_xlabel(x.replace("_", " "))
    ax.set_ylabel(label)
    if ax.lines:
        ax.legend(frameon=False, fontsize="small")
    tidy(ax)
