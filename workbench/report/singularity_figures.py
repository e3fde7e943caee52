"""Layouts of the figures of singularities, each with several panels of one kind."""

from matplotlib.figure import Figure

from workbench.plots import singularity
from workbench.studies import Findings


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
    figure.legend(handles, labels, loc="outside upper left", ncols=min(len(labels), 8), frameon=False, fontsize="small")
    return figure
