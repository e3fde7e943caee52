"""Layouts of the figures of coordinates and of step sizes, with a panel for each subject."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from matplotlib.figure import Figure

from workbench.plots import coordinates
from workbench.plots.style import plain
from workbench.studies import Findings

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def passes_by_chart(findings: Findings) -> Figure:
    """Passes to the best in every chart."""
    return _panels(findings, coordinates.passes, 4.6, sharey=True)


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
