"""The common style of all plots: a colour and a stroke for each method, and names and units as plain text."""

import re
from collections.abc import Collection, Iterable, Sequence
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, TypeVar, get_args

from workbench.compare import Comparison
from workbench.errors import InputError, checks_arguments, typed

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Where: TypeAlias = Literal["inside", "above", "right"]
Place: TypeAlias = Where | Literal[False]

Item = TypeVar("Item")

# Colours, or the name of a colour map of matplotlib; None for our own.
Palette: TypeAlias = Sequence[str] | str | None

# Colours of Okabe & Ito (2008), "Color universal design", which colour-blind readers can distinguish. Their yellow is
# left out, because it is too pale on white.
CYCLE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#8C8C8C")

# The methods that are compared most have fixed colours; the others take the next free one.
OWNERS = {"em": "#0072B2", "ascent": "#D55E00", "nuts": "#009E73"}

# Width and dashes, by position in the comparison. Methods that agree draw the same curve; the wide line below shows
# through the gaps of the narrower one above it.
STROKES: tuple[tuple[float, Any], ...] = (
    (3.4, "solid"),
    (1.9, (0, (4, 2))),
    (1.6, (0, (1, 1.5))),
    (1.4, (0, (7, 2, 1, 2))),
    (1.3, (0, (2, 4))),
    (1.2, (0, (9, 4))),
    (1.6, (0, (1, 3))),
)

# Colour maps of at most so many colours are lists of them, and no scales.
FEW_COLOURS = 20

DATA = "0.55"  # grey of data points
EDGE = "0.35"  # grey of reference lines and notes

# A unit longer than this does not fit on an axis beside the name of its column.
LONGEST_UNIT = 26


@checks_arguments
def colours(names: Iterable[str]) -> dict[str, str]:
    """A colour for each method: its fixed colour if it has one, else the next free one.

    Give all names of a comparison, so that a method looks the same in all its plots. Beyond seven, colours repeat.
    """
    wanted = list(names)
    chosen = {name: OWNERS[name] for name in wanted if name in OWNERS}
    free = [colour for colour in CYCLE if colour not in chosen.values()] or list(CYCLE)
    others = [name for name in wanted if name not in chosen]
    chosen |= {name: free[i % len(free)] for i, name in enumerate(others)}
    return {name: chosen[name] for name in wanted}


def palette_of(palette: Palette, count: int) -> list[str]:
    """A colour for each of `count` groups; those of a list, or of our own, repeat where they are too few.

    A colour map of few colours, such as tab10, gives them in turn; others are cut evenly.

    Raises:
        InputError: there is no such colour map, or a colour is none.
    """
    # Imported here because matplotlib takes long to import.
    from matplotlib import colormaps
    from matplotlib.colors import ListedColormap, is_color_like, to_hex

    if isinstance(palette, str) and palette in colormaps:
        shades = colormaps[palette]
        if isinstance(shades, ListedColormap) and shades.N <= FEW_COLOURS:
            return [to_hex(shades(i % shades.N)) for i in range(count)]
        # Not to the pale ends, which are hard to see on white.
        return [to_hex(shades(0.08 + 0.8 * i / max(count - 1, 1))) for i in range(count)]
    given = CYCLE if palette is None else (palette,) if isinstance(palette, str) else tuple(palette)
    wrong = [colour for colour in given if not is_color_like(colour)]
    if wrong or not given:
        raise InputError(
            f"palette: {', '.join(map(str, wrong)) or 'empty'}: is no colour and no colour map of matplotlib; "
            "give colours, as #0072B2 or black, or a colour map, as tab10 or viridis"
        )
    return [given[i % len(given)] for i in range(count)]


