"""Plots of the labels that a mixture gives to the rows: which component each belongs to, and how surely."""

import textwrap
from collections.abc import Sequence
from itertools import zip_longest
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from workbench.compare import Comparison
from workbench.compare.answers import answer_of
from workbench.errors import InputError, checks_arguments
from workbench.mixture.background import BACKGROUND
from workbench.plots.estimates import Gaussians, data_range
from workbench.plots.fit import IMAGE_FROM, histogram_edges
from workbench.plots.style import EDGE, Palette, Place, legend_at, palette_of, plain, tidy
from workbench.plots.view import View, frame_view, rows_of, view_of, with_note

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.collections import PathCollection

By: TypeAlias = Literal["component", "class"]

# Shapes that are told apart in a print without colours.
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")

# The mark and the colour of rows that a uniform background takes: the grey of data is paler than any other colour.
CROSS, NOISE = "x", "0.2"

# Bins of a divided histogram.
MOST_BINS = 60

# The most groups for which a legend has an entry each, and the most entries side by side.
MOST_CLASSES, MOST_ABREAST = 12, 5

# Areas of marks, in square points: of a sure label on few and on many rows, and of one as unsure as can be.
SURE, SURE_OF_MANY, UNSURE = 14.0, 5.0, 80.0

UNCERTAINTY = "chance of another component"

ELLIPSES = "components at 1 and 2 standard deviations"

# Letters on a line of an entry beside the others.
LINE = 16

# From a light grey, which recedes, through orange to dark brown: lightness falls all the way.
RISING = ("#C9C9C9", "#D55E00", "#3D1400")


@checks_arguments
def classification(
    ax: "Axes",
    comparison: Comparison,
    *,
    method: str | None = None,
    columns: Sequence[str] | None = None,
    colour: By = "component",
    palette: Palette = None,
    legend: Place = "inside",
) -> None:
    """The rows, each in the colour of its component, and the components as ellipses of 1 and 2 standard deviations.

    For one column it draws a histogram that is divided among the components, and their densities. Where classes are
    known, marks have the shape of the class, or, coloured by class, of the component. Components count from 1 in the
    order of `Problem.presented`, as in all tables; rows of a uniform background are dark crosses. Weights count in the
    histogram. A row with missing cells is labelled by the others; if a shown cell is missing, its mark is hollow and
    stands at the completed cell.

    Args:
        ax: the axes.
        comparison: the results.
        method: the method whose best sound mixture labels the rows; by default the one that ends highest.
        columns: one or two names; by default all columns, or two principal components if there are more than two.
        colour: "component", or "class" where classes are known.
        palette: colours, or the name of a colour map of matplotlib.
        legend: "inside" the axes, "above" them, to their "right", or False for none.

    Raises:
        InputError: no method has a sound answer, a column is unknown, no classes are known, or an argument is unknown.
    """
    mixture = answer_of(comparison, method).mixture
    view = view_of(comparison, Gaussians.of(mixture), columns)
    component = np.asarray(mixture.predict(rows_of(comparison), missing=comparison.problem.missing))
    component = np.where(component == BACKGROUND, mixture.num_components, component)
    classes = classes_of(comparison)
    if colour not in ("component", "class"):
        raise InputError(f"colour: unknown {colour!r}; allowed: component, class")
    if colour == "class" and classes is None:
        raise InputError("colour: no classes are known; give label in [data], or colour by component")
    own = np.unique(classes).tolist() if classes is not None else []
    names = [f"component {k + 1}" for k in range(mixture.num_components)]
    by_component = _Groups(component, names, _marks(len(names)))
    if mixture.background is not None:
        by_component = by_component.beside("background", component == mixture.num_components)
    by_class = by_component if classes is None else _Groups(np.searchsorted(own, classes), own, _marks(len(own)))
    coloured, shaped = (by_component, by_class) if colour == "component" else (by_class, by_component)
    shades = palette_of(palette, len(coloured.names))
    if colour == "component" and mixture.background is not None:
        shades = [*shades[:-1], NOISE]
    if view.x.shape[1] == 1:
        _divided(ax, view, comparison.problem.sample_weights, coloured, shades)
    else:
        of_background = component == mixture.num_components
        _scattered(ax, view, coloured, shaped.beside("background", of_background), shades)
        _entries(ax, coloured, shaped, shades, in_rows=legend == "above")
        for k, contours in enumerate(_ellipses(view)):
            shade = shades[k] if colour == "component" else EDGE
            for contour, width in zip(contours, (1.4, 0.8), strict=True):
                ax.plot(*contour, color=shade, linewidth=width, zorder=2.5)
        if legend != "above":  # whose title says it, for the entry is longer than its columns
            ax.plot([], [], color=EDGE, linewidth=1.2, label=_of_ellipses(legend))
        frame_view(ax, view, "hollow")
    of_ellipses = f"ellipses: {ELLIPSES}" if legend == "above" and view.x.shape[1] == 2 else None
    legend_at(ax, legend, _abreast(coloured.names, shaped.names), title=of_ellipses)
    tidy(ax)


