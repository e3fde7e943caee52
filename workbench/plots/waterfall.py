"""The plot of the end values of all restarts, best to worst: the number of optima, and how often each is reached."""

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from workbench.compare import Comparison
from workbench.compare.summary import WITHIN
from workbench.diagnostics import Status
from workbench.plots.ends import Gaps, statuses
from workbench.plots.style import EDGE, colours, legend_above, plain, tidy

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Marker and fill of each status. A restart that is not finite has no height, and is counted under its method's name.
MARKERS: dict[Status, tuple[str, bool, str]] = {
    Status.CONVERGED: ("o", True, "converged"),
    Status.BUDGET: ("o", False, "ran out"),
    Status.DROPPED: (".", True, "dropped"),
    Status.PLATEAU: ("s", False, "on a plateau"),
    Status.COLLAPSED: ("x", True, "collapsed"),
    Status.DIVERGENT: ("D", False, "divergent"),
}

# Height at which all ends above the best are drawn, because a spike has no upper bound.
ABOVE = -0.45


def waterfall(ax: "Axes", comparison: Comparison) -> None:
    """End value of every restart in nats below the best, sorted by method and marked by status; up is better.

    The axis is linear up to 1 nat and logarithmic beyond. Ends above the best, which are never sound, are in a strip at
    the top, with a note on how far above they reach. For samplers, a band contains nine in ten of their draws.
    """
    gaps, shades = Gaps.of(comparison), colours(comparison)
    blocks = [_block(comparison, name, gaps) for name, trace in comparison.items() if not trace.is_sampler]
    lowest = [gap for block in blocks for gap in block.gaps]
    left, ticks = 0.0, []
    for block in blocks:
        _draw_block(ax, block, left, shades[block.name])
        ticks.append((left + block.restarts / 2, block.title))
        left += block.restarts
        ax.axvline(left, color="0.85", linewidth=0.8, zorder=0)
    for name, trace in comparison.items():
        if trace.is_sampler:
            lowest.append(_draw_band(ax, name, gaps.band(trace), shades[name]))
    _explain_markers(ax, {status for block in blocks for status in block.statuses})
    scale_gaps(ax, lowest)
    ax.set_xlim(0, max(left, 1.0))
    ax.set_xticks([at for at, _ in ticks], [plain(text) for _, text in ticks])
    ax.tick_params(axis="x", length=0)
    ax.set_xlabel("restarts of each method, best first")
    ax.set_ylabel(gaps.label)
    legend_above(ax, 3)
    tidy(ax)


class _Block(NamedTuple):
    """The restarts of one method with a finite end, best first."""

    name: str
    restarts: int
    gaps: list[float]
    statuses: list[Status]

    @property
    def title(self) -> str:
        lost = self.restarts - len(self.gaps)
        return f"{self.name}\n{lost} not finite" if lost else self.name


def _block(comparison: Comparison, name: str, gaps: Gaps) -> _Block:
    ends, found = gaps.below(comparison[name].log_joint[:, -1]), statuses(comparison, name)
    order = [int(r) for r in np.argsort(ends, kind="stable") if found[r] != Status.NONFINITE and np.isfinite(ends[r])]
    return _Block(name, len(ends), [float(ends[r]) for r in order], [found[r] for r in order])


def _draw_block(ax: "Axes", block: _Block, left: float, colour: str) -> None:
    above = [-gap for gap in block.gaps if gap < -WITHIN]
    heights = [ABOVE if gap < -WITHIN else max(gap, 0.0) for gap in block.gaps]
    places = left + 0.5 + np.arange(len(heights))
    size = float(np.clip(60 / np.sqrt(max(block.restarts, 1)) / 2, 3, 6.5))
    steps = slice(len(above), None)
    ax.plot(places[steps], heights[steps], color=colour, linewidth=0.8, alpha=0.5, drawstyle="steps-mid", zorder=2)
    for place, height, status in zip(places, heights, block.statuses, strict=True):
        marker, filled, _ = MARKERS[status]
        face = colour if filled else "white"
        ax.plot(place, height, marker=marker, markersize=size, color=colour, markerfacecolor=face, zorder=3)
    if above:
        note = f"{len(above)} above, by up to {max(above):,.3g}"
        ax.annotate(note, (left + 0.5, ABOVE), (0, 9), textcoords="offset points", fontsize="small", color=colour)


def _draw_band(ax: "Axes", name: str, band: tuple[float, float, float], colour: str) -> float:
    """Draw the band of nine in ten of a sampler's draws. Returns its lower end."""
    low, middle, high = band
    if not np.isfinite(middle):
        return 0.0
    ax.axhspan(low, high, color=colour, alpha=0.18, linewidth=0, zorder=0, label=plain(f"{name}: 90 % of its draws"))
    ax.axhline(middle, color=colour, linewidth=1.0, zorder=1)
    return high


def _explain_markers(ax: "Axes", used: set[Status]) -> None:
    for status, (marker, filled, label) in MARKERS.items():
        if status in used:
            face = EDGE if filled else "white"
            ax.plot([], [], linestyle="none", marker=marker, color=EDGE, markerfacecolor=face, label=label)


def scale_gaps(ax: "Axes", gaps: list[float]) -> None:
    """Invert the axis so that up is better, with a strip for the ends above the best, if there are any."""
    above = any(gap < -WITHIN for gap in gaps)
    ax.set_yscale("symlog", linthresh=1.0, linscale=0.6)
    ax.set_ylim(1.6 * max(1.0, *gaps, 1.0), -0.9 if above else -0.15)
    lowest = max(1.0, *gaps, 1.0)
    powers = [10.0**k for k in range(int(np.floor(np.log10(lowest))) + 1)]
    ticks = [0.0, 0.5, *(m * p for p in powers for m in (1, 2, 5) if m * p <= 1.6 * lowest)]
    ax.set_yticks(ticks, [format(tick, "g" if tick < 1e5 else ".0e") for tick in ticks])
    if above:
        ax.axhspan(-0.15, -0.9, color="0.93", linewidth=0, zorder=0)
