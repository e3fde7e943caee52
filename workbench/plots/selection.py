"""Plots of criteria over the number of components: the gap of each K below the best, and the chosen K."""

from typing import TYPE_CHECKING

import numpy as np

from workbench.plots.style import CYCLE, EDGE, strokes, tidy
from workbench.selection import CRITERIA, FamilySelection, Selection

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# The axis is linear up to this many nats below the best, and logarithmic beyond, where no K is competitive.
LINEAR = 10.0

BLUE, RED = CYCLE[:2]


def criterion(ax: "Axes", selection: Selection, name: str) -> None:
    """One criterion: nats below its best K, with the standard error of the difference, and a mark at the best."""
    found = {choice.components: selection.difference(name, choice.components) for choice in selection.choices}
    known = {k: difference for k, difference in found.items() if difference is not None}
    best = selection.best(name)
    ax.axhline(0, color=EDGE, linewidth=0.8, zorder=0)
    if best is not None:
        below = np.asarray([difference.below for difference in known.values()])
        errors = np.asarray([difference.standard_error or 0.0 for difference in known.values()])
        ax.errorbar(
            list(known), below, errors, color=BLUE, linewidth=1.2, marker="o", markersize=4, elinewidth=1.0, capsize=2
        )
        ax.plot([best], [0], "o", color=RED, markersize=8, zorder=3)
        low, high = float(np.max(below + errors)), float(np.min(below - errors))
        _rejected(ax, selection, name, best, (low, high))
    else:
        low, high = 1.0, 0.0
        ax.text(0.5, 0.5, "fewer than two values", transform=ax.transAxes, ha="center", va="center", color=EDGE)
    _scale(ax, max(low, 1.0), min(high, 0.0))
    ax.set_xticks(list(found))
    ax.set_xlim(min(found) - 0.5, max(found) + 0.5)
    chosen = "no K" if best is None else f"K = {best}"
    ax.set_title(f"{CRITERIA[name].heading.removesuffix(' / -2')}: {chosen}", fontsize="medium")
    tidy(ax)


def _rejected(ax: "Axes", selection: Selection, name: str, best: int, span: tuple[float, float]) -> None:
    """Hollow marks for values that are not eligible, moved to the edge of the shown range."""
    top = selection[best].scores[name].value
    assert top is not None
    marks = {c.components: top - r for c in selection.choices if (r := c.scores[name].rejected) is not None}
    # Beyond the range of the eligible values, a mark would determine the scale.
    places = [min(max(below, span[1]), max(span[0], 1.0)) for below in marks.values()]
    ax.plot(list(marks), places, "o", markerfacecolor="white", markeredgecolor=EDGE, markersize=6, linestyle="none")


def families(ax: "Axes", grid: FamilySelection, name: str) -> None:
    """One criterion over K, with a line for each covariance family: nats below the best model, and a mark at it.

    A model that is not eligible has a hollow mark at the lower edge, and is not on a line.
    """
    best = grid.best(name)
    found = {cell: grid.difference(name, cell) for cell in grid.scores(name)}
    asked = sorted({cell.components for cell in found})
    low = max([1.0, *(difference.below for difference in found.values() if difference is not None)])
    ax.axhline(0, color=EDGE, linewidth=0.8, zorder=0)
    for colour, (family, stroke) in zip(CYCLE, strokes(grid.families).items(), strict=False):
        known = {cell.components: d.below for cell, d in found.items() if cell.covariance == family and d is not None}
        below = [known.get(k, np.nan) for k in asked]
        ax.plot(asked, below, color=colour, marker="o", markersize=3.5, label=family, **{**stroke, "linewidth": 1.4})
        scores = {cell.components: score for cell, score in grid.scores(name).items() if cell.covariance == family}
        out = [k for k, score in scores.items() if score.rejected is not None]
        ax.plot(out, [low] * len(out), "o", markerfacecolor="white", markeredgecolor=colour, markersize=6)
    if best is None:
        ax.text(0.5, 0.5, "fewer than two values", transform=ax.transAxes, ha="center", va="center", color=EDGE)
    else:
        ax.plot([best.components], [0], "o", color=RED, markersize=8, zorder=3)
    _scale(ax, low, 0.0)
    ax.set_xticks(asked)
    ax.set_xlim(min(asked) - 0.5, max(asked) + 0.5)
    ax.set_title(f"{CRITERIA[name].heading.removesuffix(' / -2')}: {best or 'none'}", fontsize="medium")
    tidy(ax)


def _scale(ax: "Axes", low: float, high: float) -> None:
    """Invert the axis so that up is better, with plain numbers."""
    ax.set_yscale("symlog", linthresh=LINEAR, linscale=1.0)
    ax.set_ylim(1.15 * low, 1.15 * high - 0.06 * min(low, LINEAR))
    steps = (0.1, 0.2, 0.5, 1, 2, 5)
    step = next(step for step in steps if min(low, LINEAR) <= 5 * step or step == steps[-1])
    linear = np.arange(0, min(low, LINEAR) + step / 2, step)
    far = [m * 10.0**power for power in range(1, 7) for m in (1, 2, 5) if LINEAR < m * 10.0**power <= 1.15 * low]
    above = [tick for tick in -linear[1:] if tick >= high]
    ticks = [*above, *linear, *far]
    ax.set_yticks(ticks, [format(tick, "g") for tick in ticks])
    ax.minorticks_off()
