"""The plot of the score of every restart against its price, in passes over the data or in seconds."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from workbench.compare import Comparison
from workbench.compare.summary import WITHIN
from workbench.diagnostics import Status
from workbench.loop.trace import Trace
from workbench.plots.ends import Gaps, last_rows, statuses, typical_restart
from workbench.plots.style import EDGE, colours, legend_above, plain, strokes, tidy

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Gaps below this are drawn at this value, which is two decades below `WITHIN` and above the rounding of a score.
FLOOR = 1e-5

# The strip beyond the floor in which spikes are marked, because gaps of zero or less have no place on a log axis.
STRIP = (FLOOR / 8, FLOOR / 2)

# If there are only samplers, the best is a draw, and no other draw is expected to come close to it.
SAMPLER_TOP = 0.05


@dataclass(frozen=True)
class _Price:
    """The horizontal axis."""

    against: Literal["passes", "seconds"]

    @property
    def label(self) -> str:
        if self.against == "passes":
            return "passes over the data, of each restart"
        return "seconds stepping, all restarts together"

    def of(self, trace: Trace) -> np.ndarray:
        """The price of every row. [R, T]"""
        if self.against == "passes":
            return np.asarray(trace.passes, float)
        return np.broadcast_to(trace.seconds, trace.passes.shape)


def score(ax: "Axes", comparison: Comparison, against: Literal["passes", "seconds"] = "passes") -> None:
    """Nats below the best sound log-joint for every restart at every recorded price; up is better.

    Thin lines are restarts, and the strong line is the typical restart among those that reach the method's best. For a
    sampler, thin lines are the warm-up of its chains, and the band contains nine in ten of its draws. Both axes are
    logarithmic. A collapsed restart that exceeds the best is marked in the strip above it.
    """
    price, gaps = _Price(against), Gaps.of(comparison)
    climbs = any(not trace.is_sampler for trace in comparison.values())
    if climbs and gaps.sound:
        _draw_threshold(ax)
    crashed, spiked = False, False
    for name, trace in comparison.items():
        if trace.is_sampler:
            _draw_sampler(ax, comparison, name, price, gaps)
        else:
            below, above = _draw_restarts(ax, comparison, name, price, gaps)
            crashed, spiked = crashed or below, spiked or above
    if crashed:
        ax.plot([], [], linestyle="none", marker="x", color=EDGE, label="collapsed")
    if spiked:
        ax.plot([], [], linestyle="none", marker="^", color=EDGE, label="collapsed, above the best")
        ax.axhspan(STRIP[0], FLOOR * 0.8, color="0.93", linewidth=0, zorder=0)
    top = STRIP[0] if spiked else (0.7 * FLOOR if climbs else SAMPLER_TOP)
    _scale_prices(ax, np.concatenate([price.of(trace).ravel() for trace in comparison.values()]), price)
    _scale_gaps(ax, np.concatenate([gaps.below(trace.log_joint).ravel() for trace in comparison.values()]), top)
    ax.set_xlabel(price.label)
    ax.set_ylabel(gaps.label)
    legend_above(ax)
    tidy(ax)


def _draw_threshold(ax: "Axes") -> None:
    ax.axhline(WITHIN, color=EDGE, linewidth=0.8, linestyle=(0, (2, 2)), zorder=1)
    note: dict[str, Any] = {"fontsize": "small", "color": EDGE, "va": "bottom", "transform": ax.get_yaxis_transform()}
    ax.text(0.015, WITHIN, "counts as the best", **note)


def _draw_restarts(ax: "Axes", comparison: Comparison, name: str, price: _Price, gaps: Gaps) -> tuple[bool, bool]:
    """Draw the restarts of a method. Returns whether one collapsed below the best, and whether one did above it."""
    trace, shade = comparison[name], colours(comparison)[name]
    x, below = price.of(trace), gaps.below(trace.log_joint)
    collapsed = [status == Status.COLLAPSED for status in statuses(comparison, name)]
    typical, lasts = typical_restart(trace, below, collapsed), last_rows(trace)
    ax.plot([], [], color=shade, label=plain(f"{name} ({trace.num_restarts} restarts)"), **strokes(comparison)[name])
    crashed, spiked = False, False
    for r, last in enumerate(lasts):
        exceeds = np.flatnonzero(below[r, : last + 1] < -WITHIN)
        stop = int(exceeds[0]) if len(exceeds) else int(last) + 1
        xs, ys = x[r, :stop], np.maximum(below[r, :stop], FLOOR)
        if r == typical:
            style = strokes(comparison)[name]
            ax.plot(xs, ys, color=shade, zorder=3, solid_capstyle="round", **style)
        else:
            ax.plot(xs, ys, color=shade, linewidth=0.7, alpha=0.45, zorder=2)
        if len(exceeds):
            spiked = True
            ax.plot(x[r, stop], np.sqrt(STRIP[0] * STRIP[1]), marker="^", color=shade, markersize=6, zorder=4)
        elif collapsed[r]:
            crashed = True
            ax.plot(xs[-1], ys[-1], marker="x", color=shade, markersize=6, markeredgewidth=1.5, zorder=4)
    return crashed, spiked


def _draw_sampler(ax: "Axes", comparison: Comparison, name: str, price: _Price, gaps: Gaps) -> None:
    """Draw the warm-up of the chains as thin lines, and the draws as a band with their median."""
    trace, shade = comparison[name], colours(comparison)[name]
    x, below = price.of(trace), gaps.below(trace.log_joint)
    first = trace.num_rows - trace.draws
    for r in range(trace.num_restarts):
        ax.plot(x[r, : first + 1], np.maximum(below[r, : first + 1], FLOOR), color=shade, linewidth=0.7, alpha=0.45)
    low, middle, high = np.maximum(gaps.band(trace), FLOOR)
    span = [float(np.min(x[:, first])), float(np.max(x[:, -1]))]
    runs = "restarts" if trace.is_approximation else "chains"
    label = plain(f"{name} ({trace.num_restarts} {runs}; band: 90 % of draws)")
    ax.fill_between(span, low, high, color=shade, alpha=0.25, linewidth=0, zorder=1)
    ax.plot(span, [middle, middle], color=shade, label=label, zorder=3, **strokes(comparison)[name])


def _scale_prices(ax: "Axes", prices: np.ndarray, price: _Price) -> None:
    """Make the axis logarithmic, and linear below the first price so that it shows the start."""
    least = float(np.min(prices[prices > 0], initial=1.0))
    ax.set_xscale("symlog", linthresh=10.0 ** np.floor(np.log10(least)), linscale=0.5)
    ax.set_xlim(0, 1.3 * max(float(np.max(prices)), least))


def _scale_gaps(ax: "Axes", gaps: np.ndarray, top: float) -> None:
    """Make the axis logarithmic, and invert it so that up is better."""
    ax.set_yscale("log")
    ax.set_ylim(2 * float(np.nanmax(gaps, initial=1.0)), top)
