"""Plots of parameters: traces, ranks and marginals of a sampler's draws, and estimates of all methods as a forest.

Draws are relabelled, so that component k is the same in every draw; the log-joint does not depend on labels.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from workbench.compare import Comparison
from workbench.compare.estimates import LEVEL, Estimate, estimates_of
from workbench.data.names import column_positions
from workbench.errors import InputError, checks_arguments
from workbench.mixture import Mixture
from workbench.plots.style import (
    EDGE,
    Palette,
    Place,
    axis_label,
    colours,
    legend_at,
    palette_of,
    plain,
    side_by_side,
    tidy,
)
from workbench.posterior.switching import relabel

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Columns of which the means are shown unless others are asked for; a forest, whose panels are low, has room for more.
COLUMNS_SHOWN, COLUMNS_IN_FOREST = 3, 8

# Draws of a chain that a line shows, spread evenly.
DRAWS_SHOWN = 1000

# Bins of ranks, and the share of uniform counts that lies within the band.
RANK_BINS, WITHIN = 20, 0.95

# Bins of a marginal, and the share of the draws that it spans: a component that empties has draws from the prior.
MOST_BINS, SPANNED = 60, 0.99


class Panel(NamedTuple):
    """Draws of one kind of parameter, of each component or of the mixture."""

    title: str
    draws: NDArray[np.float64]  # [R, S, Q]
    names: tuple[str, ...]  # Q


@checks_arguments
def panels_of(
    comparison: Comparison, method: str | None = None, columns: Sequence[str] | None = None, *, log_joint: bool = True
) -> list[Panel]:
    """The log-joint, the weights, and the means in each column, of a sampler's relabelled draws.

    Args:
        comparison: the results.
        method: the sampler; by default the first of the comparison.
        columns: names of columns; by default the first three.
        log_joint: whether the log-joint comes first.

    Raises:
        InputError: the method is no sampler, or a column is unknown.
    """
    samplers = [name for name, trace in comparison.items() if trace.is_sampler]
    if method is None and not samplers:
        raise InputError("trace, rank and marginals: no method of the comparison samples; add one, as [methods.nuts]")
    name = samplers[0] if method is None else method
    if name not in samplers:
        raise InputError(f"method: {name!r} is no sampler of the comparison; it has {', '.join(samplers) or 'none'}")
    trace, problem = comparison[name], comparison.problem
    draws: Mixture = jax.tree.map(jnp.asarray, relabel(trace, problem).mixtures)
    # Components are numbered as in all tables: by their mean draws, in the order of the first column.
    order = np.lexsort(np.mean(np.asarray(draws.means), axis=(0, 1)).T[::-1])
    order = np.arange(problem.components) if problem.is_partly_known else order
    weights, means = np.asarray(draws.weights)[..., order], np.asarray(draws.means)[..., order, :]
    names = tuple(f"component {k + 1}" for k in range(problem.components))
    first = [Panel("log-joint", np.asarray(trace.log_joint)[:, -trace.draws :, None], ("log-joint",))]
    panels = first if log_joint else []
    panels += [Panel("weight", weights, names)] if problem.components > 1 else []
    return panels + [
        Panel(f"mean of {axis_label(comparison, d)}", means[..., d], names) for d in _places(comparison, columns)
    ]


@checks_arguments
def trace(
    axes: "Sequence[Axes]", panels: Sequence[Panel], *, palette: Palette = None, legend: Place = "inside"
) -> None:
    """Draws along the chains, one panel on each of the axes; chains lie over each other.

    Args:
        axes: one for each panel.
        panels: those of `panels_of`.
        palette: colours of the components, or the name of a colour map.
        legend: where the legend of the last panel goes, or False for none.
    """
    for ax, panel in side_by_side(axes, panels):
        chains, draws, _ = panel.draws.shape
        shown = np.unique(np.linspace(0, draws - 1, min(draws, DRAWS_SHOWN)).astype(int))
        for q, colour in enumerate(_shades(panel, palette)):
            for r in range(chains):
                values = panel.draws[r, shown, q]
                ax.plot(shown + 1, values, color=colour, linewidth=0.6, alpha=0.75, rasterized=True)
            ax.plot([], [], color=colour, linewidth=1.5, label=plain(panel.names[q]))
        ax.set_ylabel(panel.title.replace("mean of ", "mean of\n"), fontsize="small")
        ax.set_xlim(1, draws)
        tidy(ax)
        _legend(ax, panel, legend, is_last=panel is panels[-1])
    axes[-1].set_xlabel(f"draw of each of {panels[0].draws.shape[0]} chains")


@checks_arguments
def ranks(
    axes: NDArray[np.object_], panels: Sequence[Panel], *, palette: Palette = None, legend: Place = "inside"
) -> None:
    """Rank plots (Vehtari et al. 2021, Bayesian Analysis 16): a histogram of the ranks of each chain's draws.

    Chains that agree have uniform ranks; the band holds 95 % of the counts of independent uniform ranks, and correlated
    draws leave it more often.

    Args:
        axes: [panels, most parameters of a panel]; axes that are left over are hidden.
        panels: those of `panels_of`.
        palette: colours of the chains, or the name of a colour map.
        legend: where the legend of the first panel goes, or False for none.
    """
    # Imported here because scipy.stats takes long to import.
    from scipy.stats import binom, rankdata

    for row, panel in side_by_side(axes, panels):
        chains, draws, parts = panel.draws.shape
        shades = palette_of(palette, chains)
        bins = min(RANK_BINS, draws)
        edges = np.linspace(0.5, chains * draws + 0.5, bins + 1)
        low, high = binom.interval(WITHIN, draws, 1 / bins)
        for q, ax in enumerate(row):
            if q >= parts:
                ax.set_axis_off()
                continue
            places = rankdata(panel.draws[..., q], axis=None).reshape(chains, draws)
            ax.axhspan(low, high, color="0.9", linewidth=0, zorder=0)
            for r in range(chains):
                counts, _ = np.histogram(places[r], edges)
                ax.stairs(counts, edges, color=shades[r], linewidth=1.1, label=f"chain {r + 1}")
            ax.set_xlim(edges[0], edges[-1])
            ax.set_ylim(bottom=0)
            if parts > 1:
                ax.set_title(panel.names[q], fontsize="small", loc="left")
            ax.tick_params(labelsize="small")
            ax.locator_params(axis="x", nbins=3)
            tidy(ax)
        row[0].set_ylabel(panel.title.replace("mean of ", "mean of\n"), fontsize="small")
    for ax in axes[-1]:
        ax.set_xlabel("rank among all chains", fontsize="small")
    legend_at(axes[0, 0], legend, 4)


@checks_arguments
def marginals(
    axes: "Sequence[Axes]", panels: Sequence[Panel], *, palette: Palette = None, legend: Place = "inside"
) -> None:
    """The posterior density of each parameter, a histogram of the middle 99 % of the draws of all chains.

    Args:
        axes: one for each panel.
        panels: those of `panels_of`.
        palette: colours of the components, or the name of a colour map.
        legend: where the legend of the last panel goes, or False for none.
    """
    for ax, panel in side_by_side(axes, panels):
        shades = _shades(panel, palette)
        for q, colour in enumerate(shades):
            values = panel.draws[..., q].ravel()
            low, high = np.quantile(values, [0.5 - SPANNED / 2, 0.5 + SPANNED / 2])
            values = values[(values >= low) & (values <= high)]
            edges = np.histogram_bin_edges(values, "auto")
            edges = edges if len(edges) <= MOST_BINS + 1 else np.linspace(edges[0], edges[-1], MOST_BINS + 1)
            heights, _ = np.histogram(values, edges, density=True)
            ax.stairs(heights, edges, color=colour, fill=True, alpha=0.3)
            ax.stairs(heights, edges, color=colour, linewidth=1.2, label=plain(panel.names[q]))
        ax.set_xlabel(panel.title)
        ax.set_ylim(bottom=0)
        ax.set_yticks([])
        tidy(ax)
        _legend(ax, panel, legend, is_last=panel is panels[-1])
    axes[0].set_ylabel("posterior density")


class Group(NamedTuple):
    """One kind of parameter in a forest: estimates of every method."""

    title: str
    rows: tuple[str, ...]
    found: dict[str, list[Estimate | None]]  # by method, one for each row


@checks_arguments
def groups_of(
    comparison: Comparison, methods: Sequence[str] | None = None, columns: Sequence[str] | None = None
) -> list[Group]:
    """Weights, means and standard deviations of every method, with their 95 % intervals, as `estimates_of` has them.

    Args:
        comparison: the results.
        methods: those that are shown; by default all.
        columns: names of columns; by default the first eight, and `left_out` names the others.
    """
    names = list(comparison) if methods is None else list(methods)
    everything = {name: estimates_of(comparison, name, LEVEL).rows for name in names}
    shown: list[tuple[str | None, str]] = [(None, "weight")] if comparison.problem.components > 1 else []
    known = _names(comparison)
    places = _places(comparison, columns, COLUMNS_IN_FOREST)
    for parameter in ("mean", "sd"):
        shown += [(known[d], parameter) for d in places]
    groups = []
    for column, parameter in shown:
        found: dict[str, dict[int | None, Estimate]] = {}
        for name, rows in everything.items():
            of = [row for row in rows if row.parameter == parameter and row.column in (column, None)]
            found[name] = {row.component: row for row in of}
        components = sorted({c for each in found.values() for c in each}, key=lambda c: c or 0)
        if components:
            title = {"weight": "weight", "mean": "mean of ", "sd": "sd of "}[parameter]
            title += "" if column is None else axis_label(comparison, known.index(column))
            lines = tuple("all" if c is None else str(c) for c in components)
            groups.append(Group(title, lines, {n: [each.get(c) for c in components] for n, each in found.items()}))
    return groups


@checks_arguments
def forest(
    axes: "Sequence[Axes]", groups: Sequence[Group], *, palette: Palette = None, legend: Place = "above"
) -> None:
    """Estimates of every method side by side, with 95 % intervals where they have them, a group on each of the axes.

    Args:
        axes: one for each group.
        groups: those of `groups_of`.
        palette: colours of the methods, or the name of a colour map; by default each method's own.
        legend: where the legend of the first axes goes, or False for none.
    """
    names = list(groups[0].found)
    shades = colours(names) if palette is None else dict(zip(names, palette_of(palette, len(names)), strict=True))
    apart = 0.6 / max(len(names), 1)
    for ax, group in side_by_side(axes, groups):
        rows = np.arange(len(group.rows))
        for i, name in enumerate(names):
            offset = (i - (len(names) - 1) / 2) * apart
            label: str | None = plain(name)
            for y, row in zip(rows + offset, group.found[name], strict=True):
                if row is None:
                    continue
                ax.plot([row.estimate], [y], "o", color=shades[name], markersize=4.5, label=label)
                label = None
                if row.low is not None and row.high is not None:
                    ax.plot([row.low, row.high], [y, y], color=shades[name], linewidth=1.5, solid_capstyle="butt")
            if label is not None:
                ax.plot([], [], "o", color=shades[name], markersize=4.5, label=f"{label}: no estimates")
        shown = [row for own in group.found.values() for row in own if row is not None]
        if ax is axes[0] and any(row.low is not None for row in shown):
            ax.plot([], [], color=EDGE, linewidth=1.5, label=f"{LEVEL:.0%} interval")
        ax.set_yticks(rows, group.rows)
        ax.set_ylim(len(rows) - 0.5, -0.5)
        ax.set_xlabel(group.title)
        spec = ax.get_subplotspec()
        if spec is None or spec.is_first_col():
            ax.set_ylabel("component")
        ax.locator_params(axis="x", nbins=4)
        ax.grid(axis="x", color="0.92", linewidth=0.6)
        ax.set_axisbelow(True)
        tidy(ax)
    legend_at(axes[0], legend, len(names) + 1)


@checks_arguments
def left_out(
    comparison: Comparison, columns: Sequence[str] | None = None, most: int = COLUMNS_SHOWN
) -> tuple[str, ...]:
    """The columns that figures of parameters leave out unasked: those after the first `most`."""
    return _names(comparison)[most:] if columns is None else ()


def _names(comparison: Comparison) -> tuple[str, ...]:
    return comparison.columns or tuple(f"x{d + 1}" for d in range(comparison.problem.num_dimensions))


def _places(comparison: Comparison, columns: Sequence[str] | None, most: int = COLUMNS_SHOWN) -> list[int]:
    if columns is None:
        return list(range(min(comparison.problem.num_dimensions, most)))
    return column_positions(columns, _names(comparison), "columns")


def _shades(panel: Panel, palette: Palette) -> list[str]:
    """A colour for each component, and grey for what is of the mixture."""
    return [EDGE] if len(panel.names) == 1 else palette_of(palette, len(panel.names))


def _legend(ax: "Axes", panel: Panel, place: Place, *, is_last: bool) -> None:
    if is_last and len(panel.names) > 1:
        legend_at(ax, place, 4)
