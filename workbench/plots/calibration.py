"""The plot of ranks of the truth among draws: the deviation of their distribution function from uniform ranks."""

from typing import TYPE_CHECKING

import numpy as np

from workbench.diagnostics.calibration import envelope
from workbench.plots.style import EDGE, colours, plain, strokes, tidy
from workbench.studies import Findings

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Simultaneous coverage of the band: one curve of uniform ranks in twenty leaves it somewhere.
COVERAGE = 0.95

# Names of the ranked quantities as text; {} stands for the number in brackets after a quantity's name.
WORDS = {
    "log_joint": "log-joint",
    "log_likelihood": "log-likelihood",
    "squared_weights": "sum of squared weights",
    "log_determinants": "sum of log-determinants",
    "co_clustering": "co-clustering of two points",
    "sorted_means": "first coordinate of ordered mean {}",
    "log_density": "log density at fixed point {}",
}


def ecdf_differences(ax: "Axes", findings: Findings, quantity: str) -> None:
    """The share of replications below each rank minus that of uniform ranks, with a curve for each method.

    A curve above zero means that the truth tends to be below the draws. The grey band contains the whole curve of
    uniform ranks with a probability of `COVERAGE`.
    """
    methods = findings.values("method")
    shades, styles = colours(methods), strokes(methods)
    for i, method in enumerate(methods):
        (row,) = findings.where(method=method, quantity=quantity).rows
        counts = np.asarray(row["counts"])
        replications, draws = int(counts.sum()), len(counts) - 1
        below = np.arange(1, draws + 1) / (draws + 1)
        if i == 0:
            low, high = envelope(replications, draws).band(COVERAGE)
            reach = (low / replications - below, high / replications - below)
            within = f"{100 * COVERAGE:.0f} % of uniform ranks"
            ax.fill_between(below, *reach, color=EDGE, alpha=0.18, linewidth=0, step="mid", label=within)
        off = np.cumsum(counts)[:-1] / replications - below
        dashes = styles[method]["linestyle"]
        ax.plot(below, off, color=shades[method], linewidth=1.4, linestyle=dashes, label=plain(method))
    ax.axhline(0.0, color=EDGE, linewidth=0.8)
    ax.set_xlim(0, 1)
    ax.set_title(words(quantity), fontsize="small")
    tidy(ax)


def words(quantity: str) -> str:
    """The name of a quantity as text: `log density at fixed point 2` for `log_density[1]`."""
    name, _, number = quantity.rstrip("]").partition("[")
    return WORDS[name].format(int(number or 0) + 1)
