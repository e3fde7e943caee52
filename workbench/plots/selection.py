"""Criteria over the number of components: how far each K is below the best, and which K is chosen."""

from typing import TYPE_CHECKING

import numpy as np

from workbench.plots.style import CYCLE, EDGE, tidy
from workbench.selection import CRITERIA, Selection

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Nats below the best up to which the axis is linear; beyond, where no K is a rival, it is logarithmic.
LINEAR = 10.0

BLUE, RED = CYCLE[:2]


def criterion(ax: "Axes", selection: Selection, name: str) -> None:
    """One criterion: nats below its best K with the standard error of the difference, and a mark on the best."""
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
    else:
        low, high = 1.0, 0.0
        ax.text(0.5, 0.5, "fewer than two values", transform=ax.transAxes, ha="center", va="center", color=EDGE)
    _scale(ax, max(low, 1.0), min(high, 0.0))
    ax.set_xticks(list(found))
    ax.set_xlim(min(found) - 0.5, max(found) + 0.5)
    chosen = "no K" if best is None else f"K = {best}"
    ax.set_title(f"{CRITERIA[name].heading.removesuffix(' / -2')}: {chosen}", fontsize="medium")
    tidy(ax)


def _scale(ax: "Axes", low: float, high: float) -> None:
    """Turned over, so that up is better, with plain numbers."""
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
