"""The figures of studies that have several panels."""

from collections.abc import Callable
from math import ceil
from typing import TYPE_CHECKING

from matplotlib.artist import Artist
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from workbench.plots import coordinates, coupling, rate, singularity, standard_errors
from workbench.plots.style import plain
from workbench.studies import Findings
from workbench.studies.base import Row
from workbench.studies.coordinates import OWN

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# The number of panels in a row.
ACROSS = 3


def rank_curves(findings: Findings) -> Figure:
    """Departures from uniform ranks, on equal axes and with one legend."""
    quantities = findings.values("quantity")
    down = ceil(len(quantities) / ACROSS)
    figure = Figure(figsize=(3.3 * ACROSS, 2.3 * down + 0.9), layout="constrained")
    axes = figure.subplots(down, ACROSS, sharex=True, sharey=True, squeeze=False).ravel()
    for ax, quantity in zip(axes, quantities, strict=False):
        standard_errors.ecdf_differences(ax, findings, quantity)
    for ax in axes[len(quantities) :]:
        ax.set_axis_off()
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper left", ncols=4, frameon=False, fontsize="small")
    figure.supxlabel("rank of the truth among the draws, as a share", fontsize="small")
    figure.supylabel("share of replications below it, less the share due", fontsize="small")
    return figure


def passes_by_chart(findings: Findings) -> Figure:
    """Passes to the best in every chart."""
    rows = len({row["chart"] if row["chart"] != OWN else row["method"] for row in findings.rows})
    return _panels(findings, coordinates.passes, 1.2 + 0.5 * rows, sharey=True)


def failures_by_chart(findings: Findings) -> Figure:
    """How climbs end in every chart."""
    rows = len(findings.where(subject=findings.values("subject")[0]).rows)
    return _panels(findings, coordinates.failures, 1.2 + 0.2 * rows, sharey=True)


def passes_by_step_size(findings: Findings) -> Figure:
    """Passes against the step size."""
    return _panels(findings, coordinates.steps, 4.8, sharey=False)


def _panels(findings: Findings, draw: Callable[["Axes", Findings], None], height: float, *, sharey: bool) -> Figure:
    subjects = findings.values("subject")
    figure = Figure(figsize=(1.6 + 4.8 * len(subjects), height), layout="constrained")
    axes = figure.subplots(1, len(subjects), sharey=sharey, squeeze=False)[0]
    for ax, subject in zip(axes, subjects, strict=True):
        draw(ax, findings.where(subject=subject))
        ax.set_title(plain(str(subject)), loc="left", fontsize="medium")
    # One legend for all panels replaces those of single panels.
    named = {label: handle for ax in axes for handle, label in zip(*ax.get_legend_handles_labels(), strict=True)}
    for ax in axes:
        ax.get_legend().remove()
    columns = 2 * len(subjects)
    figure.legend(
        list(named.values()), list(named), loc="outside upper left", ncols=columns, frameon=False, fontsize="small"
    )
    return figure


def coupled_blocks(findings: Findings) -> Figure:
    """Heat maps of one Gaussian, and of two components at the largest and at the smallest separation."""
    rows = _shown(findings)
    figure = Figure(figsize=(3.4 * max(len(rows), 1), 3.6), layout="constrained")
    axes = figure.subplots(1, max(len(rows), 1), squeeze=False)[0]
    image = None
    for ax, (title, row) in zip(axes, rows, strict=False):
        image = coupling.heat_map(ax, row)
        ax.set_title(title, fontsize="small")
    if image is not None:
        figure.colorbar(image, ax=list(axes), label="absolute correlation", shrink=0.8)
    return figure


def coupled_curves(findings: Findings) -> Figure:
    """The share between the equations, and the score that remains after one step, against separation."""
    figure = Figure(figsize=(9.8, 4.4), layout="constrained")
    left, right = figure.subplots(1, 2)
    coupling.shares(left, findings)
    coupling.left(right, findings)
    return figure


