"""Plots of the data with the fits: each climb's best sound mixture, and each sampler's mean density with its band."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from workbench.compare import Comparison
from workbench.errors import InputError, checks_arguments
from workbench.plots.estimates import (
    Estimate,
    Sampled,
    band,
    band_grid,
    data_range,
    estimates,
    mass_levels,
    mean_surface,
    sampled,
)
from workbench.plots.style import DATA, Place, axis_label, chosen, legend_at, tidy

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# With at least this many points, a scatter is drawn as an image, because a vector file would hold every point.
IMAGE_FROM = 2000

# Lines in the small panels of a pair plot, as a share of their usual width.
PANEL_WIDTH = 0.6

MOST_BINS = 40

# Values that repeated rows are written out to, where the edges of bins are chosen.
MOST_REPEATED = 1_000_000

# Values are rounded coarsely if there are at least so many for each step on average. Of finer steps a bin holds so many
# that one more or less does not show.
SEVERAL = 2

# Values so near, relative to their range, differ by rounding; multiples of a step, by so much of it. Doubles up to
# WHOLE hold every whole number.
ROUNDED, OFF, WHOLE = 1e-9, 1e-3, 2.0**53

# The height of an axis relative to the highest curve on it.
ROOM = 1.06

# Points along each side of the grid for contours.
SIDE = 80

LEGEND = "method (log-joint of its best sound mixture)"
CURVES = f"{LEGEND}; thin: its components;\nof a sampler: mean density, band: 95 % of the draws"
CONTOURS = f"{LEGEND}; ellipses at 1 and 2 standard deviations"
SURFACES = "of a sampler: mean density, where 39 and 86 % of it lie"
THIN = "thin curves: components"


@checks_arguments
def fit(ax: "Axes", comparison: Comparison, *, methods: Sequence[str] | None = None, legend: Place = "inside") -> None:
    """The data with the best sound mixture of each climb, and with the mean density of each sampler.

    For one column it draws densities; that of a sampler has a band that contains 95 % of its draws at each point. For
    two columns it draws ellipses of the components, and contours of a sampler's mean density.

    Args:
        ax: the axes to draw on.
        comparison: the results.
        methods: the methods to show; by default all.
        legend: "inside" the axes; "above" them or to their "right", for which the figure needs room (as
            `layout="constrained"` makes it); or False for none.

    Raises:
        InputError: the data have more than two columns, which `pairs` draws; a method is not in the comparison; or the
            place of the legend is unknown.
    """
    dimensions = comparison.problem.num_dimensions
    if dimensions > 2:
        raise InputError(f"fit: draws one or two columns, the data have {dimensions}; use pairs(axes, comparison)")
    shown = chosen(comparison, methods)
    found, samples = estimates(comparison, shown), sampled(comparison, shown)
    if dimensions == 1:
        draw_densities(ax, comparison, found, 0)
        draw_bands(ax, comparison, samples, 0)
        ax.set_xlabel(axis_label(comparison, 0))
        ax.set_ylabel("density")
        legend_at(ax, legend, 2, title=CURVES if samples else CURVES.partition(";\n")[0])
    else:
        draw_contours(ax, comparison, found, (0, 1))
        draw_surfaces(ax, comparison, samples, (0, 1))
        ax.set_xlabel(axis_label(comparison, 0))
        ax.set_ylabel(axis_label(comparison, 1))
        legend_at(ax, legend, 2, title=f"{CONTOURS};\n{SURFACES}" if samples else CONTOURS)
    tidy(ax)


@checks_arguments
def pairs(axes: np.ndarray, comparison: Comparison) -> None:
    """Every pair of the first C columns on axes [C, C]: marginal densities on the diagonal, ellipses below it.

    The part above the diagonal would repeat that below, and holds the legend instead.

    Raises:
        InputError: the axes are not square, or there are more than the columns.
    """
    count = len(axes)
    if axes.shape != (count, count) or count > comparison.problem.num_dimensions:
        raise InputError(
            f"pairs: needs axes [C, C] with C at most {comparison.problem.num_dimensions}, got {list(axes.shape)}"
        )
    found = [estimate.thinner(PANEL_WIDTH) for estimate in estimates(comparison)]
    samples = [sample.thinner(PANEL_WIDTH) for sample in sampled(comparison)]
    for row in range(count):
        for column in range(count):
            ax = axes[row, column]
            if column > row:
                ax.set_axis_off()
                continue
            if column == row:
                draw_densities(ax, comparison, found, column)
                draw_bands(ax, comparison, samples, column)
                ax.set_yticks([])
            else:
                draw_contours(ax, comparison, found, (column, row))
                draw_surfaces(ax, comparison, samples, (column, row))
            ax.set_xlim(*data_range(comparison.problem.sample[:, column]))
            _label_outer(ax, comparison, row, column, count)
            tidy(ax)
    if count > 1:
        shown = [CONTOURS, *([SURFACES] if samples else []), *([THIN] if found else [])]
        if count < comparison.problem.num_dimensions:
            shown.append(f"the first {count} of {comparison.problem.num_dimensions} columns")
        _legend_in_corner(axes, "; ".join(shown))


def draw_densities(ax: "Axes", comparison: Comparison, found: list[Estimate], column: int) -> None:
    """Histogram and rug of a column, with the marginal density of each estimate and of its components."""
    x = comparison.problem.sample[:, column]
    low, high = data_range(x, 0.12)
    counts = comparison.problem.sample_weights
    heights, edges, _ = ax.hist(
        x, bins=histogram_edges(x, counts), weights=counts, density=True, color="0.88", edgecolor="0.8", linewidth=0.5
    )
    draw_rug(ax, x)
    highest = float(np.max(heights))
    for estimate in found:
        if estimate.gaussians is None:
            ax.plot([], [], color=estimate.colour, label=estimate.label, **estimate.stroke)
            continue
        grid = estimate.gaussians.grid(column, low, high)
        components = estimate.gaussians.densities(column, grid)  # [K, G]
        ax.plot(grid, components.T, color=estimate.colour, linewidth=0.8, alpha=0.8)
        style = {"color": estimate.colour, "zorder": _above(estimate.stroke), **estimate.stroke}
        density = estimate.gaussians.density(column, grid)
        ax.plot(grid, density, label=estimate.label, **style)
        highest = max(highest, min(float(np.max(density)), 3 * float(np.max(heights))))
    ax.set_xlim(min(low, edges[0]), max(high, edges[-1]))
    ax.set_ylim(0, ROOM * highest)


def draw_contours(ax: "Axes", comparison: Comparison, found: list[Estimate], pair: tuple[int, int]) -> None:
    """Scatter of two columns, with each estimate's components as ellipses of 1 and 2 standard deviations."""
    x = comparison.problem.sample[:, pair]
    draw_points(ax, x)
    for estimate in found:
        if estimate.gaussians is None:
            ax.plot([], [], color=estimate.colour, label=estimate.label, **estimate.stroke)
            continue
        for radius in (1.0, 2.0):
            label = estimate.label if radius == 1.0 else None
            for contour in estimate.gaussians.ellipses(pair, radius):
                style = {"color": estimate.colour, "zorder": _above(estimate.stroke), **estimate.stroke}
                ax.plot(*contour, label=label, **style)
                label = None
    ax.set_xlim(*data_range(x[:, 0]))
    ax.set_ylim(*data_range(x[:, 1]))


