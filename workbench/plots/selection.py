"""Plots of criteria over the number of components, and of the results of a sweep against a swept number."""

from collections.abc import Sequence
from textwrap import fill
from typing import TYPE_CHECKING, Any

import numpy as np

from workbench.errors import cut
from workbench.jobs.sweep import Swept
from workbench.plots.style import CYCLE, EDGE, colours, plain, strokes, tidy
from workbench.selection import CRITERIA, FamilySelection, Score, Selection

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# The axis is linear up to this many nats below the best, and logarithmic beyond, where no K is competitive.
LINEAR = 10.0

# The most characters of a reason for missing values, and of its lines.
REASON, WRAPPED = 120, 32

# The most numbers below an axis of K.
MOST_NUMBERS = 8

BLUE, RED = CYCLE[:2]


def criterion(ax: "Axes", selection: Selection, name: str) -> None:
    """One criterion: nats below its best K, with the standard error of the difference, and a mark at the best."""
    found = {choice.components: selection.difference(name, choice.components) for choice in selection.choices}
    known = {k: difference for k, difference in found.items() if difference is not None}
    best = selection.best(name)
    ax.axhline(0, color=EDGE, linewidth=0.8, zorder=0)
    if best is not None:
        below = np.asarray([difference.below for difference in known.values()])
        errors = np.asarray([difference.standard_error or 0.0 for difference in known.values()])
        ax.errorbar(
            list(known), below, errors, color=BLUE, linewidth=1.2, marker="o", markersize=4, elinewidth=1.0, capsize=2
        )
        _mark(ax, best, chosen=selection.chosen(name) is not None)
        low, high = float(np.max(below + errors)), float(np.min(below - errors))
        _rejected(ax, selection, name, best, (low, high))
    else:
        low, high = 1.0, 0.0
        _say_why(ax, [choice.scores[name] for choice in selection.choices])
    _scale(ax, max(low, 1.0), min(high, 0.0))
    _components(ax, list(found))
    chosen = "no choice" if selection.chosen(name) is None else f"K = {best}"
    ax.set_title(f"{CRITERIA[name].heading.removesuffix(' / -2')}: {chosen}", fontsize="medium")
    tidy(ax)


def _mark(ax: "Axes", best: int, *, chosen: bool) -> None:
    """A mark at the best K: full if it is chosen, a ring if it is the highest of those that could be judged."""
    face = RED if chosen else "white"
    ax.plot([best], [0], "o", markerfacecolor=face, markeredgecolor=RED, markersize=8, zorder=3, clip_on=False)


def _say_why(ax: "Axes", scores: Sequence[Score]) -> None:
    """In place of a curve: why there are fewer than two values, if it is the same for all of them."""
    reasons = {str(score.why) for score in scores if score.value is None}
    why = f":\n{fill(cut(reasons.pop(), REASON), WRAPPED)}" if len(reasons) == 1 else ""
    style: dict[str, Any] = {"ha": "center", "va": "center", "color": EDGE, "fontsize": "small"}
    ax.text(0.5, 0.5, plain(f"fewer than two values{why}"), transform=ax.transAxes, **style)


def _rejected(ax: "Axes", selection: Selection, name: str, best: int, span: tuple[float, float]) -> None:
    """Hollow marks for values that are not eligible, moved to the edge of the shown range."""
    top = selection[best].scores[name].value
    assert top is not None
    marks = {c.components: top - r for c in selection.choices if (r := c.scores[name].rejected) is not None}
    # Beyond the range of the eligible values, a mark would determine the scale.
    places = [min(max(below, span[1]), max(span[0], 1.0)) for below in marks.values()]
    ax.plot(list(marks), places, "o", markerfacecolor="white", markeredgecolor=EDGE, markersize=6, linestyle="none")


