"""Plots of escapes: the log-likelihood against the width of the shrinking component, imposed and by EM."""

from typing import TYPE_CHECKING

import numpy as np
from matplotlib.ticker import NullFormatter

from workbench.plots.style import CYCLE, EDGE, legend_above, plain, tidy
from workbench.studies import Findings

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def slopes(ax: "Axes", findings: Findings) -> None:
    """Imposed escapes from the place where the fit begins: dashed with fixed other components, solid with settled ones.

    Dotted lines have the slope of the theory.
    """
    for colour, subject in zip(CYCLE, findings.values("subject"), strict=False):
        for way, dashes in (("held", (0, (4, 2))), ("settled", "solid")):
            curve = findings.where(subject=subject, way=way)
            log_sigma, height = curve.column("log_sigma"), curve.column("log_likelihood")
            begin, theory = len(height) // 2, float(curve.column("theory")[0])
            label = plain(f"{subject}: {theory:.0f}") if way == "settled" else None
            ax.plot(
                np.exp(log_sigma), height - height[begin], color=colour, linestyle=dashes, linewidth=1.6, label=label
            )
            line = theory * (log_sigma[begin:] - log_sigma[begin])
            ax.plot(np.exp(log_sigma[begin:]), line, color=EDGE, linestyle=(0, (1, 2)), linewidth=1.2, zorder=3)
    _width_axis(ax, "width sigma of the component (data have unit spread)")
    ax.set_ylabel("log-likelihood, nats above where the fit begins")
    legend_above(ax, columns=2, title="shrinks onto: slope in theory (dotted); dashes: all else held fixed")
    tidy(ax)


def steps_of_em(ax: "Axes", findings: Findings) -> None:
    """EM's own collapses: every step from a random start to the last mixture that is not singular."""
    for colour, subject in zip(CYCLE, findings.values("subject"), strict=False):
        curve = findings.where(subject=subject, way="em")
        if curve.rows:
            label = plain(f"{subject.split(',')[0]}, {len(curve.rows) - 1} steps")
            height = curve.column("log_likelihood")
            ax.plot(
                np.exp(curve.column("log_sigma")), height - height[0], "o-", markersize=3, linewidth=1.0,
                color=colour, label=label,
            )  # fmt: skip
    _width_axis(ax, "width sigma of the narrowest direction (data have unit spread)")
    ax.set_ylabel("log-likelihood, nats above the start")
    legend_above(ax, columns=2, title="EM from a random start until a covariance is singular")
    tidy(ax)


def _width_axis(ax: "Axes", label: str) -> None:
    """Make the axis logarithmic and falling to the right, with labels at powers of ten only."""
    ax.set_xscale("log")
    ax.xaxis.set_minor_formatter(NullFormatter())
    ax.invert_xaxis()
    ax.set_xlabel(label)
