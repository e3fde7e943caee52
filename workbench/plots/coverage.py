"""The plot of interval coverage against separation, with a curve for each sample size."""

from typing import TYPE_CHECKING

import numpy as np

from workbench.plots.style import CYCLE, EDGE, tidy
from workbench.studies import Findings
from workbench.studies.uncertainty import NOMINAL

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Horizontal offset between curves, in standard deviations, so that their intervals can be distinguished.
APART = 0.05

# The axis begins here unless a curve is lower.
LOWEST = 0.7


def coverage(ax: "Axes", findings: Findings, way: str, parameter: str) -> None:
    """Coverage of one parameter by one kind of interval, with 95 % intervals; the horizontal line is the nominal one.

    The table reports the widths, which differ by orders of magnitude over the separations.
    """
    sizes = findings.values("points")
    for i, (n, shade) in enumerate(zip(sizes, CYCLE, strict=False)):
        found = findings.where(way=way, parameter=parameter, points=n)
        if not found.rows:
            continue
        x, share = found.column("separation"), found.column("coverage")
        reach = np.clip([share - found.column("low"), found.column("high") - share], 0, None)
        ax.errorbar(
            x + APART * (i - (len(sizes) - 1) / 2), share, reach,
            color=shade, linewidth=1.4, marker="o", markersize=3.5, elinewidth=0.9, capsize=2, label=f"N = {n:,}",
        )  # fmt: skip
    ax.axhline(NOMINAL, color=EDGE, linewidth=0.9, linestyle=(0, (2, 2)), label="nominal, 95 %")
    ax.set_ylim(min(LOWEST, float(np.min(findings.column("low"))) - 0.02), 1.01)
    ax.set_xticks(findings.values("separation"))
    tidy(ax)
