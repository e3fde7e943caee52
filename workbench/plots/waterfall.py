"""The end values of all restarts, best to worst: how many optima there are, and how often each is found."""

from typing import TYPE_CHECKING

import numpy as np

from workbench.compare import Comparison
from workbench.compare.summary import WITHIN
from workbench.diagnostics import Status
from workbench.plots.ends import Gaps, statuses
from workbench.plots.style import EDGE, colours, legend_above, plain, tidy

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Marker, and whether it is filled. A restart that is not finite has no height: it is counted under its method's name.
MARKERS: dict[Status, tuple[str, bool, str]] = {
    Status.CONVERGED: ("o", True, "converged"),
    Status.BUDGET: ("o", False, "ran out"),
    Status.PLATEAU: ("s", False, "on a plateau"),
    Status.COLLAPSED: ("x", True, "collapsed"),
    Status.DIVERGENT: ("D", False, "divergent"),
}

# Ends above the best are drawn at this height, whatever their value: a spike has no upper bound.
ABOVE = -0.45


def waterfall(ax: "Axes", comparison: Comparison) -> None:
    """End value of every restart as nats below the best, sorted within its method, marked by status; up is better.

    The axis is linear to 1 nat and logarithmic beyond. Ends above the best, which are never sound, stand in a strip at the
    top with how far above they reach. Samplers have no end; the band holds nine in ten of their draws.
    """
    gaps, shades = Gaps.of(comparison), colours(comparison)
    start, ticks, worst, used = 0, [], 1.0, set()
    above: list[float] = []
    for name, trace in comparison.items():
        if trace.is_sampler:
            worst = max(worst, _draw_band(ax, name, gaps.band(trace), shades[name]))
            continue
        ends, found = gaps.below(trace.log_joint[:, -1]), statuses(comparison, name)
        order = np.argsort(ends, kind="stable")  # those that are not finite come last
        finite = [r for r in order if np.isfinite(ends[r]) and found[r] != Status.NONFINITE]
        for rank, r in enumerate(finite):
            height = ABOVE if ends[r] < -WITHIN else max(ends[r], 0.0)
            _mark(ax, start + rank, height, found[r], shades[name], trace.num_restarts)
            used.add(found[r])
        above.extend(-ends[r] for r in finite if ends[r] < -WITHIN)
        worst = max([worst, *(ends[r] for r in finite)])
        ticks.append((start + (trace.num_restarts - 1) / 2, _name(name, trace.num_restarts, len(finite))))
        start += trace.num_restarts + max(1, round(0.04 * start + 0.5))
        ax.axvline(start - 0.5 * (start - ticks[-1][0] - trace.num_restarts / 2) - 0.5, color="0.9", linewidth=0.8)
    for status, (marker, filled, label) in MARKERS.items():
        if status in used:
            face = EDGE if filled else "none"
            ax.plot([], [], linestyle="none", marker=marker, color=EDGE, markerfacecolor=face, label=label)
    _scale(ax, worst, above)
    ax.set_xticks([at for at, _ in ticks], [plain(text) for _, text in ticks])
    ax.tick_params(axis="x", length=0)
    ax.set_xlabel("restarts of each method, best first")
    ax.set_ylabel(gaps.label)
    legend_above(ax, 6)
    tidy(ax)
