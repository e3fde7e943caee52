"""The plot of posterior draws of the samplers, with the point estimates over them."""

from typing import TYPE_CHECKING, Any

import numpy as np

from workbench.compare import Comparison
from workbench.compare.summary import draws_of
from workbench.diagnostics.predictive import thinned
from workbench.errors import InputError
from workbench.plots.estimates import Estimate, Gaussians, data_range, estimates
from workbench.plots.fit import draw_points, draw_rug
from workbench.plots.style import axis_label, colours, legend_above, plain, tidy

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Most draws shown, spread evenly over all chains: enough to show the spread, and few enough to see each.
DRAWS_SHOWN = 50

# Draws of which the means are shown as dots.
MEANS_SHOWN = 500


def posterior(ax: "Axes", comparison: Comparison) -> None:
    """Draws of each sampler as thin lines, under the best sound estimate of every other method.

    For one column it draws densities. For several it draws the components' ellipses at 1 standard deviation in the
    first two columns, and the means of more draws as dots. The plot does not depend on labels.

    Raises:
        InputError: no method of the comparison is a sampler.
    """
    samplers = [name for name, trace in comparison.items() if trace.is_sampler]
    if not samplers:
        raise InputError("posterior: no method of the comparison is a sampler; leave this plot out")
    shades, points = colours(comparison), estimates(comparison)
    x = comparison.problem.sample
    draw = _draw_densities if x.shape[1] == 1 else _draw_ellipses
    for name in samplers:
        draw(ax, comparison, name, shades[name], x)
    for estimate in points:
        _draw_estimate(ax, estimate, x)
    ax.set_xlabel(axis_label(comparison, 0))
    ax.set_ylabel("density" if x.shape[1] == 1 else axis_label(comparison, 1))
    legend_above(ax, 2)
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
