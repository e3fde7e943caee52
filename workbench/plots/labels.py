"""The plot of labels along a sampler's chains, as sampled and after relabelling."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from workbench.compare import Comparison
from workbench.plots.style import CYCLE, EDGE, axis_label, plain, tidy
from workbench.posterior.switching import DEFAULT, relabel

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Most chains shown side by side, and most draws of each, evenly spread, for which a panel is wide enough.
CHAINS_SHOWN = 8
DRAWS_SHOWN = 400


def labels(axes: "Sequence[Axes]", comparison: Comparison, method: str, algorithm: str = DEFAULT) -> None:
    """The first coordinate of the components' means along the chains, on two axes: as sampled, and relabelled.

    Each label has a colour. If colours differ between chains, the chains are in different labellings; if they change
    along a chain, its labels have switched. Neither is a failure of the sampler, but changes after relabelling may be.

    Raises:
        InputError: the method is not a sampler, or there is no such relabelling.
    """
    trace = comparison[method]
    relabelled = relabel(trace, comparison.problem, algorithm)
    sampled, settled = axes
    _draw(sampled, np.asarray(trace.answer.means))
    _draw(settled, np.asarray(relabelled.mixtures.means))
    sampled.set_title(plain(f"{method}: labels as sampled"), loc="left", fontsize="medium")
    settled.set_title(plain(f"relabelled by {algorithm}"), loc="left", fontsize="medium")
    sampled.set_ylabel(f"mean of {axis_label(comparison, 0)}")


def _draw(ax: "Axes", means: np.ndarray) -> None:
    """Plot the means [R, S, K, D] of the chains side by side."""
    chains, draws, components = means[:CHAINS_SHOWN].shape[:3]
    chosen = np.unique(np.linspace(0, draws - 1, min(draws, DRAWS_SHOWN)).astype(int))
    for r in range(chains):
        for k in range(components):
            (line,) = ax.plot(r * draws + chosen, means[r, chosen, k, 0], linewidth=0.7, rasterized=True)
            line.set_color(CYCLE[k % len(CYCLE)])
            line.set_label(f"component {k + 1}" if r == 0 else "_")
        if r > 0:
            ax.axvline(r * draws, color=EDGE, linewidth=0.8)
    ax.set_xlim(0, chains * draws)
    ax.set_xticks((np.arange(chains) + 0.5) * draws, [f"{r + 1}" for r in range(chains)])
    ax.tick_params(axis="x", length=0)
    ax.set_xlabel(f"chain, {draws:,} draws each")
    tidy(ax)
