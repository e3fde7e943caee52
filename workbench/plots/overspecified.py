"""The plot of the error of an over-specified fit against the number of points."""

from typing import TYPE_CHECKING

import numpy as np

from workbench.plots.style import CYCLE, legend_above, tidy
from workbench.studies import Findings

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def errors(ax: "Axes", findings: Findings) -> None:
    """Mean error of theta against N with two standard errors, and the fitted power of N, for each weight."""
    for weight, shade in zip(findings.values("weight"), CYCLE, strict=False):
        own = findings.where(weight=weight)
        n, error, spread = (own.column(name) for name in ("points", "mean_error", "standard_error"))
        slope, uncertain = own.column("slope")[0], own.column("slope_error")[0]
        weights = (error / spread) ** 2
        level = np.average(np.log(error) - slope * np.log(n), weights=weights)
        ax.errorbar(n, error, 2 * spread, color=shade, marker="o", markersize=4.5, linestyle="none", capsize=2)
        label = f"weights {weight:g} and {1 - weight:g}: slope {slope:.3f} ± {uncertain:.3f}"
        ax.plot(n, np.exp(level) * n**slope, color=shade, linewidth=1.5, label=label)
    ax.set_xscale("log")
    ax.set_yscale("log")
    ax.set_xlabel("points N")
    ax.set_ylabel("mean error of the location")
    legend_above(ax, columns=1)
    tidy(ax)
