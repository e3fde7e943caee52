"""Figures of any size: a legend in as many columns as fit, labels and ticks that do not overprint, and what fails."""

import warnings
from collections.abc import Iterator, Sequence
from itertools import chain, combinations, pairwise
from typing import Any, TypeAlias

import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.text import Text
from matplotlib.ticker import MaxNLocator
from matplotlib.transforms import Bbox

from workbench.errors import InputError
from workbench.plots.style import Place

# The shortest side of axes that still show something, in inches, and the most of them that a legend inside covers.
SHORTEST, MOST_COVERED = 0.35, 0.5

# Entries of a legend side by side, and its margins on both sides together, in inches.
MOST_ABREAST, MARGINS = 6, 0.12

# Pixels between texts side by side that are told apart, and by which a text may lie outside the figure or over another.
GAP, SLACK = 3.0, 1.5

# Points of a label where room is scarce, and its most lines.
SMALL, MOST_LINES = 8.0, 3

# Each round wraps each label and thins the ticks of each axis once.
ROUNDS = 8

Entries: TypeAlias = list[tuple[Any, str]]  # handles and labels


def legend_above(made: Figure, groups: Sequence[Entries], title: str | None = None) -> None:
    """A legend above all axes, in as many columns as the width has room for; each group begins a line."""
    marks = all(getattr(handle, "get_linestyle", str)() == "None" for handle, _ in chain(*groups))
    room = (made.get_size_inches()[0] - MARGINS) * made.dpi
    for columns in range(min(max(map(len, groups)), MOST_ABREAST), 0, -1):
        entries = _in_lines(groups, columns)
        legend = made.legend(
            *zip(*entries, strict=True), loc="outside upper left", ncols=columns, fontsize="small", frameon=False,
            title=title, title_fontsize="small", alignment="left", columnspacing=0.9, handletextpad=0.4,
            handlelength=1.0 if marks else 1.8,
        )  # fmt: skip
        if columns == 1 or legend.get_window_extent().width <= room:
            return
        legend.remove()


def legend_of_panels(made: Figure, ax: Any, place: Place, title: str | None = None) -> None:
    """A legend of all panels at the edge of the figure; inside there is room in none of several."""
    handles, labels = ax.get_legend_handles_labels()
    if place is False or len(handles) < 2:
        return
    if place not in ("above", "right", "inside"):
        raise InputError(f"legend: unknown {place!r}; allowed: inside, above, right, False")
    if place == "inside":
        ax.legend(
            handles, labels, fontsize="small", title=title, title_fontsize="small", framealpha=0.85, edgecolor="0.9"
        )
        return
    if place == "above":
        legend_above(made, [list(zip(handles, labels, strict=True))], title)
        return
    look: dict[str, Any] = {"fontsize": "small", "title_fontsize": "small", "frameon": False}
    made.legend(handles, labels, loc="outside right upper", title=title, **look)


def settle(made: Figure) -> str | None:
    """Wrap labels and thin ticks until they fit.

    Returns:
        What does not fit all the same, in words; None if everything does.
    """
    for _ in range(ROUNDS):
        if not _is_laid_out(made):
            return "leaves no room for the axes"
        # A sum, because every axis has its turn in every round.
        if not sum(_adjust(axis) for ax in _shown(made) for axis in (ax.xaxis, ax.yaxis)):
            break
    return next(_faults(made), None)


def _in_lines(groups: Sequence[Entries], columns: int) -> Entries:
    """The entries in the order of a legend, which fills column by column, so that they are read line by line."""
    blank = (Line2D([], [], linestyle="none"), " ")
    full = [group + [blank] * (-len(group) % columns) for group in groups[:-1]]
    lines = list(chain(*full, groups[-1]))
    return list(chain(*(lines[first::columns] for first in range(columns))))


def _is_laid_out(made: Figure) -> bool:
    """Lay the figure out; False if texts leave no room for the axes, of which matplotlib warns."""
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        made.draw_without_rendering()
    return not any("collapsed to zero" in str(each.message) for each in said)


def _shown(made: Figure) -> list[Axes]:
    return [ax for ax in made.axes if ax.axison]


