"""The figures of a comparison, laid out and written: PNG files for a folder, SVG text for a page."""

import io
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.figure import Figure

from workbench import plots
from workbench.compare import Comparison
from workbench.engine.files import replacing

DOTS_PER_INCH = 150

# The most columns in a pair plot; more would make each panel too small to read.
PAIRED_COLUMNS = 6

# The most matrices side by side.
PANELS_ABREAST = 4

# A fixed salt, so that matplotlib gives the parts of an SVG the same names in every run.
SALT = "workbench"


def figures_of(comparison: Comparison) -> dict[str, Figure]:
    """Figures by name: "score", "fit", "waterfall", "posterior", "labels", "clustering"; none with nothing to show.

    "waterfall" needs a method that is not a sampler, "posterior" one that is, "labels" components to tell apart too;
    "clustering" needs these and a method with an answer.
    """
    samplers = [trace.is_sampler for trace in comparison.values()]
    several = comparison.problem.components > 1
    makers: dict[str, tuple[bool, Callable[[Comparison], Figure]]] = {
        "score": (len(samplers) > 0, _score),
        "fit": (len(samplers) > 0, _fit),
        "waterfall": (not all(samplers), _waterfall),
        "posterior": (any(samplers), _posterior),
        "labels": (any(samplers) and several, _labels),
        "clustering": (several and _answers(comparison) > 0, _clustering),
    }
    return {name: make(comparison) for name, (applies, make) in makers.items() if applies}


def save_figures(comparison: Comparison, folder: Path) -> list[Path]:
    """Write each figure to `folder/NAME.png`, whole or not at all, and return the paths."""
    return save_all(figures_of(comparison), folder)


def save_all(figures: Mapping[str, Figure], folder: Path, prefix: str = "") -> list[Path]:
    """Write each figure to `folder/PREFIXNAME.png`, whole or not at all, and return the paths."""
    paths = []
    for name, figure in figures.items():
        path = folder / f"{prefix}{name}.png"
        with replacing(path) as temporary:
            _write(figure, temporary, format="png", metadata={"Software": None})
        paths.append(path)
    return paths


def svg_of(figure: Figure) -> str:
    """The figure as SVG text, which is the same in every run."""
    out = io.BytesIO()
    with matplotlib.rc_context({"svg.hashsalt": SALT}):
        _write(figure, out, format="svg", metadata={"Date": None, "Creator": None})
    return out.getvalue().decode()


def _write(figure: Figure, target: Path | io.BytesIO, **options: Any) -> None:
    """Write a figure, and keep its layout for the next time: to compute a layout takes as long as to draw."""
    figure.savefig(target, dpi=DOTS_PER_INCH, **options)
    figure.set_layout_engine("none")


def _score(comparison: Comparison) -> Figure:
    figure = Figure(figsize=(9.6, 4.3), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    plots.score(left, comparison, against="passes")
    plots.score(right, comparison, against="seconds")
    handles, labels = left.get_legend_handles_labels()
    for ax in (left, right):
        ax.get_legend().remove()
    right.set_ylabel("")
    figure.legend(handles, labels, loc="outside upper left", ncols=3, frameon=False, fontsize="small", handlelength=2.6)
    return figure


def _fit(comparison: Comparison) -> Figure:
    count = min(comparison.problem.num_dimensions, PAIRED_COLUMNS)
    if comparison.problem.num_dimensions <= 2:
        figure = Figure(figsize=(6.4, 4.8), layout="constrained")
        plots.fit(figure.subplots(), comparison)
        return figure
    figure = Figure(figsize=(2.2 * count, 2.1 * count), layout="constrained")
    plots.pairs(figure.subplots(count, count), comparison)
    return figure


def _waterfall(comparison: Comparison) -> Figure:
    figure = Figure(figsize=(6.4, 4.8), layout="constrained")
    plots.waterfall(figure.subplots(), comparison)
    return figure


def _posterior(comparison: Comparison) -> Figure:
    figure = Figure(figsize=(6.4, 4.8), layout="constrained")
    plots.posterior(figure.subplots(), comparison)
    return figure


def _labels(comparison: Comparison) -> Figure:
    samplers = [name for name, trace in comparison.items() if trace.is_sampler]
    figure = Figure(figsize=(9.6, 0.5 + 2.9 * len(samplers)), layout="constrained")
    grid = figure.subplots(len(samplers), 2, sharey=True, squeeze=False)
    for axes, name in zip(grid, samplers, strict=True):
        plots.labels(axes, comparison, name)
    handles, names = grid[0, 1].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside upper left", ncols=6, frameon=False, fontsize="small")
    return figure


def _clustering(comparison: Comparison) -> Figure:
    count = _answers(comparison)
    columns = min(count, PANELS_ABREAST)
    rows = -(-count // columns)
    figure = Figure(figsize=(0.9 + 2.9 * columns, 0.5 + 3.0 * rows), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False).ravel().tolist()
    for spare in axes[count:]:
        spare.set_axis_off()
    images = plots.clustering(axes[:count], comparison)
    figure.colorbar(images[0], ax=axes, label="chance of one component", shrink=0.8)
    return figure


def _answers(comparison: Comparison) -> int:
    """Methods that have draws or a sound mixture."""
    traces = comparison.values()
    return sum(
        trace.is_sampler or trace.best_place(comparison.problem, comparison.rule) is not None for trace in traces
    )
