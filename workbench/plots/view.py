"""Rows and components in one or two dimensions.

Data of more than two columns are shown in two chosen columns, or in the two principal components of the standardised
columns. Components are projected exactly: the image of a Gaussian is a Gaussian.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from workbench.compare import Comparison
from workbench.data.names import column_positions
from workbench.errors import InputError
from workbench.plots.estimates import Gaussians, data_range
from workbench.plots.style import axis_label

if TYPE_CHECKING:
    from matplotlib.axes import Axes

PRINCIPAL = "PC {} of standardised columns ({:.0f} %)"

# Said of rows that have no value of their own in a column that is shown.
COMPLETED = "{}: cells missing, placed by completion"


@dataclass(frozen=True)
class View:
    """Rows and components in one or two dimensions."""

    x: NDArray[np.float64]  # [N, 1 or 2]
    gaussians: Gaussians  # in these dimensions
    labels: tuple[str, ...]  # of the axes
    completed: NDArray[np.bool_]  # [N]   rows without a cell of their own in a column that is shown


def view_of(comparison: Comparison, gaussians: Gaussians, columns: Sequence[str] | None = None) -> View:
    """The chosen columns; by default all if they are at most two, else the first two principal components.

    Raises:
        InputError: a column is unknown, or there are more than two.
    """
    problem = comparison.problem
    x, own = problem.sample, rows_of(comparison)
    names = comparison.columns or tuple(f"x{d + 1}" for d in range(x.shape[1]))
    places = list(range(x.shape[1])) if columns is None else column_positions(columns, names, "columns")
    if columns is not None and len(places) > 2:
        raise InputError(f"columns: {len(places)} are more than a plane has; give one or two")
    if len(places) > 2:
        return _principal(x, problem.sample_weights, gaussians, _any_missing(own))
    axes = np.eye(x.shape[1])[places]  # [C, D]
    labels = tuple(axis_label(comparison, d) for d in places)
    shown = _projected(gaussians, axes)
    if gaussians.background is not None:
        shown = replace(shown, background=gaussians.background.of_columns(np.asarray(places)))
    return View(x[:, places], shown, labels, _any_missing(own[:, places]))


def rows_of(comparison: Comparison) -> NDArray[np.float64]:
    """The rows of `Problem.sample` with NaN where a cell is missing, by which a mixture labels them. [N', D]"""
    problem = comparison.problem
    return problem.x if problem.missing == "marginal" else problem.sample


def _any_missing(x: NDArray[np.float64]) -> NDArray[np.bool_]:
    return np.asarray(np.any(np.isnan(x), axis=1), np.bool_)


def _principal(
    x: NDArray[np.float64], weights: NDArray[np.float64] | None, gaussians: Gaussians, completed: NDArray[np.bool_]
) -> View:
    """The first two principal components of the standardised columns, in standard deviations of the columns."""
    share = np.full(len(x), 1 / len(x)) if weights is None else weights / np.sum(weights)
    centre = share @ x
    scale = np.sqrt(share @ (x - centre) ** 2)
    z = (x - centre) / scale
    variances, vectors = np.linalg.eigh(z.T @ (share[:, None] * z))
    axes = vectors[:, [-1, -2]].T  # [2, D]
    # The sign of an eigenvector is free: the largest loading is positive.
    axes = axes * np.sign(axes[np.arange(2), np.argmax(np.abs(axes), axis=1)])[:, None]
    labels = tuple(PRINCIPAL.format(c + 1, 100 * variances[-1 - c] / np.sum(variances)) for c in range(2))
    moved = Gaussians(gaussians.weights, gaussians.means - centre, gaussians.covariances)
    return View(z @ axes.T, _projected(moved, axes / scale), labels, completed)


def _projected(gaussians: Gaussians, axes: NDArray[np.float64]) -> Gaussians:
    """The images of the components under `axes` [C, D]."""
    covariances = axes @ gaussians.covariances @ axes.T
    return Gaussians(gaussians.weights, gaussians.means @ axes.T, covariances)


def frame_view(ax: "Axes", view: View, marked: str) -> None:
    """Limits and labels of a plane; `marked` says how rows look that are placed by completed cells."""
    for name, values, label in zip("xy", view.x.T, (with_note(view, marked), view.labels[1]), strict=True):
        getattr(ax, f"set_{name}lim")(*data_range(values))
        getattr(ax, f"set_{name}label")(label)


def with_note(view: View, marked: str) -> str:
    """The label of the first column, and which marks are placed by completed cells."""
    return f"{view.labels[0]}\n{COMPLETED.format(marked)}" if view.completed.any() else view.labels[0]