def draw_bands(ax: "Axes", comparison: Comparison, samples: list[Sampled], column: int) -> None:
    """The posterior mean of a column's density for each sampler, over the band of its draws."""
    low, high = data_range(comparison.problem.sample[:, column], 0.12)
    highest = ax.get_ylim()[1] / ROOM
    for sample in samples:
        style = {"color": sample.colour, "zorder": _above(sample.stroke), **sample.stroke}
        if sample.gaussians is None:
            ax.plot([], [], label=sample.label, **style)
            continue
        grid = band_grid(sample.gaussians, column, low, high)
        found = band(sample.gaussians.density(column, grid))
        ax.fill_between(grid, found.low, found.high, color=sample.colour, alpha=0.25, linewidth=0, zorder=1.8)
        ax.plot(grid, found.mean, label=sample.label, **style)
        highest = max(highest, min(float(np.max(found.high)), 3 * highest))
    ax.set_ylim(0, ROOM * highest)


def draw_surfaces(ax: "Axes", comparison: Comparison, samples: list[Sampled], pair: tuple[int, int]) -> None:
    """Contours of each sampler's posterior mean density in two columns: the regions that hold 39 and 86 % of it."""
    x, y = (np.linspace(*data_range(comparison.problem.sample[:, c], 0.3), SIDE) for c in pair)
    for sample in samples:
        ax.plot([], [], color=sample.colour, label=sample.label, **sample.stroke)
        if sample.gaussians is None:
            continue
        surface = mean_surface(sample.gaussians, pair, x, y)
        levels = mass_levels(surface, float((x[1] - x[0]) * (y[1] - y[0])))
        if levels:
            style = {"linewidths": sample.stroke["linewidth"], "linestyles": [sample.stroke["linestyle"]]}
            ax.contour(x, y, surface, levels, colors=sample.colour, zorder=_above(sample.stroke), **style)