@checks_arguments
def uncertainty(
    ax: "Axes",
    comparison: Comparison,
    *,
    method: str | None = None,
    columns: Sequence[str] | None = None,
    palette: Palette = None,
    legend: Place = "inside",
) -> "PathCollection":
    """The rows, each the larger and darker the less sure its component: 1 minus the highest responsibility.

    For one column it draws that chance against the column, for rows as marks and between them as a line. Rows with
    missing cells are judged by the others; if a shown cell is missing, the mark is ringed, at the completed cell.

    Args:
        ax: the axes.
        comparison: the results.
        method: as in `classification`.
        columns: as in `classification`.
        palette: the name of a colour map of matplotlib.
        legend: as in `classification`.

    Returns:
        The marks, from which a colour bar can be made; their scale goes from 0 to 1 - 1/K.

    Raises:
        InputError: as for `classification`.
    """
    mixture = answer_of(comparison, method).mixture
    view = view_of(comparison, Gaussians.of(mixture), columns)
    chance = _unsure(mixture.responsibilities(rows_of(comparison), missing=comparison.problem.missing))
    groups = mixture.num_components + (mixture.background is not None)
    most = max(1 - 1 / groups, np.finfo(float).eps)
    style: dict[str, Any] = {"cmap": _colour_map(palette), "vmin": 0.0, "vmax": most, "edgecolors": EDGE}
    order = np.lexsort((chance, view.completed))  # the least sure on top, and ringed marks above all
    style["linewidths"] = np.where(view.completed[order], 0.9, 0.0)
    least = SURE if len(order) < IMAGE_FROM else SURE_OF_MANY
    sizes = least + (UNSURE - least) * chance[order] / most
    sizes = np.where(view.completed[order], np.maximum(sizes, SURE), sizes)
    if view.x.shape[1] == 1:
        # As dots on the curve; a second column would not be a function of this one.
        marks = ax.scatter(view.x[order, 0], chance[order], sizes / 2, chance[order], zorder=2.0, **style)
        if comparison.problem.num_dimensions == 1:
            grid = np.linspace(*data_range(view.x[:, 0]), 800)[:, None]
            line = _unsure(mixture.responsibilities(grid))
            ax.plot(grid[:, 0], line, color=EDGE, linewidth=0.9, zorder=1.5)
        ax.set_xlabel(with_note(view, "ringed"))
        ax.set_ylabel(UNCERTAINTY)
        ax.set_ylim(-0.02 * most, 1.05 * most)
    else:
        style["rasterized"] = len(order) >= IMAGE_FROM
        marks = ax.scatter(view.x[order, 0], view.x[order, 1], sizes, chance[order], zorder=2.0, **style)
        label: str | None = _of_ellipses(legend)
        for contours in _ellipses(view):
            for contour, width in zip(contours, (1.2, 0.7), strict=True):
                ax.plot(*contour, color=EDGE, linewidth=width, label=label, zorder=2.5)
                label = None
        frame_view(ax, view, "ringed")
        legend_at(ax, legend, 2)
    tidy(ax)
    return marks


def _unsure(responsibilities: ArrayLike) -> NDArray[np.float64]:
    """1 minus the highest responsibility of each row, of [N, K] and of what these leave to a background. [N]"""
    own = np.asarray(responsibilities)
    return np.asarray(1 - np.maximum(np.max(own, axis=1), 1 - np.sum(own, axis=1)))


def classes_of(comparison: Comparison) -> NDArray[np.str_] | None:
    """The known class of each row that figures show; None if there are none. [N']"""
    labels = comparison.reference.labels
    if labels is None or len(labels) != len(comparison.problem.sample):
        return None
    return np.asarray(labels).astype(np.str_)


def _marks(count: int) -> list[str]:
    """A shape for each of so many groups; they repeat where they are too few."""
    return [MARKERS[g % len(MARKERS)] for g in range(count)]


class _Groups(NamedTuple):
    """The group of each row [N], and the name and the mark of each group."""

    of: NDArray[np.int_]
    names: list[str]
    marks: list[str]

    def beside(self, name: str, rows: NDArray[np.bool_]) -> "_Groups":
        """These groups, and some rows [N] as one more, whose mark is a cross."""
        return _Groups(np.where(rows, len(self.names), self.of), [*self.names, name], [*self.marks, CROSS])


