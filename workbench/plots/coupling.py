"""Plots of the study of coupling: heat maps of the Hessian's blocks, and the coupling against separation."""

from typing import TYPE_CHECKING, Any

import numpy as np

from workbench.plots.style import CYCLE, EDGE, legend_above, tidy
from workbench.studies import Findings
from workbench.studies.base import Row

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# The relative rounding of a number, where a share of zero is drawn, because it has no place on a log axis.
FLOOR = float(np.finfo(float).eps)


# A share below this can come from the rounding of the Hessian alone.
ROUNDING = 1e-10


def heat_map(ax: "Axes", row: Row) -> Any:
    """Absolute correlations between the equations, from one row of the study, with lines between the blocks.

    Returns:
        the image, for a colour bar from 0 to 1.
    """
    matrix, blocks, names = np.abs(np.asarray(row["matrix"])), np.asarray(row["blocks"]), row["names"]
    assert isinstance(names, list)
    image = ax.imshow(matrix, cmap="Blues", vmin=0.0, vmax=1.0, interpolation="nearest")
    edges = np.flatnonzero(np.diff(blocks)) + 0.5
    for edge in edges:
        ax.axhline(edge, color=EDGE, linewidth=0.6)
        ax.axvline(edge, color=EDGE, linewidth=0.6)
    middles = [float(np.mean(np.flatnonzero(blocks == b))) for b in range(len(names))]
    ax.set_xticks(middles, names, rotation=90, fontsize="x-small")
    ax.set_yticks(middles, names, fontsize="x-small")
    ax.tick_params(length=0)
    return image


def shares(ax: "Axes", findings: Findings) -> None:
    """The share of the Hessian between the equations against separation, with a curve for each K; K = 1 is a line."""
    _curves(ax, findings, "share")
    ax.set_ylabel("share of the Hessian between equations")


def left(ax: "Axes", findings: Findings) -> None:
    """The share of the score left after one step: solid for separate equations, dashed for all together."""
    _curves(ax, findings, "left_by_each")
    _curves(ax, findings, "left_by_all", linestyle=(0, (4, 2)), marker="s", fillstyle="none", labelled=False)
    ax.plot([], [], color=EDGE, marker="o", markersize=4, label="each on its own (EM)")
    ax.plot([], [], color=EDGE, marker="s", markersize=4, fillstyle="none", linestyle=(0, (4, 2)), label="all (Newton)")
    ax.set_ylabel("score left after one step (share)")
    legend_above(ax, columns=3)


def _curves(ax: "Axes", findings: Findings, column: str, *, labelled: bool = True, **style: Any) -> None:
    """Medians over replications, with bars from the smallest to the largest value."""
    simulated = findings.where(subject="simulated", status="maximum")
    look: dict[str, Any] = {
        "linestyle": "solid",
        "marker": "o",
        "markersize": 4,
        "linewidth": 1.5,
        "elinewidth": 0.9,
        "capsize": 2,
    }
    for k, shade in zip(sorted(simulated.values("components")), CYCLE, strict=False):
        own = simulated.where(components=k)
        name = f"K = {k}" if labelled else None
        if k == 1:
            height = float(max(np.max(own.column(column)), FLOOR))
            rounding = f"{name}: rounding" if name and height < ROUNDING else name
            ax.axhline(height, color=shade, linewidth=1.5, linestyle=look["linestyle"], label=rounding)
            continue
        x = sorted(own.values("separation"))
        groups = [own.where(separation=s).column(column) for s in x]
        groups = [np.maximum(g[np.isfinite(g)], FLOOR) for g in groups]
        middle = np.asarray([np.median(g) if len(g) else np.nan for g in groups])
        low = np.asarray([m - np.min(g) if len(g) else 0.0 for g, m in zip(groups, middle, strict=True)])
        high = np.asarray([np.max(g) - m if len(g) else 0.0 for g, m in zip(groups, middle, strict=True)])
        ax.errorbar(x, middle, [low, high], color=shade, label=name, **(look | style))
    ax.set_yscale("log")
    ax.set_xlabel("separation (standard deviations of a component)")
    legend_above(ax, columns=4)
    tidy(ax)
