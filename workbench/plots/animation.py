"""An animation of climbs: every method from the same start, side by side, at equal prices.

A frame belongs to a number of passes. Each panel shows the last recorded mixture of its method that cost no more, so
that what is seen at one moment was bought at one price.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from workbench.compare import Comparison
from workbench.errors import InputError, checks_arguments, cut
from workbench.loop.trace import Trace, passes_text
from workbench.mixture import Mixture
from workbench.plots.classification import MOST_BINS, MOST_CLASSES
from workbench.plots.estimates import Gaussians, data_range
from workbench.plots.fit import IMAGE_FROM, ROOM, histogram_edges
from workbench.plots.score import statuses
from workbench.plots.style import DATA, Palette, Place, chosen, legend_at, palette_of, plain, tidy
from workbench.plots.view import View, frame_view, rows_of, view_of, with_note

if TYPE_CHECKING:
    from matplotlib.animation import FuncAnimation
    from matplotlib.axes import Axes

# Frames at most, the start among them, and panels of them all, so that many panels have fewer frames, but some.
MOST_FRAMES, MOST_DRAWN, FEWEST_FRAMES = 60, 180, 20

# Frames in a second, and milliseconds for which the last one is held.
PER_SECOND, HELD = 6, 2000

# Marks at most: more say nothing more, and every frame of a file holds each of them.
MOST_MARKS = 1500

# The most letters of a method's name in a title.
NAME = 34

# A curve may rise this many times as high as the histogram; a spike leaves the axes.
HIGHEST = 1.5

MIXED = "colours are mixed by responsibilities"


@checks_arguments
def climbing(comparison: Comparison, methods: Sequence[str] | None = None) -> list[str]:
    """The methods that an animation shows: those chosen, or all that climb.

    Raises:
        InputError: a chosen method is not in the comparison, or samples; or none climbs.
    """
    climbs = [name for name, trace in comparison.items() if not trace.is_sampler]
    if methods is None:
        if not climbs:
            raise InputError(
                f"animation: none of {', '.join(comparison)} climbs; add a method that does, as [methods.em]"
            )
        return climbs
    names = chosen(comparison, methods)
    samplers = [name for name in names if name not in climbs]
    if samplers:
        raise InputError(
            f"methods: {', '.join(samplers)}: draws from a posterior and climbs to no end, so that an animation has "
            f"nothing to follow; give some of {', '.join(climbs) or 'those that climb, as em'}"
        )
    return names


@checks_arguments
def animation(
    axes: Sequence["Axes"],
    comparison: Comparison,
    *,
    methods: Sequence[str] | None = None,
    restart: int | None = None,
    columns: Sequence[str] | None = None,
    palette: Palette = None,
    legend: Place = "inside",
) -> "FuncAnimation":
    """The climbs of several methods from one start, as an animation of matplotlib: a frame for each price in passes.

    Components are ellipses of 1 and 2 standard deviations, and each row has its components' colours, mixed by
    responsibilities; for one column they are densities over a histogram whose bars are divided by responsibilities.
    Titles say what each method has spent by then, its log-likelihood, and how it ended. Frames lie at recorded rows, at
    most `MOST_FRAMES`; the last is held. A component has one number and one colour throughout: that of the highest
    end, in the order of `Problem.presented`. A mixture that is not finite is not drawn: the one before it stays.

    Args:
        axes: of one figure, one for each method that is shown (`climbing`).
        comparison: the results.
        methods: the methods to show; by default all that climb.
        restart: the start, from 0; by default the one that leads highest, to a sound end if there is one.
        columns: one or two names; by default all columns, or two principal components if there are more than two.
        palette: colours of the components, or the name of a colour map of matplotlib.
        legend: "inside" the first axes, "above" them, to their "right", or False for none.

    Returns:
        The animation, which `save` writes and `to_jshtml` shows in a notebook.

    Raises:
        InputError: a method samples or is unknown, the number of axes is another than that of methods, there is no such
            restart or column, or an argument is unknown.
    """
    film = Film(axes, comparison, methods=methods, restart=restart, columns=columns, palette=palette)
    legend_at(axes[0], legend, title=MIXED)
    return film.animation()


class Film:
    """The panels of an animation, and what each frame draws on them; arguments are those of `animation`.

    Attributes:
        passes: the price of each frame. [frames]
        restart: the start.
    """

    def __init__(
        self,
        axes: Sequence["Axes"],
        comparison: Comparison,
        *,
        methods: Sequence[str] | None = None,
        restart: int | None = None,
        columns: Sequence[str] | None = None,
        palette: Palette = None,
    ) -> None:
        names = climbing(comparison, methods)
        if len(axes) != len(names):
            raise InputError(f"axes: {len(names)} are needed, one each for {', '.join(names)}, got {len(axes)}")
        self.restart, leader = _start(comparison, names, restart)
        self.passes = _prices([comparison[name].passes[self.restart] for name in names])
        order = _order(comparison, comparison[leader].at(self.restart, -1))
        shades = palette_of(palette, len(order))
        self._figure: Any = axes[0].figure
        self._panels = []
        for ax, name in zip(axes, names, strict=True):
            climb = _climb(comparison, name, self.restart, self.passes, order)
            view = view_of(comparison, Gaussians.of_all(climb.mixtures), columns)
            draw = (_curves if view.x.shape[1] == 1 else _ellipses)(ax, comparison, view, climb.mixtures, shades)
            self._panels.append((ax, climb, draw))
            tidy(ax)
        # Panels are compared, so that their axes are the same.
        for side in ("x", "y"):
            ends = np.array([getattr(ax, f"get_{side}lim")() for ax in axes])
            for ax in axes:
                getattr(ax, f"set_{side}lim")(np.min(ends), np.max(ends))
        self.draw(0)

    @property
    def num_frames(self) -> int:
        """The number of different frames."""
        return len(self.passes)

    def draw(self, frame: int) -> None:
        """Draw one frame in place of another."""
        for ax, climb, draw in self._panels:
            draw(int(climb.places[frame]))
            ax.set_title(climb.titles[frame], fontsize="small", loc="left")

    def widen(self) -> None:
        """Show of every panel its widest title, for which a layout needs room."""
        for ax, climb, _ in self._panels:
            widest = max(climb.titles, key=lambda title: max(map(len, title.split("\n"))))
            ax.set_title(widest, fontsize="small", loc="left")

    def animation(self) -> "FuncAnimation":
        """The animation."""
        # Imported here because matplotlib takes long to import.
        from matplotlib.animation import FuncAnimation

        return FuncAnimation(
            self._figure, self.draw, self.num_frames, interval=1000 / PER_SECOND, repeat_delay=HELD,
            cache_frame_data=False,
        )  # fmt: skip


@dataclass(frozen=True)
class _Climb:
    """What one method shows: the different mixtures, and for each frame which of them and what is said of it."""

    mixtures: Mixture  # leaves [shown, ...]
    places: NDArray[np.int_]  # [frames]   of the mixtures
    titles: list[str]  # [frames]


def _start(comparison: Comparison, names: Sequence[str], restart: int | None) -> tuple[int, str]:
    """The restart, and the method that ends highest from it: at a sound end, if any method has one."""
    fewest = min(comparison[name].num_restarts for name in names)
    if restart is not None and not 0 <= restart < fewest:
        raise InputError(f"restart: give a whole number from 0 to {fewest - 1}, got {restart!r}")
    if restart is None:
        found = {name: comparison[name].best_place(comparison.problem, comparison.rule) for name in names}
        sound = {name: place for name, place in found.items() if place is not None and place[0] < fewest}
        if sound:
            leader = max(sound, key=lambda name: comparison[name].log_joint[sound[name]])
            return sound[leader][0], leader
    ends = np.stack([comparison[name].log_joint[:fewest, -1] for name in names], axis=1)  # [R, methods]
    ends = np.where(np.isfinite(ends), ends, -np.inf)
    at = int(np.argmax(np.max(ends, axis=1))) if restart is None else restart
    return at, names[int(np.argmax(ends[at]))]


def _prices(passes: Sequence[np.ndarray]) -> NDArray[np.float64]:
    """Prices at which some method has a row: all, or as many as there may be frames, the first and the last included.

    Returns:
        Passes, ascending. [F]
    """
    union = np.unique(np.concatenate([np.asarray(each, float) for each in passes]))
    most = min(max(MOST_DRAWN // len(passes), FEWEST_FRAMES), MOST_FRAMES, len(union))
    return union[np.linspace(0, len(union) - 1, most).round().astype(int)]


def _order(comparison: Comparison, end: Mixture) -> NDArray[np.int_]:
    """The components of an end in the order in which tables show them. [K]"""
    if not np.all(np.isfinite(end.means)):
        return np.arange(end.num_components)
    numbers = jnp.arange(end.num_components, dtype=jnp.asarray(end.means).dtype)
    numbered = replace(jax.tree.map(jnp.asarray, end), weights=numbers)
    return np.asarray(comparison.problem.presented(numbered).weights).astype(int)


def _climb(
    comparison: Comparison, name: str, restart: int, passes: NDArray[np.float64], order: NDArray[np.int_]
) -> _Climb:
    trace = comparison[name]
    spent = trace.passes[restart]
    rows = np.searchsorted(spent, passes, side="right") - 1  # [F]
    # Several rows of one price are those after the end, which repeat it.
    status = statuses(comparison, name)[restart].name
    titles = [_title(name, trace, restart, int(row), status if spent[row] == spent[-1] else "") for row in rows]
    kept = _last_finite(trace, restart)[rows]
    shown, places = np.unique(kept, return_inverse=True)
    mixtures = jax.tree.map(jnp.asarray, trace.at(restart, shown))
    return _Climb(jax.vmap(lambda mixture: mixture.permute(jnp.asarray(order)))(mixtures), places, titles)


def _title(name: str, trace: Trace, restart: int, row: int, status: str) -> str:
    spent, height = float(trace.passes[restart, row]), float(trace.log_likelihood[restart, row])
    passes = f"{passes_text(spent)} pass{'' if spent == 1 else 'es'}"
    likelihood = f"log-likelihood {height:,.3f}" if abs(height) < 1e9 else f"log-likelihood {height:.4g}"
    return "\n".join([plain(cut(name, NAME)), ", ".join(filter(None, [passes, status])), likelihood])


def _last_finite(trace: Trace, restart: int) -> NDArray[np.int_]:
    """For each row the last one up to it whose mixture is finite; the start where there is none. [T]"""
    leaves = [np.asarray(leaf)[restart] for leaf in jax.tree.leaves(trace.mixtures)]
    finite = np.all([np.isfinite(leaf).all(axis=tuple(range(1, leaf.ndim))) for leaf in leaves], axis=0)
    return np.asarray(np.maximum.accumulate(np.where(finite, np.arange(len(finite)), 0)))


def _shares(mixture: Mixture, x: NDArray[np.float64], missing: Any) -> NDArray[np.float64]:
    """Responsibilities, of a background in a last column; NaN where nothing has a density. [N, K] or [N, K + 1]"""
    joint = np.asarray(mixture.component_log_joint(x, missing=missing))
    if mixture.background is not None:
        joint = np.column_stack([joint, mixture.background.log_joint(jnp.asarray(x))])
    with np.errstate(invalid="ignore"):
        shares = np.exp(joint - np.max(joint, axis=1, keepdims=True))
    return np.asarray(shares / np.sum(shares, axis=1, keepdims=True))


def _ellipses(
    ax: "Axes", comparison: Comparison, view: View, mixtures: Mixture, shades: Sequence[str]
) -> Callable[[int], None]:
    """Prepare rows and ellipses; what is returned draws one of the mixtures."""
    from matplotlib.colors import to_rgb

    own = rows_of(comparison)
    # In random order, so that no group hides another.
    order = np.random.default_rng(0).permutation(len(own))[:MOST_MARKS]
    colours, grey = np.array([to_rgb(shade) for shade in shades]), np.array(to_rgb(DATA))
    alpha = float(np.clip(20 / np.sqrt(len(order)), 0.3, 0.75))
    hollow = view.completed[order]
    style: dict[str, Any] = {"s": 7.0 if len(own) >= IMAGE_FROM else 14.0, "zorder": 2}
    (x, y), (at, height) = view.x[order][~hollow].T, view.x[order][hollow].T
    whole: Any = ax.scatter(x, y, linewidths=0, **style)
    placed: Any = ax.scatter(at, height, facecolors="none", linewidths=0.9, **style)
    # Darker than the rows, among which they are seen.
    darker = [tuple(0.6 * rgb) for rgb in colours]
    lines = [[ax.plot([], [], color=rgb, linewidth=width, zorder=2.5)[0] for width in (1.6, 0.9)] for rgb in darker]
    for k, shade in enumerate(shades[:MOST_CLASSES]):
        ax.plot([], [], "o", color=shade, markeredgewidth=0, label=f"component {k + 1}")
    frame_view(ax, view, "hollow")
    if len(order) < len(own):
        ax.set_xlabel(f"{ax.get_xlabel()}\n{len(order):,} of {len(own):,} rows are drawn")
    contours = [view.gaussians.ellipses((0, 1), radius) for radius in (1.0, 2.0)]  # [shown, K, 2, points] each

    def draw(place: int) -> None:
        shares = _shares(jax.tree.map(lambda leaf: leaf[place], mixtures), own[order], comparison.problem.missing)
        # The grey of a background comes last.
        mixed = np.clip(shares @ np.vstack([colours, grey])[: shares.shape[1]], 0, 1)
        mixed = np.where(np.isfinite(mixed), mixed, grey)
        mixed = np.column_stack([mixed, np.full(len(mixed), alpha)])
        whole.set_facecolor(mixed[~hollow])
        placed.set_edgecolor(mixed[hollow])
        for k, pair in enumerate(lines):
            for line, contour in zip(pair, contours, strict=True):
                line.set_data(*contour[place, k])

    return draw


def _curves(
    ax: "Axes", comparison: Comparison, view: View, mixtures: Mixture, shades: Sequence[str]
) -> Callable[[int], None]:
    """Prepare a histogram and densities; what is returned draws one of the mixtures."""
    own, x = rows_of(comparison), view.x[:, 0]
    weights = comparison.problem.sample_weights
    counts = np.ones(len(x)) if weights is None else weights
    edges = np.asarray(histogram_edges(x, weights, MOST_BINS))
    bins = np.clip(np.searchsorted(edges, x, side="right") - 1, 0, len(edges) - 2)
    heights = counts / (np.sum(counts) * (edges[1] - edges[0]))
    top = float(np.max(np.bincount(bins, heights)))
    low, high = data_range(x, 0.1)
    labels = [f"component {k + 1}" if k < MOST_CLASSES else None for k in range(len(shades))]
    bars: list[Any] = [
        ax.stairs(np.zeros(len(edges) - 1), edges, baseline=0.0, fill=True, color=shade, alpha=0.45, label=label)
        for shade, label in zip(shades, labels, strict=True)
    ]
    lines = [ax.plot([], [], color=shade, linewidth=1.4)[0] for shade in shades]
    style: dict[str, Any] = {"color": "0.15", "linewidth": 1.0, "linestyle": (0, (4, 2))}
    (total,) = ax.plot([], [], label="mixture" if len(shades) > 1 else None, **style)
    each = [view.gaussians.at(np.asarray(place)) for place in range(len(view.gaussians.weights))]
    grids = [gaussians.grid(0, low, high) for gaussians in each]
    # A component may be so narrow that its deviation is zero in floating point; it has no curve.
    with np.errstate(all="ignore"):
        densities = [gaussians.densities(0, grid) for gaussians, grid in zip(each, grids, strict=True)]
        totals = [gaussians.density(0, grid) for gaussians, grid in zip(each, grids, strict=True)]
    densities, totals = ([np.where(np.isfinite(one), one, 0.0) for one in some] for some in (densities, totals))
    highest = max(float(np.max(curve, initial=0.0)) for curve in totals)
    ax.set_xlim(min(low, edges[0]), max(high, edges[-1]))
    ax.set_ylim(0, ROOM * max(top, min(highest, HIGHEST * top)))
    ax.set_xlabel(with_note(view, "some"))
    ax.set_ylabel("density")

    def draw(place: int) -> None:
        shares = _shares(jax.tree.map(lambda leaf: leaf[place], mixtures), own, comparison.problem.missing)
        base = np.zeros(len(edges) - 1)
        for k, (bar, line) in enumerate(zip(bars, lines, strict=True)):
            part = np.bincount(bins, heights * np.nan_to_num(shares[:, k]), len(edges) - 1)
            bar.set_data(base + part, edges, base)
            base = base + part
            line.set_data(grids[place], densities[place][k])
        total.set_data(grids[place], totals[place])

    return draw