def families(ax: "Axes", grid: FamilySelection, name: str) -> None:
    """One criterion over K, with a line for each covariance family: nats below the best model, and a mark at it.

    A model that is not eligible has a hollow mark at the lower edge, and is not on a line.
    """
    best = grid.best(name)
    found = {cell: grid.difference(name, cell) for cell in grid.scores(name)}
    asked = sorted({cell.components for cell in found})
    low = max([1.0, *(difference.below for difference in found.values() if difference is not None)])
    ax.axhline(0, color=EDGE, linewidth=0.8, zorder=0)
    for colour, (family, stroke) in zip(CYCLE, strokes(grid.families).items(), strict=False):
        known = {cell.components: d.below for cell, d in found.items() if cell.covariance == family and d is not None}
        below = [known.get(k, np.nan) for k in asked]
        ax.plot(asked, below, color=colour, marker="o", markersize=3.5, label=family, **{**stroke, "linewidth": 1.4})
        scores = {cell.components: score for cell, score in grid.scores(name).items() if cell.covariance == family}
        out = [k for k, score in scores.items() if score.rejected is not None]
        ax.plot(out, [low] * len(out), "o", markerfacecolor="white", markeredgecolor=colour, markersize=6)
    if best is None:
        _say_why(ax, list(grid.scores(name).values()))
    else:
        _mark(ax, best.components, chosen=grid.chosen(name) is not None)
    _scale(ax, low, 0.0)
    _components(ax, asked)
    ax.set_title(
        f"{CRITERIA[name].heading.removesuffix(' / -2')}: {grid.chosen(name) or 'no choice'}", fontsize="medium"
    )
    tidy(ax)


def _components(ax: "Axes", asked: Sequence[int]) -> None:
    """A tick for each K, with numbers below those that are far enough apart to be read."""
    apart = (max(asked) - min(asked)) / MOST_NUMBERS
    numbered: list[int] = []
    for k in sorted(asked):
        if not numbered or k - numbered[-1] >= apart:
            numbered.append(k)
    ax.set_xticks(numbered)
    ax.set_xticks([k for k in asked if k not in numbered], minor=True)
    ax.set_xlim(min(asked) - 0.5, max(asked) + 0.5)


def _scale(ax: "Axes", low: float, high: float) -> None:
    """Invert the axis so that up is better, with plain numbers; a line shows where it begins to be logarithmic."""
    ax.set_yscale("symlog", linthresh=LINEAR, linscale=1.0)
    if 1.15 * low > LINEAR:
        ax.axhline(LINEAR, color="0.75", linewidth=0.6, linestyle=":", zorder=0)
        where = ax.get_yaxis_transform()
        ax.text(
            0.99, LINEAR, "logarithmic below", transform=where, color="0.45", fontsize="xx-small", ha="right", va="top"
        )
    ax.set_ylim(1.15 * low, 1.15 * high - 0.06 * min(low, LINEAR))
    steps = (0.1, 0.2, 0.5, 1, 2, 5)
    step = next(step for step in steps if min(low, LINEAR) <= 5 * step or step == steps[-1])
    linear = np.arange(0, min(low, LINEAR) + step / 2, step)
    far = [m * 10.0**power for power in range(1, 7) for m in (1, 2, 5) if LINEAR < m * 10.0**power <= 1.15 * low]
    above = [tick for tick in -linear[1:] if tick >= high]
    ticks = [*above, *linear, *far]
    ax.set_yticks(ticks, [format(tick, "g") for tick in ticks])
    ax.yaxis.minorticks_off()


# Columns of results, which are not swept.
FOUND = ("method", "state", "status", "log_joint", "passes", "step_seconds")


def swept_columns(found: Swept) -> list[str]:
    """The settings that were swept."""
    return [name for name in found.columns if name not in FOUND and not name.startswith("restarts_")]


def axis_of(found: Swept) -> str | None:
    """The swept number for the axis: the first that is not a seed, else the seed; None if none is a number."""
    numbers = [
        name
        for name in swept_columns(found)
        if all(isinstance(row.get(name), int | float) and not isinstance(row.get(name), bool) for row in found.rows)
    ]
    return next((name for name in numbers if name != "seed"), numbers[0] if numbers else None)


def along(ax: "Axes", found: Swept, x: str, y: str, label: str) -> None:
    """Cells as marks and medians at each value as lines, with a colour and a stroke for each method."""
    methods = list(dict.fromkeys(str(row["method"]) for row in found.rows if row.get("method") is not None))
    shades, lines = colours(methods), strokes(methods)
    for method, colour in shades.items():
        pairs = [(row[x], row[y]) for row in found.rows if row.get("method") == method and row.get(y) is not None]
        if pairs:
            places, values = np.asarray(pairs, float).T
            ax.plot(places, values, ".", color=colour, alpha=0.35, markersize=5)
            unique = np.unique(places)
            medians = [float(np.median(values[places == place])) for place in unique]
            ax.plot(unique, medians, color=colour, label=method, **lines[method])
    ax.set_xlabel(x.replace("_", " "))
    ax.set_ylabel(label)
    if ax.lines:
        ax.legend(frameon=False, fontsize="small")
    tidy(ax)
