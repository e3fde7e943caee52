"""Figures on request: any figure of stored results, in a size, with a palette and a legend, as PNG, PDF or SVG."""

import textwrap
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from functools import partial
from numbers import Real
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.figure import Figure

from workbench import plots
from workbench.compare import Comparison
from workbench.data.names import unknown_name
from workbench.errors import VALUE, InputError, checks_arguments, one_line
from workbench.files import replacing
from workbench.plots import parameters
from workbench.plots import selection as criteria
from workbench.plots.classification import ELLIPSES, UNCERTAINTY, By
from workbench.plots.style import EDGE, Palette, Place, plain
from workbench.report.figures import DOTS_PER_INCH, SALT, figures_of
from workbench.report.fitting import legend_above, legend_of_panels, settle
from workbench.report.selection_page import selection_figure
from workbench.selection import CRITERIA, FamilySelection, Selection

FORMATS = (".png", ".pdf", ".svg")

# Inches of a figure of one panel, which suits a column of a page; of each panel of others.
ALONE, WIDE, HIGH = (6.4, 4.8), 2.5, 1.8

ABREAST = 4


@dataclass(frozen=True)
class Look:
    """What a figure shows, and how; None leaves the choice to the figure."""

    size: tuple[float, float] | None = None  # inches
    palette: Palette = None
    legend: Place | None = None
    columns: Sequence[str] | None = None
    colour: By | None = None
    method: str | None = None
    methods: Sequence[str] | None = None

    def keywords(self, figure: str, *allowed: str) -> dict[str, Any]:
        """What is given, apart from the size.

        Raises:
            InputError: something is given that this figure does not have.
        """
        given = {each.name: getattr(self, each.name) for each in fields(self) if each.name != "size"}
        given = {name: value for name, value in given.items() if value is not None}
        for name in given:
            if name not in allowed:
                has = f"has {', '.join((*allowed, 'size'))}" if allowed else "has a size only"
                raise InputError(f"{name}: the figure {figure!r} {has}")
        return given

    def figure(self, size: tuple[float, float]) -> Figure:
        """An empty figure in the size that is asked for, or else in its own."""
        return Figure(figsize=self.size or size, layout="constrained")


@checks_arguments
def figure(
    results: Comparison | Selection | FamilySelection,
    name: str,
    *,
    size: tuple[float, float] | None = None,
    palette: Palette = None,
    legend: Place | None = None,
    columns: Sequence[str] | None = None,
    colour: By | None = None,
    method: str | None = None,
) -> Figure:
    """A figure of results, which `Figure.savefig` writes in any format.

    Args:
        results: a comparison, or a choice of K (`load_selections`).
        name: of a comparison "classification", "uncertainty", "forest", "trace", "rank", "marginals", or one of its
            page ("score", "fit", "waterfall", "posterior", "labels", "clustering"); of a choice of K "selection", or a
            criterion, as "bic".
        size: width and height in inches.
        palette: colours, or the name of a colour map of matplotlib.
        legend: "inside" the axes, "above", "right", or False for none.
        columns: names of the columns that are shown.
        colour: of "classification": "component" or "class".
        method: the method that is shown.

    Raises:
        InputError: there is no such figure, it does not have an argument that is given, or there is nothing to show.
    """
    return drawn(results, name, Look(size, palette, legend, columns, colour, method))


def drawn(results: Comparison | Selection | FamilySelection, name: str, look: Look) -> Figure:
    """As `figure`, from one `Look`."""
    checked_size(look)
    if isinstance(results, Comparison):
        return _of_comparison(results, name, look)
    if name not in ("selection", *CRITERIA):
        raise InputError(f"figure: {unknown_name('figure', name, ('selection', *CRITERIA))}")
    if name not in ("selection", *results.criteria):
        raise InputError(f"figure: {name}: the choice was made without it; it has {', '.join(results.criteria)}")
    keywords = look.keywords(name, *(("legend",) if name != "selection" else ()))
    if name == "selection":
        made = selection_figure(results)
        if look.size is not None:
            made.set_size_inches(look.size)
        return made
    made = look.figure(ALONE)
    ax = made.subplots()
    if isinstance(results, FamilySelection):
        criteria.families(ax, results, name)
        legend_of_panels(made, ax, keywords.get("legend", "right"), "covariance")
    else:
        criteria.criterion(ax, results, name)
    ax.set_xlabel("components K")
    ax.set_ylabel("nats below the best")
    return made


