"""The plot of the study of stability: passes against the step size in every chart, with predicted edges and EM."""

from typing import TYPE_CHECKING

import numpy as np

from workbench.plots.style import CYCLE, OWNERS, legend_above, plain, tidy
from workbench.studies import Findings

if TYPE_CHECKING:
    from matplotlib.axes import Axes


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