def draw_points(ax: "Axes", x: np.ndarray) -> None:
    """Points [N, 2] in grey, which are the fainter the more there are."""
    many = len(x) >= IMAGE_FROM
    ax.plot(
        *x.T,
        linestyle="none",
        marker="." if many else "o",
        markersize=2.0 if many else 3.2,
        markeredgewidth=0,
        color=DATA,
        alpha=float(np.clip(20 / np.sqrt(len(x)), 0.05, 0.6)),
        rasterized=many,
        zorder=1,
    )


def draw_rug(ax: "Axes", x: np.ndarray) -> None:
    """A tick at the foot of the axes for every value [N]."""
    faint = float(np.clip(60 / len(x), 0.05, 0.5))
    style: dict[str, Any] = {"linestyle": "none", "marker": "|", "markersize": 9, "color": "0.4", "zorder": 3}
    ax.plot(x, np.zeros_like(x), alpha=faint, rasterized=len(x) >= IMAGE_FROM, **style)


def _above(stroke: dict[str, Any]) -> float:
    """The z-order of a line: narrow lines are drawn over wide ones, which show through their gaps."""
    return 2.9 - float(stroke["linewidth"]) / 10


def histogram_edges(x: np.ndarray, weights: np.ndarray | None = None, most: int = MOST_BINS) -> list[float]:
    """Edges of at most so many bins for values [N] of weights [N]: those of the values repeated as often.

    NumPy's rule takes no weights. Fractions of them are rounded, and very large ones reduced, for the edges alone. Bins
    of values that are rounded coarsely are whole steps wide, with edges half-way between the steps: bins that hold now
    seven and now eight possible values have peaks and valleys of their own.
    """
    if weights is not None:
        times = np.rint(weights * min(1.0, MOST_REPEATED / np.sum(weights)))
        x = np.repeat(x, np.maximum(times, 1).astype(int))
    edges = np.histogram_bin_edges(x, "auto")
    step = _step(x)
    if step is not None:
        low, steps = np.min(x), round(np.ptp(x) / step) + 1
        # The rule is made for one group: of two, its bins are so wide that they fill the valley.
        wanted = min(max(len(edges) - 1, len(x) ** 0.5), most)
        width = max(int(steps / wanted), -(-steps // most), 1)
        bins = -(-steps // width)
        first = low - step * (0.5 + (bins * width - steps) // 2)  # what is over, on both sides
        return [float(first + step * width * i) for i in range(bins + 1)]
    even = np.linspace(edges[0], edges[-1], most + 1)
    return [float(edge) for edge in (edges if len(edges) <= len(even) else even)]


def _step(x: np.ndarray) -> float | None:
    """The step of values [N] that are rounded so coarsely that a step has several of them; None if they are not.

    It is the greatest common divisor of whole numbers, and of others their smallest difference, if they are multiples.
    """
    different = np.unique(x)
    span = different[-1] - different[0]
    apart = np.diff(different)
    apart = apart[apart > ROUNDED * span]  # 0.1 + 0.2 is 0.3
    if len(apart) == 0:
        return None
    is_whole = np.all(different == np.rint(different)) and np.max(np.abs(different)) < WHOLE
    step = float(np.gcd.reduce(apart.astype(np.int64)) if is_whole else np.min(apart))
    if len(x) < SEVERAL * (span / step + 1):
        return None
    step = span / round(span / step)
    places = (different - different[0]) / step
    return float(step) if np.max(np.abs(places - np.rint(places))) < OFF else None


def _label_outer(ax: "Axes", comparison: Comparison, row: int, column: int, count: int) -> None:
    """Put labels on the outer axes only, and small ticks on the others."""
    ax.tick_params(labelsize="small", labelbottom=row == count - 1, labelleft=column == 0 and row > 0)
    ax.locator_params(axis="x", nbins=4)
    if row != column:
        ax.locator_params(axis="y", nbins=4)
    if row == count - 1:
        ax.set_xlabel(axis_label(comparison, column), fontsize="small")
    if column == 0 and row > 0:
        ax.set_ylabel(axis_label(comparison, row), fontsize="small")


def _legend_in_corner(axes: np.ndarray, title: str) -> None:
    handles, labels = axes[1, 0].get_legend_handles_labels()
    corner = axes[0, 1]
    legend = corner.legend(
        handles,
        labels,
        loc="upper left",
        frameon=False,
        fontsize="small",
        title=title.replace("; ", ";\n"),
        title_fontsize="small",
        alignment="left",
        bbox_to_anchor=(0.0, 1.0),
        borderaxespad=0.0,
        handlelength=2.6,
    )
    legend.set_in_layout(False)