def checked_size(look: Look) -> None:
    """Refuses a size that is none.

    Raises:
        InputError: it is not two numbers of inches, or one of them is out of bounds.
    """
    if look.size is None:
        return
    numbers = isinstance(look.size, Sequence) and all(isinstance(side, Real) for side in look.size)
    if not (numbers and len(look.size) == 2 and all(0.5 <= side <= 100 for side in look.size)):
        raise InputError(f"size: give width and height in inches, from 0.5 to 100, got {look.size!r}")


def save_figure(made: Figure, path: Path) -> Path:
    """Write a figure whole, or not at all, in the format of the file's suffix.

    Text stays text, in fonts that journals take (TrueType in PDF), and two runs write the same bytes.

    Raises:
        InputError: the suffix is none of `FORMATS`, or the file cannot be written.
    """
    form = path.suffix.lower()
    if form not in FORMATS:
        raise InputError(f"--out: {path}: suffix {path.suffix!r} is no format; give {', '.join(FORMATS)}")
    metadata = {".png": {"Software": None}, ".pdf": {"CreationDate": None}, ".svg": {"Date": None, "Creator": None}}
    with matplotlib.rc_context({"svg.hashsalt": SALT, "pdf.fonttype": 42}), written(path) as temporary:
        made.savefig(temporary, format=form[1:], dpi=2 * DOTS_PER_INCH, metadata=metadata[form])
    return path


@contextmanager
def written(path: Path) -> Iterator[Path]:
    """A temporary path, of the same suffix, that becomes `path` if the block ends without an error.

    Raises:
        InputError: the file cannot be written.
    """
    try:
        with replacing(path) as temporary:
            yield temporary
    except OSError as error:
        where = one_line(str(path), VALUE)
        raise InputError(f"{where}: cannot be written ({error.strerror}); give another --out") from None


def _of_comparison(comparison: Comparison, name: str, look: Look) -> Figure:
    if name == "animation":
        raise InputError("figure: 'animation' is no figure but moves; workbench.report.animation(results) makes it")
    if name in MAKERS:
        return fitting(name, partial(MAKERS[name], comparison), look)
    if name not in OF_PAGE:
        raise InputError(f"figure: {unknown_name('figure', name, (*MAKERS, 'animation', *OF_PAGE))}")
    look.keywords(name)
    made = figures_of(comparison, only=name)
    if name not in made:
        raise InputError(f"figure: {name!r} has nothing to show here; there are {', '.join(figures_of(comparison))}")
    if look.size is not None:
        made[name].set_size_inches(look.size)
    return made[name]


def fitting(name: str, make: Callable[[Look], Figure], look: Look) -> Figure:
    """The figure, if its texts have room in the size that is asked for.

    Raises:
        InputError: they have none.
    """
    made = make(look)
    fault = settle(made)
    if fault is None or look.size is None:
        return made
    width, height = make(replace(look, size=None)).get_size_inches()
    has_legend = made.legends or any(ax.get_legend() for ax in made.axes)
    remedies = ["no legend (--legend none)"] if has_legend else []
    remedies += ["fewer columns (--columns)"] if name in OF_COLUMNS else []
    raise InputError(
        f"size: {look.size[0]:g}x{look.size[1]:g} is too small for the figure {name!r}: it {fault}; give more inches "
        f"(its own size is {width:.3g}x{height:.3g})" + "".join(f", or {remedy}" for remedy in remedies)
    )


def _classification(comparison: Comparison, look: Look) -> Figure:
    given = look.keywords("classification", "palette", "legend", "columns", "colour", "method")
    return _alone(look, lambda ax, legend: plots.classification(ax, comparison, **{**given, "legend": legend}))


def _alone(look: Look, draw: Callable[[Any, Place], None]) -> Figure:
    """A figure of one panel, with the legend above all of it, where a legend above the axes alone had less room."""
    made = look.figure(ALONE)
    ax = made.subplots()
    place: Place = "above" if look.legend is None else look.legend
    draw(ax, False if place == "above" else place)
    entries = list(zip(*ax.get_legend_handles_labels(), strict=True))
    if place == "above" and entries:
        # Among others the entry for ellipses, longer than all of them, is the title.
        rest = [each for each in entries if each[1] != ELLIPSES]
        title = f"ellipses: {ELLIPSES}" if 0 < len(rest) < len(entries) else None
        entries = rest or entries
        # Shapes are in grey, and stand in lines of their own.
        shapes = [getattr(handle, "get_color", str)() == EDGE for handle, _ in entries]
        groups = [[each for each, of in zip(entries, shapes, strict=True) if of is shape] for shape in (False, True)]
        legend_above(made, [group for group in groups if group], title)
    return made


