"""Layout of the figure of the study of calibration, with a panel for each quantity."""

from math import ceil

from matplotlib.figure import Figure

from workbench.plots import uncertainty
from workbench.studies import Findings

# The number of panels in a row.
ACROSS = 3


def rank_curves(findings: Findings) -> Figure:
    """Departures from uniform ranks, on equal axes and with one legend."""
    quantities = findings.values("quantity")
    down = ceil(len(quantities) / ACROSS)
    figure = Figure(figsize=(3.3 * ACROSS, 2.3 * down + 0.9), layout="constrained")
    axes = figure.subplots(down, ACROSS, sharex=True, sharey=True, squeeze=False).ravel()
    for ax, quantity in zip(axes, quantities, strict=False):
        uncertainty.ecdf_differences(ax, findings, quantity)
    for ax in axes[len(quantities) :]:
        ax.set_axis_off()
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper left", ncols=4, frameon=False, fontsize="small")
    figure.supxlabel("rank of the truth among the draws, as a share", fontsize="small")
    figure.supylabel("share of replications below it, less the share due", fontsize="small")
    return figure
