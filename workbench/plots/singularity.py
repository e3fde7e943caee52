"""Plots of singularities: the share of climbs that collapse, and the log-likelihood on the way there."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.ticker import NullFormatter

from workbench.plots.style import CYCLE, EDGE, colours, legend_above, plain, tidy
from workbench.studies import Findings

if TYPE_CHECKING:
    from matplotlib.axes import Axes

AXES = {"points": "points N", "dimensions": "dimensions D", "components": "components K", "separation": "separation"}
LETTERS = {"points": "N", "dimensions": "D", "components": "K", "separation": "separation"}

# Horizontal offset between curves, in steps of the axis, because they often agree.
APART = 0.06


def along(ax: "Axes", findings: Findings, axis: str, curves: Sequence[tuple[str, str]]) -> None:
    """The share of starts that collapse along one axis, with 95 % intervals; the other axes are fixed.

    The other axes are fixed where there are most rows. Dashed curves are the shares of starts that leave a component
    starved although no covariance is singular.

    Args:
        ax: to draw on.
        findings: of the study.
        axis: "points", "dimensions", "components" or "separation".
        curves: remedies and their methods.
    """
    line, fixed = _longest_line(findings, axis)
    shades = _shades(curves)
    ticks = line.values(axis)
    for i, (remedy, method) in enumerate(curves):
        found = line.where(remedy=remedy, method=method)
        share = found.column("share")
        reach = np.clip([share - found.column("low"), found.column("high") - share], 0, None)
        place = [ticks.index(value) for value in found.column(axis)]
        beside = np.asarray(place) + APART * (i - (len(curves) - 1) / 2)
        starved = found.column("starved") / found.column("starts")
        ax.plot(beside, starved, color=shades[remedy, method], linestyle=(0, (3, 2)), linewidth=1.0)
        ax.errorbar(
            beside, share, reach,
            color=shades[remedy, method], marker="o", markersize=4, linewidth=1.3, elinewidth=0.9, capsize=2,
            label=plain(_name(remedy, method, curves)),
        )  # fmt: skip
    ax.set_xticks(range(len(ticks)), [f"{tick:g}" for tick in ticks])
    ax.set_ylim(-0.03, 1.03)
    others = ", ".join(f"{LETTERS[name]} = {value:g}" for name, value in fixed.items())
    ax.set_xlabel(f"{AXES[axis]}   ({others})")
    tidy(ax)


def share_map(ax: "Axes", findings: Findings, remedy: str, method: str) -> None:
    """The share of starts that collapse over sample size and separation; each cell shows it in per cent."""
    cells = findings.where(remedy=remedy, method=method)
    _, fixed = _longest_line(cells, "separation")
    cells = cells.where(dimensions=fixed["dimensions"], components=fixed["components"])
    rows, columns = sorted(cells.values("points")), sorted(cells.values("separation"))
    shares = np.full((len(rows), len(columns)), np.nan)
    for row in cells.rows:
        shares[rows.index(row["points"]), columns.index(row["separation"])] = row["share"]
    ax.imshow(shares, cmap="Blues", vmin=0, vmax=1, origin="lower", aspect="auto")
    for (i, j), share in np.ndenumerate(shares):
        if np.isfinite(share):
            ax.text(j, i, f"{100 * share:.0f}", ha="center", va="center", color="white" if share > 0.6 else "black")
    ax.set_xticks(range(len(columns)), [f"{value:g}" for value in columns])
    ax.set_yticks(range(len(rows)), [f"{value:g}" for value in rows])
    ax.set_xlabel("separation")
    ax.set_title(plain(f"{remedy.replace('_', ' ')}: {method}"), fontsize="medium")


def _longest_line(findings: Findings, axis: str) -> tuple[Findings, dict[str, Any]]:
    """The rows along an axis, in order, where it has most values, and the values of the other axes there."""
    others = [name for name in AXES if name != axis]
    places = list(dict.fromkeys(tuple(row[name] for name in others) for row in findings.rows))
    lines = [(findings.where(**dict(zip(others, place, strict=True))), place) for place in places]
    # On a tie, the line with most rows that share one of its other coordinates is chosen.
    line, place = max(lines, key=lambda found: (len(found[0].values(axis)), _crossings(findings, others, found[1])))
    ordered = sorted(line.rows, key=lambda row: float(row[axis]))  # type: ignore[arg-type]
    return Findings(findings.study, ordered, findings.dtype), dict(zip(others, place, strict=True))


def _crossings(findings: Findings, names: list[str], place: tuple[Any, ...]) -> int:
    """The number of rows that share a coordinate of a place, summed over the coordinates."""
    return sum(sum(row[name] == value for row in findings.rows) for name, value in zip(names, place, strict=True))


def _shades(curves: Sequence[tuple[str, str]]) -> dict[tuple[str, str], str]:
    """The colours of the methods if all have the same remedy, else a colour for each remedy."""
    if len({remedy for remedy, _ in curves}) == 1:
        own = colours(method for _, method in curves)
        return {curve: own[curve[1]] for curve in curves}
    return dict(zip(curves, CYCLE, strict=False))


def _name(remedy: str, method: str, curves: Sequence[tuple[str, str]]) -> str:
    return method if len({each for each, _ in curves}) == 1 else remedy.replace("_", " ")


def slopes(ax: "Axes", findings: Findings) -> None:
    """Imposed escapes from the place where the fit begins: dashed with fixed other components, solid with settled ones.

    Dotted lines have the slope of the theory.
    """
    for colour, subject in zip(CYCLE, findings.values("subject"), strict=False):
        for way, dashes in (("held", (0, (4, 2))), ("settled", "solid")):
            curve = findings.where(subject=subject, way=way)
            log_sigma, height = curve.column("log_sigma"), curve.column("log_likelihood")
            begin, theory = len(height) // 2, float(curve.column("theory")[0])
            label = plain(f"{subject}: {theory:.0f}") if way == "settled" else None
            ax.plot(
                np.exp(log_sigma), height - height[begin], color=colour, linestyle=dashes, linewidth=1.6, label=label
            )
            line = theory * (log_sigma[begin:] - log_sigma[begin])
            ax.plot(np.exp(log_sigma[begin:]), line, color=EDGE, linestyle=(0, (1, 2)), linewidth=1.2, zorder=3)
    _width_axis(ax, "width sigma of the component (data have unit spread)")
    ax.set_ylabel("log-likelihood, nats above where the fit begins")
    legend_above(ax, columns=2, title="shrinks onto: slope in theory (dotted); dashes: all else held fixed")
    tidy(ax)


def steps_of_em(ax: "Axes", findings: Findings) -> None:
    """EM's own collapses: every step from a random start to the last mixture that is not singular."""
    for colour, subject in zip(CYCLE, findings.values("subject"), strict=False):
        curve = findings.where(subject=subject, way="em")
        if curve.rows:
            label = plain(f"{subject.split(',')[0]}, {len(curve.rows) - 1} steps")
            height = curve.column("log_likelihood")
            ax.plot(
                np.exp(curve.column("log_sigma")), height - height[0], "o-", markersize=3, linewidth=1.0,
                color=colour, label=label,
            )  # fmt: skip
    _width_axis(ax, "width sigma of the narrowest direction (data have unit spread)")
    ax.set_ylabel("log-likelihood, nats above the start")
    legend_above(ax, columns=2, title="EM from a random start until a covariance is singular")
    tidy(ax)


def _width_axis(ax: "Axes", label: str) -> None:
    """Make the axis logarithmic and falling to the right, with labels at powers of ten only."""
    ax.set_xscale("log")
    ax.xaxis.set_minor_formatter(NullFormatter())
    ax.invert_xaxis()
    ax.set_xlabel(label)