def _adjust(axis: Axis) -> bool:
    """Make the label of an axis shorter and its ticks fewer, by one step each; whether there was one to take."""
    along = 0 if axis is axis.axes.xaxis else 1
    changed = False
    if _span(axis.label.get_window_extent(), along) > _span(axis.axes.get_window_extent(), along):
        changed = _shorten(axis.label)
    locator = axis.get_major_locator()
    count = len(_tick_boxes(axis))
    if count > 1 and isinstance(locator, MaxNLocator) and _overprint(axis):
        locator.set_params(nbins=max(min(count - 2, 6), 1), min_n_ticks=1)
        changed = True
    return changed


def _shorten(label: Text) -> bool:
    """Break the longest line of a label in the middle, print the label smaller, or break it once more."""
    lines = label.get_text().split("\n")
    if len(lines) > 1 and float(label.get_fontsize()) > SMALL:
        label.set_fontsize(SMALL)
        return True
    longest = max(range(len(lines)), key=lambda line: len(lines[line]))
    text = lines[longest]
    places = [place for place, letter in enumerate(text) if letter == " "]
    if not places or len(lines) >= MOST_LINES:
        return False
    place = min(places, key=lambda place: max(place, len(text) - place))
    lines[longest : longest + 1] = text[:place], text[place + 1 :]
    label.set_text("\n".join(lines))
    return True


def _tick_boxes(axis: Axis) -> list[Bbox]:
    """Where the tick labels lie that can be seen."""
    low, high = sorted(axis.get_view_interval())
    some = 1e-9 * (high - low)
    both = zip(axis.get_majorticklocs(), axis.get_majorticklabels(), strict=False)
    seen = [text for place, text in both if low - some <= place <= high + some]
    return [text.get_window_extent() for text in seen if text.get_visible() and text.get_text()]


def _overprint(axis: Axis) -> bool:
    """Whether tick labels of an axis run into each other."""
    along = 0 if axis is axis.axes.xaxis else 1
    ends = sorted((box.min[along], box.max[along]) for box in _tick_boxes(axis))
    gap = GAP if along == 0 else 0.0
    return any(one[1] + gap > other[0] for one, other in pairwise(ends))


def _faults(made: Figure) -> Iterator[str]:
    """What of a figure that is laid out does not fit."""
    texts = [text for text in made.texts if text.get_text()]
    legends = list(made.legends)
    for ax in _shown(made):
        box = ax.get_window_extent()
        # A colour bar, which has no place in the grid, may be narrow.
        if ax.get_subplotspec() is not None and min(box.width, box.height) < SHORTEST * made.dpi:
            yield "leaves no room for the axes"
        if _overprint(ax.xaxis) or _overprint(ax.yaxis):
            yield "makes tick labels overprint"
        texts += [ax.xaxis.label, ax.yaxis.label, *(each for each in ax.get_children() if isinstance(each, Text))]
        legend = ax.get_legend()
        if legend is not None:
            legends.append(legend)
            covered = Bbox.intersection(legend.get_window_extent(), box)
            if covered is not None and covered.width * covered.height > MOST_COVERED * box.width * box.height:
                yield "has no room for the legend"
    if any(_is_cut(legend.get_window_extent(), made) for legend in legends):
        yield "cuts the legend"
    boxes = [text.get_window_extent() for text in texts if text.get_visible() and text.get_text()]
    if any(_is_cut(box, made) for box in boxes):
        yield "cuts labels"
    outside = [legend.get_window_extent() for legend in made.legends]
    if any(_cross(one, other) for one, other in combinations(boxes + outside, 2)):
        yield "makes labels overprint"


def _is_cut(box: Bbox, made: Figure) -> bool:
    inside = made.bbox.padded(SLACK)
    return bool(np.any(box.min < inside.min) or np.any(box.max > inside.max))


def _cross(one: Bbox, other: Bbox) -> bool:
    return bool(np.all(np.minimum(one.max, other.max) - np.maximum(one.min, other.min) > (-GAP, SLACK)))


def _span(box: Bbox, along: int) -> float:
    return float(box.max[along] - box.min[along])
