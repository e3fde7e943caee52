"""The plot of co-clustering matrices, which show the points that share a component and do not depend on labels."""

from typing import TYPE_CHECKING

import jax
import numpy as np

from workbench.compare import Comparison
from workbench.compare.summary import draws_of
from workbench.diagnostics.clustering import co_clustering, hierarchical_order
from workbench.diagnostics.predictive import evenly
from workbench.plots.style import axis_label, plain

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.image import AxesImage

# Most rows shown, spread evenly over the data; with more, a cell would be finer than a pixel.
ROWS_SHOWN = 250


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
    for ax, (name, chances) in zip(axes, found.items(), strict=True):
        shown = chances[np.ix_(order, order)]
        images.append(ax.imshow(shown, cmap="cividis", vmin=0.0, vmax=1.0, interpolation="nearest", origin="lower"))
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
