"""Plots of optima: an atlas's ends, basins and optima, the likelihood surface, and climbs that miss a group."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from workbench.compare import Comparison
from workbench.compare.optima import WITHIN
from workbench.geometry.atlas import Atlas, Basin
from workbench.geometry.stationary import Kind
from workbench.geometry.surface import Surface
from workbench.plots.estimates import Estimate, Gaussians
from workbench.plots.fit import draw_contours, draw_densities
from workbench.plots.score import ABOVE, scale_gaps
from workbench.plots.style import CYCLE, EDGE, axis_label, colours, legend_above, plain, short_unit, strokes, tidy
from workbench.studies import Findings

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Colour and marker of each kind of end.
KINDS: dict[Kind, tuple[str, str]] = {
    Kind.MAXIMUM: ("#0072B2", "o"),
    Kind.SADDLE: ("#CC79A7", "D"),
    Kind.PLATEAU: ("#E69F00", "s"),
    Kind.DEGENERATE: ("#D55E00", "x"),
    Kind.UNFINISHED: ("0.55", "."),
}

# Optima to which at least this share of the starts lead are named.
NAMED = 0.03

# Colours of optima in bars, blue for the best. All others are grey.
OPTIMA = CYCLE[:6]
REST, LOST = "0.8", "0.45"


def ends(ax: "Axes", atlas: Atlas) -> None:
    """Nats below the best maximum of the end of every start, best first, marked by kind; large basins are named."""
    best = atlas.best
    level = max((basin.log_joint for basin in atlas.optima), default=0.0) if best is None else best.log_joint
    with np.errstate(invalid="ignore"):
        gaps = level - atlas.log_joint
    order = [int(r) for r in np.argsort(gaps, kind="stable") if np.isfinite(gaps[r])]
    heights = np.asarray([ABOVE if gaps[r] < -WITHIN else max(gaps[r], 0.0) for r in order])
    kinds = np.asarray([atlas.kinds[r] for r in order])
    for kind, (colour, marker) in KINDS.items():
        here = np.flatnonzero(kinds == kind)
        if len(here):
            label = f"{kind.value} ({len(here):,} starts)"
            ax.plot(here + 0.5, heights[here], marker, color=colour, markersize=4, label=label, rasterized=True)
    scale_gaps(ax, [float(gap) for gap in gaps[order]])
    place = atlas.place[order]
    for number, basin in enumerate(atlas.optima):
        if basin.share.share >= NAMED:
            at = np.flatnonzero(place == number)
            text = f"{basin.log_joint:.3f}: {100 * basin.share.share:.0f} %"
            # The label of one of the last starts extends to the left, to stay within the axes.
            last = np.mean(at) > 0.8 * len(order)
            middle = len(order) if last else np.mean(at)
            ax.annotate(
                text, (middle, np.median(heights[at])), (0, 7), textcoords="offset points",
                ha="right" if last else "center", fontsize="small", color=KINDS[basin.kind][0],
            )  # fmt: skip
    ax.set_xlim(0, max(len(order), 1))
    ax.set_xlabel(f"starts of {plain(atlas.method)} from {plain(atlas.rule)}, best end first")
    what = "best end; none is a sound maximum" if best is None else "best sound maximum"
    ax.set_ylabel(f"nats below the {what}\n({level:.3f})")
    legend_above(ax, 3)
    tidy(ax)


def shares(ax: "Axes", atlases: Sequence[Atlas], numbers: Sequence[Sequence[int]]) -> None:
    """The share of starts that lead to each optimum, with a bar for each atlas and a colour for each optimum.

    Args:
        ax: to draw on.
        atlases: of one problem.
        numbers: a number for each optimum of each atlas; equal optima have equal numbers.
    """
    named = _named(atlases, numbers)
    colours = {number: OPTIMA[i] for i, number in enumerate(named)}
    explained: set[str] = set()
    for row, (atlas, own) in enumerate(zip(atlases, numbers, strict=True)):
        left = 0.0
        parts: dict[str, tuple[float, str]] = {}
        for number, basin in named.items():
            share = sum(b.share.share for b, n in zip(atlas.optima, own, strict=True) if n == number)
            parts[f"{basin.log_joint:.3f} {basin.kind.value}"] = share, colours[number]
        rest = sum(b.share.share for b, n in zip(atlas.optima, own, strict=True) if n not in named)
        parts["other optima"] = rest, REST
        parts["no optimum reached"] = sum(share.share for share in atlas.others.values()), LOST
        for label, (share, colour) in parts.items():
            shown = label if share > 0 and label not in explained else None
            explained |= {label} if share > 0 else set()
            ax.barh(row, 100 * share, left=left, color=colour, height=0.7, edgecolor="white", label=shown)
            if share >= NAMED:
                dark = colour in ("#0072B2", "#D55E00", "#009E73", LOST)
                ax.text(left + 50 * share, row, f"{100 * share:.0f}", ha="center", va="center", fontsize="small",
                        color="white" if dark else "black")  # fmt: skip
            left += 100 * share
    ax.set_yticks(range(len(atlases)), [f"{plain(a.method)}\n{plain(a.rule)}" for a in atlases], fontsize="small")
    ax.invert_yaxis()
    ax.set_xlim(0, 100)
    ax.set_xlabel("share of starts (%)")
    legend_above(ax, 3, title="log-joint and kind of the optimum reached")
    tidy(ax)


def optimum(ax: "Axes", comparison: Comparison, basin: Basin, found: Sequence[float]) -> None:
    """The components of one optimum on the data: densities for one column, ellipses in the first two of several.

    Args:
        ax: to draw on.
        comparison: holds the data.
        basin: of the optimum.
        found: the share of starts that lead to it in each atlas.
    """
    colour = KINDS[basin.kind][0]
    estimate = Estimate("", Gaussians.of(basin.mixture), colour, {"linewidth": 1.6})
    if comparison.problem.num_dimensions == 1:
        draw_densities(ax, comparison, [estimate], 0)
        ax.set_yticks([])
        ax.set_xlabel(axis_label(comparison, 0), fontsize="small")
    else:
        draw_contours(ax, comparison, [estimate], (0, 1))
        ax.set_xlabel(axis_label(comparison, 0), fontsize="small")
        ax.set_ylabel(axis_label(comparison, 1), fontsize="small")
    low, high = 100 * min(found), 100 * max(found)
    share = f"{low:.1f} %" if len(found) == 1 else f"{low:.1f} to {high:.1f} %"
    ax.set_title(f"{basin.log_joint:.3f}, {basin.kind.value}\n{share} of starts", fontsize="small", color=EDGE)
    ax.tick_params(labelsize="small")
    tidy(ax)


def _named(atlases: Sequence[Atlas], numbers: Sequence[Sequence[int]]) -> dict[int, Basin]:
    """The optima to which at least the share `NAMED` of some atlas leads, best first; at most one for each colour."""
    pairs = [
        (n, b) for atlas, own in zip(atlases, numbers, strict=True) for n, b in zip(own, atlas.optima, strict=True)
    ]
    large = {n: b for n, b in sorted(pairs, key=lambda pair: pair[1].share.share) if b.share.share >= NAMED}
    chosen = sorted(large, key=lambda n: -large[n].share.share)[: len(OPTIMA)]
    return {n: large[n] for n in sorted(chosen)}


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


# Dashes and marks by position of the start rule. The first rule fails most, and is drawn strongest.
RULES = (("solid", "o", "full"), ((0, (4, 2)), "s", "none"), ((0, (1, 1.5)), "^", "none"))

# Horizontal offset between methods, in groups, because their curves agree and would hide each other.
APART = 0.12


def failures(ax: "Axes", findings: Findings) -> None:
    """The share of failed climbs against the number of groups, with 95 % intervals.

    The dotted line is the probability that K random points leave a group without a point.
    """
    methods, rules = findings.values("method"), findings.values("rule")
    shades = colours(methods)
    for i, method in enumerate(methods):
        for rule, (dashes, mark, filling) in zip(rules, RULES, strict=False):
            found = findings.where(method=method, rule=rule)
            k, share = found.column("components"), found.column("failure_share")
            reach = np.clip([share - found.column("low"), found.column("high") - share], 0, None)
            ax.errorbar(
                k + APART * (i - (len(methods) - 1) / 2), share, reach,
                color=shades[method], linestyle=dashes, linewidth=1.6, marker=mark, markersize=4.5, fillstyle=filling,
                elinewidth=0.9, capsize=2, label=plain(f"{method}, {rule}"),
            )  # fmt: skip
    one = findings.where(method=methods[0], rule=rules[0])
    chance = one.column("components"), one.column("chance_of_a_miss")
    ax.plot(*chance, color=EDGE, linewidth=1.1, linestyle=(0, (1, 2)), label="chance that random points miss a group")
    ax.set_ylim(-0.03, 1.03)
    ax.set_xticks(findings.values("components"))
    ax.set_xlabel("groups K, neighbours on a ring")
    ax.set_ylabel("share of starts that fail")
    legend_above(ax, columns=2)
    tidy(ax)