def rates(findings: Findings) -> Figure:
    """EM's rate and the passes of all methods against separation."""
    figure = Figure(figsize=(9.8, 4.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    rate.missing(left, findings)
    rate.passes(right, findings)
    return figure


def _shown(findings: Findings) -> list[tuple[str, Row]]:
    """Titles and rows of the heat maps; a study of subjects alone shows all of them."""
    maximal = findings.where(status="maximum", replication=0)
    simulated = [row for row in maximal.where(subject="simulated").rows if row["matrix"] is not None]
    if not simulated:
        return [
            (f"{row['subject']}, K = {row['components']}", row) for row in maximal.rows if row["matrix"] is not None
        ]
    one = [("K = 1", row) for row in simulated if row["components"] == 1]
    fewest = min((int(str(row["components"])) for row in simulated if row["components"] != 1), default=1)
    two = sorted(
        (row for row in simulated if row["components"] == fewest), key=lambda row: float(str(row["separation"]))
    )
    ends = [two[-1], two[0]] if len(two) > 1 else two
    return one[:1] + [(f"K = {fewest}, separation {row['separation']:g}", row) for row in ends if fewest > 1]


def escapes(findings: Findings) -> Figure:
    """Constructed escapes, and those that EM finds by itself."""
    figure = Figure(figsize=(11.0, 5.2), layout="constrained")
    left, right = figure.subplots(1, 2)
    singularity.slopes(left, findings)
    singularity.steps_of_em(right, findings)
    return figure


def collapse_along_axes(findings: Findings) -> Figure:
    """The curves along every axis: each method if there is one remedy, otherwise the first method of each remedy."""
    pairs = _pairs(findings)
    firsts: dict[str, tuple[str, str]] = {}
    for remedy, method in pairs:
        firsts.setdefault(remedy, (remedy, method))
    return _along_all_axes(findings, pairs if len(firsts) == 1 else list(firsts.values()))


def collapse_maps(findings: Findings) -> Figure:
    """The map over sample size and separation, for every method under every remedy."""
    pairs = _pairs(findings)
    columns = min(len(pairs), 4)
    rows = -(-len(pairs) // columns)
    figure = Figure(figsize=(2.6 * columns + 0.6, 2.6 * rows + 0.3), layout="constrained")
    panels = figure.subplots(rows, columns, sharey=True, squeeze=False)
    for ax, (remedy, method) in zip(panels.ravel(), pairs, strict=False):
        singularity.share_map(ax, findings, remedy, method)
    for ax in panels.ravel()[len(pairs) :]:
        ax.set_axis_off()
    for ax in panels[:, 0]:
        ax.set_ylabel("points N")
    figure.suptitle("collapsing starts, out of a hundred", fontsize="medium")
    return figure


def _pairs(findings: Findings) -> list[tuple[str, str]]:
    """Every remedy with each of its methods, in the order of the study."""
    return list(dict.fromkeys((str(row["remedy"]), str(row["method"])) for row in findings.rows))


def _along_all_axes(findings: Findings, curves: list[tuple[str, str]]) -> Figure:
    figure = Figure(figsize=(9.6, 6.6), layout="constrained")
    panels = figure.subplots(2, 2, sharey=True)
    for ax, axis in zip(panels.ravel(), singularity.AXES, strict=True):
        singularity.along(ax, findings, axis, curves)
    for ax in panels[:, 0]:
        ax.set_ylabel("share of starts that collapse")
    handles, labels = panels[0, 0].get_legend_handles_labels()
    handles.append(Line2D([], [], color="0.4", linestyle="--", linewidth=1.0))
    labels.append("dashes: starved, but not singular")
    figure.legend(handles, labels, loc="outside upper left", ncols=min(len(labels), 8), frameon=False, fontsize="small")
    return figure


# The labels of the rows of panels.
WAYS = {"wald": "Wald", "bootstrap": "bootstrap percentiles", "posterior": "posterior quantiles"}


def errors_by_way(findings: Findings) -> Figure:
    """A panel for each subject, two in a row, whose height grows with the number of parameters."""
    subjects = findings.values("subject")
    columns = min(len(subjects), 2)
    lines = [len(findings.where(subject=subject).rows) for subject in subjects]
    heights = [max(lines[first : first + columns]) for first in range(0, len(lines), columns)]
    figure = Figure(figsize=(5.6 * columns, 0.8 + sum(0.24 * height + 1.2 for height in heights)), layout="constrained")
    panels = figure.subplots(len(heights), columns, squeeze=False, height_ratios=[height + 2 for height in heights])
    shown: dict[str, Artist] = {}
    for ax, subject in zip(panels.ravel(), subjects, strict=False):
        standard_errors.relative_errors(ax, findings, subject)
        handles, labels = ax.get_legend_handles_labels()
        shown |= dict(zip(labels, handles, strict=True))
    for ax in panels.ravel()[len(subjects) :]:
        ax.set_axis_off()
    artists, names = list(shown.values()), list(shown)
    columns = 4 if len(subjects) > 1 else 2
    figure.legend(artists, names, loc="outside upper left", ncols=columns, frameon=False, fontsize="small")
    return figure


def coverage_by_way(findings: Findings) -> Figure:
    """A row of panels for each kind of interval, a column for each parameter."""
    ways = [way for way in WAYS if way in findings.values("way")]
    parameters = findings.values("parameter")
    size = (2.7 * len(parameters) + 0.6, 2.3 * len(ways) + 0.7)
    figure = Figure(figsize=size, layout="constrained")
    panels = figure.subplots(len(ways), len(parameters), sharex=True, sharey=True, squeeze=False)
    for line, way in zip(panels, ways, strict=True):
        for ax, parameter in zip(line, parameters, strict=True):
            standard_errors.coverage(ax, findings, way, parameter)
        line[0].set_ylabel(f"{WAYS[way]}\nshare that holds the truth", fontsize="small")
    for ax, parameter in zip(panels[0], parameters, strict=True):
        ax.set_title(parameter, fontsize="small")
    figure.supxlabel("separation of the means (standard deviations of a component)", fontsize="small")
    handles, labels = panels[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper left", ncols=len(labels), frameon=False, fontsize="small")
    return figure
