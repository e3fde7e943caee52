"""Layouts of the figures of standard errors and of the coverage of intervals."""

from matplotlib.artist import Artist
from matplotlib.figure import Figure

from workbench.plots import uncertainty
from workbench.studies import Findings

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
        uncertainty.relative_errors(ax, findings, subject)
        handles, labels = ax.get_legend_handles_labels()
        shown |= dict(zip(labels, handles, strict=True))
    for ax in panels.ravel()[len(subjects) :]:
        ax.set_axis_off()
    artists, names = list(shown.values()), list(shown)
    figure.legend(artists, names, loc="outside upper left", ncols=4, frameon=False, fontsize="small")
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
            uncertainty.coverage(ax, findings, way, parameter)
        line[0].set_ylabel(f"{WAYS[way]}\nshare that holds the truth", fontsize="small")
    for ax, parameter in zip(panels[0], parameters, strict=True):
        ax.set_title(parameter, fontsize="small")
    figure.supxlabel("separation of the means (standard deviations of a component)", fontsize="small")
    handles, labels = panels[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper left", ncols=len(labels), frameon=False, fontsize="small")
    return figure
