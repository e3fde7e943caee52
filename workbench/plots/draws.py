"""Plots of a sampler's draws: the posterior of parameters, labels along chains, and co-clustering matrices."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import jax
import numpy as np

from workbench.compare import Comparison
from workbench.compare.summary import draws_of
from workbench.diagnostics.clustering import co_clustering, hierarchical_order
from workbench.diagnostics.predictive import evenly, thinned
from workbench.errors import InputError, checks_arguments
from workbench.plots.estimates import Estimate, Gaussians, data_range, estimates
from workbench.plots.fit import draw_points, draw_rug
from workbench.plots.style import CYCLE, EDGE, Place, axis_label, chosen, colours, legend_at, plain, side_by_side, tidy
from workbench.posterior.switching import DEFAULT, relabel

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.image import AxesImage

# Most draws shown, spread evenly over all chains: enough to show the spread, and few enough to see each.
DRAWS_SHOWN = 50

# Draws of which the means are shown as dots.
MEANS_SHOWN = 500


@checks_arguments
def posterior(
    ax: "Axes", comparison: Comparison, *, methods: Sequence[str] | None = None, legend: Place = "inside"
) -> None:
    """Draws of each sampler as thin lines, under the best sound estimate of every other method.

    For one column it draws densities. For several it draws the components' ellipses at 1 standard deviation in the
    first two columns, and the means of more draws as dots. The plot does not depend on labels. Methods are chosen and
    the legend is placed as in `score`.

    Raises:
        InputError: no method that is shown is a sampler, or a method is not in the comparison.
    """
    shown = chosen(comparison, methods)
    samplers = [name for name in shown if comparison[name].is_sampler]
    if not samplers:
        raise InputError("posterior: no method of the comparison is a sampler; leave this plot out")
    shades, points = colours(comparison), estimates(comparison, shown)
    x = comparison.problem.sample
    draw = _draw_densities if x.shape[1] == 1 else _draw_ellipses
    for name in samplers:
        draw(ax, comparison, name, shades[name], x)
    for estimate in points:
        _draw_estimate(ax, estimate, x)
    ax.set_xlabel(axis_label(comparison, 0))
    ax.set_ylabel("density" if x.shape[1] == 1 else axis_label(comparison, 1))
    legend_at(ax, legend, 2)
    tidy(ax)


def _draw_densities(ax: "Axes", comparison: Comparison, name: str, colour: str, x: np.ndarray) -> None:
    draws = _spread(comparison, name, DRAWS_SHOWN)
    low, high = data_range(x[:, 0], 0.12)
    grid = draws.grid(0, low, high)
    label: str | None = plain(f"{name}: {len(draws.weights)} draws of the density")
    for density in draws.densities(0, grid).sum(-2):
        ax.plot(grid, density, color=colour, linewidth=0.6, alpha=0.35, label=label, zorder=2)
        label = None
    draw_rug(ax, x[:, 0])
    ax.set_xlim(low, high)
    ax.set_ylim(bottom=0)


def _draw_ellipses(ax: "Axes", comparison: Comparison, name: str, colour: str, x: np.ndarray) -> None:
    draw_points(ax, x[:, :2])
    draws = _spread(comparison, name, DRAWS_SHOWN)
    label: str | None = plain(f"{name}: {len(draws.weights)} draws, 1 standard deviation")
    for contour in np.concatenate(draws.ellipses((0, 1), 1.0)):  # [S K, 2, points]
        ax.plot(*contour, color=colour, linewidth=0.6, alpha=0.25, label=label, zorder=2)
        label = None
    means = _spread(comparison, name, MEANS_SHOWN).means.reshape(-1, x.shape[1])
    dots: dict[str, Any] = {"linestyle": "none", "marker": ".", "markeredgewidth": 0, "color": colour}
    ax.plot(*means[:, :2].T, markersize=2.5, alpha=0.5, zorder=2, rasterized=True, **dots)
    ax.plot([], [], markersize=7, label=plain(f"{name}: means of the components"), **dots)
    ax.set_xlim(*data_range(x[:, 0]))
    ax.set_ylim(*data_range(x[:, 1]))


def _draw_estimate(ax: "Axes", estimate: Estimate, x: np.ndarray) -> None:
    gaussians = estimate.gaussians
    style = {"color": estimate.colour, "zorder": 4, **estimate.stroke}
    if gaussians is None:
        ax.plot([], [], label=estimate.label, **style)
        return
    if x.shape[1] == 1:
        grid = gaussians.grid(0, *data_range(x[:, 0], 0.12))
        ax.plot(grid, gaussians.densities(0, grid).sum(0), label=estimate.label, **style)
        return
    label: str | None = estimate.label
    for contour in gaussians.ellipses((0, 1), 1.0):
        ax.plot(*contour, label=label, **style)
        label = None
    ax.plot(*gaussians.means[:, :2].T, linestyle="none", marker="+", color=estimate.colour, markersize=9, zorder=5)


def _spread(comparison: Comparison, name: str, count: int) -> Gaussians:
    """At most `count` draws, spread evenly over all chains. Leading axis [S]."""
    return Gaussians.of_all(thinned(draws_of(comparison[name]), count))


# Most chains shown side by side, and most draws of each, evenly spread, for which a panel is wide enough.
CHAINS_SHOWN = 8
LABELS_SHOWN = 400


@checks_arguments
def labels(axes: "Sequence[Axes]", comparison: Comparison, method: str, algorithm: str = DEFAULT) -> None:
    """The first coordinate of the components' means along the chains, on two axes: as sampled, and relabelled.

    Each label has a colour. If colours differ between chains, the chains are in different labellings; if they change
    along a chain, its labels have switched. Neither is a failure of the sampler, but changes after relabelling may be.

    Raises:
        InputError: the method is not a sampler, or there is no such relabelling.
    """
    trace = comparison[method]
    relabelled = relabel(trace, comparison.problem, algorithm)
    (sampled, _), (settled, _) = side_by_side(axes, ("sampled", "relabelled"))
    _draw(sampled, np.asarray(trace.answer.means))
    _draw(settled, np.asarray(relabelled.mixtures.means))
    sampled.set_title(plain(f"{method}: labels as sampled"), loc="left", fontsize="medium")
    settled.set_title(plain(f"relabelled by {relabelled.algorithm}"), loc="left", fontsize="medium")
    sampled.set_ylabel(f"mean of {axis_label(comparison, 0)}")


def _draw(ax: "Axes", means: np.ndarray) -> None:
    """Plot the means [R, S, K, D] of the chains side by side."""
    chains, draws, components = means[:CHAINS_SHOWN].shape[:3]
    chosen = np.unique(np.linspace(0, draws - 1, min(draws, LABELS_SHOWN)).astype(int))
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


# Most rows shown, spread evenly over the data; with more, a cell would be finer than a pixel.
ROWS_SHOWN = 250


@checks_arguments
def clustering(axes: "list[Axes]", comparison: Comparison) -> "list[AxesImage]":
    """A matrix for each method with a result, on its own axes, all with the same rows in the same order.

    The matrix of a point estimate is that of its best sound mixture, and that of a sampler is the average over its
    draws. With one column, points are sorted by it. With several, points that cluster together, on average over the
    methods, are side by side.

    Returns:
        The images. They all have the same scale, so that any of them can be used for a colour bar.
    """
    found = matrices(comparison)
    order = _order(comparison, list(found.values()))
    images = []
    for ax, (name, chances) in side_by_side(axes, found.items()):
        shown = chances[np.ix_(order, order)]
        images.append(ax.imshow(shown, cmap="cividis", vmin=0.0, vmax=1.0, interpolation="nearest", origin="upper"))
        ax.set_title(plain(name), fontsize="medium")
        ax.set_xticks([])
        ax.set_yticks([])
    if found:
        one = comparison.problem.num_dimensions == 1
        axes[0].set_ylabel(f"points by {axis_label(comparison, 0)}" if one else "points, in clusters")
    return images


def matrices(comparison: Comparison) -> dict[str, np.ndarray]:
    """The co-clustering [N', N'] of an even sample of the rows, for each method with a result."""
    x, found = rows_shown(comparison), {}
    for name, trace in comparison.items():
        if trace.is_sampler:
            found[name] = co_clustering(draws_of(trace), x)
        elif (mixture := trace.best(comparison.problem, comparison.rule)) is not None:
            found[name] = co_clustering(jax.tree.map(lambda leaf: leaf[None], mixture), x)
    return found


def rows_shown(comparison: Comparison) -> np.ndarray:
    """An even sample of the data, sorted by the first column. [N', D]"""
    x = comparison.problem.sample
    ordered = x[np.argsort(x[:, 0], kind="stable")]
    return np.asarray(ordered[evenly(len(x), ROWS_SHOWN)])


def _order(comparison: Comparison, found: list[np.ndarray]) -> np.ndarray:
    """Of the rows shown. [N']"""
    if not found or comparison.problem.num_dimensions == 1:
        return np.arange(len(rows_shown(comparison)))
    return hierarchical_order(np.mean(found, axis=0))
