"""Layouts of the figures of coupled equations and of the rate of EM."""

from matplotlib.figure import Figure

from workbench.plots import coupling, rate
from workbench.studies import Findings
from workbench.studies.base import Row


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