def _scattered(ax: "Axes", view: View, coloured: _Groups, shaped: _Groups, shades: Sequence[str]) -> None:
    """Marks of the rows."""
    many = len(view.x) >= IMAGE_FROM
    style: dict[str, Any] = {
        "linestyle": "none",
        "markersize": 2.6 if many else 4.4,
        "markeredgewidth": 0.0,
        "alpha": float(np.clip(30 / np.sqrt(len(view.x)), 0.25, 0.75)),
        "rasterized": many,
        "zorder": 2.0,
    }
    # In random order, so that no group hides another; runs of one look are drawn together.
    order = np.random.default_rng(0).permutation(len(view.x))
    looks = np.stack([coloured.of, shaped.of, view.completed], axis=1)  # [N, 3]
    for part in np.array_split(order, min(len(order), 20)):
        for group, shape, hollow in np.unique(looks[part], axis=0):
            rows = part[np.all(looks[part] == (group, shape, hollow), axis=1)]
            look = {**style, "color": shades[group], "marker": shaped.marks[shape]}
            if shaped.marks[shape] == CROSS:
                # Of lines alone, which at the opacity of full marks would be paler than they are.
                look |= {"markeredgewidth": 0.8 if many else 1.2, "alpha": max(0.7, style["alpha"]), "zorder": 2.2}
            if hollow:
                # On top, and no smaller than on few rows, so that a few are seen among thousands.
                look |= {"markerfacecolor": "white", "markeredgewidth": 1.1, "markersize": 5.2, "zorder": 2.3}
                look["alpha"] = 0.9
            ax.plot(*view.x[rows].T, **look)


def _entries(ax: "Axes", coloured: _Groups, shaped: _Groups, shades: Sequence[str], *, in_rows: bool) -> None:
    """An entry of the legend for each colour and, where shapes say something else, one for each shape."""
    same = shaped.names == coloured.names
    colours = [
        (shade, mark if same or mark == CROSS else "o", plain(name))
        for shade, mark, name in zip(shades, coloured.marks, coloured.names, strict=True)
    ]
    shapes = [] if same else [(EDGE, mark, plain(name)) for mark, name in zip(shaped.marks, shaped.names, strict=True)]
    shapes = shapes[:MOST_CLASSES]
    entries = [*colours[:MOST_CLASSES], *shapes]
    if in_rows and shapes and max(len(colours), len(shapes)) <= MOST_ABREAST:
        # A legend is filled column by column: of each column, the first is a colour and the second a shape.
        blank = (EDGE, "none", " ")
        entries = [each for pair in zip_longest(colours, shapes, fillvalue=blank) for each in pair]
    for colour, marker, name in entries:
        edge = 1.4 if marker == CROSS else 0.0
        ax.plot([], [], linestyle="none", markeredgewidth=edge, markersize=6, color=colour, marker=marker, label=name)


def _abreast(*groups: list[str]) -> int:
    """Columns of a legend above the axes."""
    most = max(map(len, groups))
    return most if most <= MOST_ABREAST else 3


def _divided(
    ax: "Axes", view: View, weights: NDArray[np.float64] | None, coloured: _Groups, shades: Sequence[str]
) -> None:
    """A histogram of one column, its bars divided among the groups, with the density of each component.

    A row of weight w, of weights [N] if given, adds as much as w equal rows.
    """
    groups, names = coloured.of, coloured.names
    x = view.x[:, 0]
    edges = histogram_edges(x, weights, MOST_BINS)
    counts = np.ones(len(x)) if weights is None else weights
    heights = counts / (np.sum(counts) * (edges[1] - edges[0]))
    parts = [x[groups == g] for g in range(len(names))]
    of_parts = [heights[groups == g] for g in range(len(names))]
    ax.hist(
        parts, edges, weights=of_parts, stacked=True, color=shades, alpha=0.45,
        edgecolor="white", linewidth=0.4, label=[plain(name) for name in names],
    )  # fmt: skip
    grid = view.gaussians.grid(0, *data_range(x, 0.1))
    densities = view.gaussians.densities(0, grid)
    per_component = len(densities) + (view.gaussians.background is not None) == len(names)
    for k, density in enumerate(densities):
        ax.plot(grid, density, color=shades[k] if per_component else EDGE, linewidth=1.4)
    if len(densities) > 1 or view.gaussians.background is not None:
        ax.plot(
            grid, view.gaussians.density(0, grid), color="0.15", linewidth=1.0, linestyle=(0, (4, 2)), label="mixture"
        )
    ax.set_xlim(min(grid[0], edges[0]), max(grid[-1], edges[-1]))
    ax.set_xlabel(with_note(view, "some"))
    ax.set_ylabel("density")


def _ellipses(view: View) -> list[tuple[NDArray[np.float64], NDArray[np.float64]]]:
    """The contours of each component, at one and at two standard deviations."""
    one, two = (view.gaussians.ellipses((0, 1), radius) for radius in (1.0, 2.0))
    return list(zip(one, two, strict=True))


def _of_ellipses(legend: Place) -> str:
    """The legend's entry for them, in short lines where it takes room from the axes' width."""
    return textwrap.fill(ELLIPSES, LINE) if legend in ("inside", "right") else ELLIPSES


def _colour_map(palette: Palette) -> Any:
    # Imported here because matplotlib takes long to import.
    from matplotlib import colormaps
    from matplotlib.colors import LinearSegmentedColormap

    if palette is None:
        return LinearSegmentedColormap.from_list("rising", RISING)
    if not isinstance(palette, str) or palette not in colormaps:
        raise InputError(f"palette: {palette!r} is no colour map of matplotlib; give one, as viridis_r, Greys, magma_r")
    return colormaps[palette]
