"""The plot of the likelihood surface over the two means of a univariate mixture of two, with the paths of methods."""

from typing import TYPE_CHECKING

import numpy as np

from workbench.compare import Comparison
from workbench.geometry.surface import Surface
from workbench.plots.style import colours, legend_above, plain, short_unit, strokes, tidy

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Nats below the top at which contours are drawn.
LEVELS = (0.5, 2, 5, 10, 20, 40, 60, 80, 120, 200, 400, 800, 1600, 3200)

# Most restarts of each method whose paths are drawn; more would hide the surface.
PATHS = 5

# Width of a path, as a share of a method's usual stroke.
THINNER = 0.6


def surface(ax: "Axes", comparison: Comparison, found: Surface) -> None:
    """Contours of `log_joint`, profiled over weights and variances, with each method's first paths over them.

    A path shows the two means at each row; a dot is a start, and a cross an end. The surface is symmetric about the
    diagonal, because labels are arbitrary. Samplers are left out, because they do not climb.
    """
    height = np.where(np.isfinite(found.log_joint), found.log_joint, np.nan)
    below = (np.nanmax(height) - height).T  # the first mean along x
    levels = [level for level in LEVELS if level < np.nanmax(below)]
    shading = [-np.nanmax(below), *(-level for level in reversed(levels)), 0]
    ax.contourf(found.means, found.means, -below, shading, cmap="Greys_r", alpha=0.55)
    lines = ax.contour(found.means, found.means, below, levels, colors="0.35", linewidths=0.6)
    ax.clabel(lines, fmt="%g", fontsize=6)
    shades, styles = colours(comparison), strokes(comparison)
    for name, trace in comparison.items():
        if trace.is_sampler:
            continue
        thinner = {**styles[name], "linewidth": THINNER * styles[name]["linewidth"]}
        means = np.asarray(trace.mixtures.means)[:PATHS, :, :, 0]  # [R, T, 2]
        for r, path in enumerate(means):
            label = plain(name) if r == 0 else None
            ax.plot(*path.T, color=shades[name], alpha=0.9, label=label, **thinner)
            ax.plot(*path[0], "o", color="black", markersize=3, zorder=4)
            ax.plot(*path[-1], "X", color=shades[name], markeredgecolor="white", markersize=7, zorder=5)
    column = comparison.columns[0] if comparison.columns else "x1"
    unit = short_unit(comparison.units)
    suffix = f" ({unit})" if unit else ""
    ax.set_xlabel(plain(f"mean of component 1: {column}{suffix}"))
    ax.set_ylabel(plain(f"mean of component 2: {column}{suffix}"))
    ax.set_xlim(found.means[0], found.means[-1])
    ax.set_ylim(found.means[0], found.means[-1])
    ax.set_aspect("equal")
    legend_above(ax, 3, title="contours: nats below the top, maximised over weights and variances")
    tidy(ax)
