"""The plots of scores: every restart's score against its price, and the end values of all restarts, best to worst."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np

from workbench.compare import Comparison
from workbench.compare.optima import WITHIN
from workbench.compare.summary import best_log_joint, statuses_and_mixing
from workbench.diagnostics import Status
from workbench.errors import checks_arguments
from workbench.loop.trace import Trace
from workbench.plots.style import EDGE, Place, chosen, colours, legend_at, plain, strokes, tidy

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# The middle share of a sampler's draws that a band covers.
BAND = (0.05, 0.95)

# Matplotlib fails on a log axis whose ticks overflow. A start a hundred orders of magnitude too narrow comes so far.
BEYOND_AXES = 1e100


@dataclass(frozen=True)
class Gaps:
    """Nats below the best sound log-joint of a comparison; negative for unsound mixtures above it."""

    best: float
    sound: bool  # False if no method has a sound result; the best is then the highest end

    @classmethod
    def of(cls, comparison: Comparison) -> "Gaps":
        """Gaps below the best sound result of all methods, or below the highest finite end if there is none."""
        best = best_log_joint(comparison)
        if best is not None:
            return cls(best, True)
        ends = np.concatenate([trace.log_joint[:, -1] for trace in comparison.values()])
        return cls(float(np.max(ends[np.isfinite(ends)], initial=-np.inf)), False)

    @property
    def label(self) -> str:
        """The label of an axis."""
        if not np.isfinite(self.best):
            return "no end is finite"
        what = "best sound log-joint" if self.sound else "highest end; none is sound"
        return f"nats below the {what}\n({self.best:.3f})"

    def below(self, values: np.ndarray) -> np.ndarray:
        """The gap of each value; NaN where a value is not finite, or so low that no axis holds it."""
        with np.errstate(invalid="ignore"):
            gaps = self.best - np.asarray(values, float)
        return np.where(np.isfinite(gaps) & (gaps < BEYOND_AXES), gaps, np.nan)

    def band(self, trace: Trace) -> tuple[float, float, float]:
        """Low end, median and high end of the gaps of a sampler's draws."""
        gaps = self.below(trace.log_joint[:, -trace.draws :])
        if not np.any(np.isfinite(gaps)):
            return np.nan, np.nan, np.nan
        low, middle, high = np.nanquantile(gaps, (BAND[0], 0.5, BAND[1]))
        return float(low), float(middle), float(high)


def statuses(comparison: Comparison, name: str) -> list[Status]:
    """The status of each restart of a method. [R]"""
    return [ended.status for ended in statuses_and_mixing(comparison, name)[0]]


def last_rows(trace: Trace) -> np.ndarray:
    """The row at which each restart stopped; later rows cost no pass. [R]"""
    return np.asarray(np.argmax(trace.passes == trace.passes[:, -1:], axis=1))


def typical_restart(trace: Trace, gaps: np.ndarray, collapsed: list[bool]) -> int | None:
    """The restart with the median number of passes among those that reach the method's best end."""
    ends = np.where(collapsed, np.nan, gaps[:, -1])  # [R]
    if not np.any(np.isfinite(ends)):
        return None
    near = gaps <= np.nanmin(ends) + WITHIN  # [R, T]
    reached = [r for r, end in enumerate(ends) if np.isfinite(end) and near[r, -1]]
    arrivals = [trace.passes[r, np.argmax(near[r])] for r in reached]
    return reached[int(np.argsort(arrivals, kind="stable")[(len(reached) - 1) // 2])]


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


@checks_arguments
def score(
    ax: "Axes",
    comparison: Comparison,
    against: Literal["passes", "seconds"] = "passes",
    *,
    methods: Sequence[str] | None = None,
    legend: Place = "inside",
) -> None:
    """Nats below the best sound log-joint for every restart at every recorded price; up is better.

    Thin lines are restarts, and the strong line is the typical restart among those that reach the method's best. For a
    sampler, thin lines are the warm-up of its chains, and the band contains nine in ten of its draws. Both axes are
    logarithmic. A collapsed restart that exceeds the best is marked in the strip above it.

    Args:
        ax: the axes to draw on.
        comparison: the best of all its methods is the origin of the gaps, whichever methods are shown.
        against: the horizontal axis.
        methods: the methods to show; by default all.
        legend: "inside" the axes; "above" them or to their "right", for which the figure needs room (as
            `layout="constrained"` makes it); or False for none.

    Raises:
        InputError: a method is not in the comparison, or the place of the legend is unknown.
    """
    price, gaps = _Price(against), Gaps.of(comparison)
    shown = {name: comparison[name] for name in chosen(comparison, methods)}
    climbs = any(not trace.is_sampler for trace in shown.values())
    if climbs and gaps.sound:
        _draw_threshold(ax)
    crashed, spiked = False, False
    for name, trace in shown.items():
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
    _scale_prices(ax, np.concatenate([price.of(trace).ravel() for trace in shown.values()]))
    _scale_gaps(ax, np.concatenate([gaps.below(trace.log_joint).ravel() for trace in shown.values()]), top)
    ax.set_xlabel(price.label)
    ax.set_ylabel(gaps.label)
    legend_at(ax, legend)
    tidy(ax)


def _draw_threshold(ax: "Axes") -> None:
    ax.axhline(WITHIN, color=EDGE, linewidth=0.8, linestyle=(0, (2, 2)), zorder=1)
    note: dict[str, Any] = {"fontsize": "small", "color": EDGE, "va": "bottom", "transform": ax.get_yaxis_transform()}
    note["bbox"] = {"facecolor": "white", "edgecolor": "none", "alpha": 0.85, "pad": 1.0}  # curves may cross it
    ax.text(0.015, WITHIN, "counts as the best", zorder=4, **note)


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


# The most powers of ten that are labelled on the axis of prices; more would overprint each other on small axes.
MOST_TICKS = 4


def _scale_prices(ax: "Axes", prices: np.ndarray) -> None:
    """Make the axis logarithmic, and linear below the first price so that it shows the start."""
    least = float(np.min(prices[prices > 0], initial=1.0))
    most = max(float(np.max(prices)), least)
    low, high = int(np.floor(np.log10(least))), int(np.floor(np.log10(most)))
    ax.set_xscale("symlog", linthresh=10.0**low, linscale=0.5)
    # The lowest power stands too close to the zero to be labelled.
    powers = np.arange(high, low, -max(1, -(-(high - low) // MOST_TICKS)))[::-1]
    ax.set_xticks([0.0, *(10.0 ** powers.astype(float))])
    ax.set_xlim(0, 1.3 * most)


def _scale_gaps(ax: "Axes", gaps: np.ndarray, top: float) -> None:
    """Make the axis logarithmic, and invert it so that up is better."""
    ax.set_yscale("log")
    ax.set_ylim(2 * float(np.nanmax(gaps, initial=1.0)), top)


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


@checks_arguments
def waterfall(ax: "Axes", comparison: Comparison, *, legend: Place = "inside") -> None:
    """End value of every restart in nats below the best, sorted by method and marked by status; up is better.

    The axis is linear up to 1 nat and logarithmic beyond. Ends above the best, which are never sound, are in a strip at
    the top, with a note on how far above they reach. For samplers, a band contains nine in ten of their draws. The
    legend is placed as in `score`.
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
    legend_at(ax, legend, 3)
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