def _uncertainty(comparison: Comparison, look: Look) -> Figure:
    given = look.keywords("uncertainty", "palette", "legend", "columns", "method")

    def draw(ax: Any, legend: Place) -> None:
        marks = plots.uncertainty(ax, comparison, **{**given, "legend": legend})
        if ax.get_ylabel() != UNCERTAINTY:
            ax.figure.colorbar(marks, ax=ax, label=UNCERTAINTY)

    return _alone(look, draw)


def _trace(comparison: Comparison, look: Look) -> Figure:
    given = look.keywords("trace", "palette", "legend", "columns", "method")
    panels = parameters.panels_of(comparison, look.method, look.columns)
    made = look.figure((6.4, 0.7 + HIGH * 0.8 * len(panels)))
    axes = made.subplots(len(panels), 1, sharex=True, squeeze=False)[:, 0]
    plots.trace(axes.tolist(), panels, palette=look.palette, legend=False)
    made.align_ylabels(axes)
    legend_of_panels(made, axes[-1], given.get("legend", "above"))
    _say_left_out(made, parameters.left_out(comparison, look.columns))
    return made


def _rank(comparison: Comparison, look: Look) -> Figure:
    given = look.keywords("rank", "palette", "legend", "columns", "method")
    panels = parameters.panels_of(comparison, look.method, look.columns)
    most = max(len(panel.names) for panel in panels)
    made = look.figure((WIDE * max(most, 2), 0.5 + HIGH * len(panels)))
    axes = made.subplots(len(panels), most, squeeze=False)
    plots.ranks(axes, panels, palette=look.palette, legend=False)
    made.align_ylabels(axes[:, 0])
    legend_of_panels(made, axes[0, 0], given.get("legend", "above"))
    _say_left_out(made, parameters.left_out(comparison, look.columns))
    return made


def _marginals(comparison: Comparison, look: Look) -> Figure:
    given = look.keywords("marginals", "palette", "legend", "columns", "method")
    panels = parameters.panels_of(comparison, look.method, look.columns, log_joint=False)

    def draw(made: Figure, axes: list[Any]) -> None:
        plots.marginals(axes, panels, palette=look.palette, legend=False)
        legend_of_panels(made, axes[-1], given.get("legend", "above"))
        _say_left_out(made, parameters.left_out(comparison, look.columns))

    return grid(look, len(panels), 2.4, draw)


def _forest(comparison: Comparison, look: Look) -> Figure:
    given = look.keywords("forest", "palette", "legend", "columns", "method")
    methods = None if look.method is None else [look.method]
    groups = parameters.groups_of(comparison, methods, look.columns)
    if not groups:
        raise InputError("forest: no method has estimates; `workbench estimates` says why")

    def draw(made: Figure, axes: list[Any]) -> None:
        plots.forest(axes, groups, palette=look.palette, legend=False)
        legend_of_panels(made, axes[0], given.get("legend", "above"))
        _say_left_out(made, parameters.left_out(comparison, look.columns, parameters.COLUMNS_IN_FOREST))

    return grid(look, len(groups), 0.9 + 0.28 * len(groups[0].rows), draw)


def grid(look: Look, count: int, high: float, draw: Callable[[Figure, list[Any]], None], wide: float = WIDE) -> Figure:
    """A figure of so many axes: `ABREAST` side by side, or as many fewer as the size that is asked for needs."""
    widest = min(count, ABREAST)
    for abreast in range(widest, 0, -1):
        rows = -(-count // abreast)
        made = look.figure((wide * max(abreast, 2), 0.5 + high * rows))
        axes = made.subplots(rows, abreast, squeeze=False).ravel()
        for spare in axes[count:]:
            spare.set_axis_off()
        draw(made, list(axes[:count]))
        if look.size is None or settle(made) is None:
            break
    return made


def _say_left_out(made: Figure, names: Sequence[str]) -> None:
    """A line below the panels that names the columns without one."""
    if names:
        few = ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")
        told = plain(f"not shown: {few}; --columns chooses")
        # About 15 letters of this size stand on an inch.
        made.supxlabel(textwrap.fill(told, int(15 * made.get_size_inches()[0])), fontsize="small", color=EDGE)


MAKERS: dict[str, Callable[[Comparison, Look], Figure]] = {
    "classification": _classification,
    "uncertainty": _uncertainty,
    "forest": _forest,
    "trace": _trace,
    "rank": _rank,
    "marginals": _marginals,
}
# Figures with a panel for each column.
OF_COLUMNS = ("forest", "trace", "rank", "marginals")
OF_PAGE = ("score", "fit", "waterfall", "posterior", "labels", "clustering")
