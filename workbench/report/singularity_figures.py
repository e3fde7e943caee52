"""The figures of the studies of singularities, laid out: several panels of one kind each."""

from matplotlib.figure import Figure

from workbench.plots import collapse, escape
from workbench.studies import Findings


def escapes(findings: Findings) -> Figure:
    """Escapes by hand, and EM's own."""
    figure = Figure(figsize=(11.0, 5.2), layout="constrained")
    left, right = figure.subplots(1, 2)
    escape.slopes(left, findings)
    escape.steps_of_em(right, findings)
    return figure


def collapse_by_method(findings: Findings) -> Figure:
    """Every method of the first remedy, which is none, along every axis."""
    remedy = findings.values("remedy")[0]
    return _along_all_axes(findings, [(remedy, name) for name in findings.where(remedy=remedy).values("method")])


def collapse_by_remedy(findings: Findings) -> Figure:
    """The first method of every remedy along every axis."""
    return _along_all_axes(findings, _firsts(findings))


def collapse_maps(findings: Findings) -> Figure:
    """The map over sample size and separation, for the first method of every remedy."""
    firsts = _firsts(findings)
    figure = Figure(figsize=(2.6 * len(firsts) + 0.6, 2.9), layout="constrained")
    panels = figure.subplots(1, len(firsts), sharey=True, squeeze=False)[0]
    for ax, (remedy, method) in zip(panels, firsts, strict=True):
        collapse.share_map(ax, findings, remedy, method)
    panels[0].set_ylabel("points N")
    return figure


def _firsts(findings: Findings) -> list[tuple[str, str]]:
    return [(remedy, findings.where(remedy=remedy).values("method")[0]) for remedy in findings.values("remedy")]


def _along_all_axes(findings: Findings, curves: list[tuple[str, str]]) -> Figure:
    figure = Figure(figsize=(9.6, 6.6), layout="constrained")
    panels = figure.subplots(2, 2, sharey=True)
    for ax, axis in zip(panels.ravel(), collapse.AXES, strict=True):
        collapse.along(ax, findings, axis, curves)
    for ax in panels[:, 0]:
        ax.set_ylabel("share of starts that collapse")
    handles, labels = panels[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper left", ncols=len(labels), frameon=False, fontsize="small")
    return figure