def strokes(names: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Line width and dashes for each method, as keywords of `Axes.plot`."""
    styles = {}
    for i, name in enumerate(names):
        width, dashes = STROKES[i % len(STROKES)]
        styles[name] = {"linewidth": width, "linestyle": dashes}
    return styles


def plain(text: str) -> str:
    """The text, escaped so that matplotlib shows it unchanged: no formula between dollars, no hidden legend entry."""
    shown = text.replace("$", r"\$")
    return f" {shown}" if shown.startswith("_") else shown


def axis_label(comparison: Comparison, column: int) -> str:
    """A column's name, with the unit if all columns have the same short unit."""
    named = column < len(comparison.columns)
    name = comparison.columns[column] if named else f"x{column + 1}"
    unit = short_unit(comparison.units)
    return plain(f"{name} ({unit})" if unit else name)


def short_unit(units: str) -> str:
    """The unit without its explanation, as `minutes` for `minutes (eruption; waiting)`; empty if columns differ."""
    unit = re.split(r"(?<! x) \(|[;:]|, ", units)[0].strip()
    mixed = unit in ("none", "mixed", "various") or ":" in units
    return "" if mixed or len(unit) > LONGEST_UNIT else unit


def chosen(comparison: Comparison, methods: Sequence[str] | None) -> list[str]:
    """The methods that a plot shows: those chosen, in the order of the comparison, or all.

    Raises:
        InputError: a name is not in the comparison, or none is chosen.
    """
    if methods is None:
        return list(comparison)
    wanted = [methods] if isinstance(methods, str) else list(methods)
    unknown = [name for name in wanted if name not in comparison]
    if unknown or not wanted:
        raise InputError(f"methods: {typed(unknown)}: the comparison has {', '.join(comparison)}")
    return [name for name in comparison if name in wanted]


def legend_at(ax: "Axes", place: Place, columns: int = 3, *, title: str | None = None) -> None:
    """Put the legend where the caller of a plot wants it.

    Args:
        ax: the axes.
        place: "inside" the axes, where it covers least; "above" or to the "right" of them; or False for none.
        columns: most columns of a legend above the axes.
        title: the title of a legend outside; inside there is no room for one.

    Raises:
        InputError: the place is none of these.
    """
    if place not in (*get_args(Where), False):
        raise InputError(f"legend: unknown {place!r}; allowed: {', '.join(get_args(Where))}, False")
    handles, labels = ax.get_legend_handles_labels()
    if place is False or not handles:
        return
    if place == "above":
        legend_above(ax, columns, title=title)
        return
    look: dict[str, Any] = {"fontsize": "small", "alignment": "left", "handlelength": 2.6}
    if place == "right":
        look |= {"loc": "upper left", "bbox_to_anchor": (1.0, 1.0), "frameon": False}
        ax.legend(handles, labels, title=title, title_fontsize="small", **look)
    else:
        ax.legend(handles, labels, loc="best", framealpha=0.85, edgecolor="0.9", **look)


def legend_above(ax: "Axes", columns: int = 3, *, title: str | None = None) -> None:
    """Put the legend above the axes, where it covers nothing."""
    handles, labels = ax.get_legend_handles_labels()
    if not handles:
        return
    ax.legend(
        handles,
        labels,
        loc="lower left",
        bbox_to_anchor=(0.0, 1.0),
        ncols=min(columns, len(handles)),
        frameon=False,
        fontsize="small",
        title=title,
        title_fontsize="small",
        alignment="left",
        borderaxespad=0.3,
        handlelength=2.6,
        columnspacing=1.4,
    )


def side_by_side(axes: Any, shown: Collection[Item]) -> Iterable[tuple[Any, Item]]:
    """Axes, or rows of them, each with what is shown on it.

    Raises:
        InputError: their numbers differ.
    """
    if len(axes) != len(shown):
        raise InputError(f"axes: {len(shown)} are needed, got {len(axes)}; plt.subplots({len(shown)}) makes them")
    return zip(axes, shown, strict=True)


def tidy(ax: "Axes") -> None:
    """Show the left and the lower axis only."""
    ax.spines[["top", "right"]].set_visible(False)
