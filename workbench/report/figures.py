"""The figures of a comparison, as files, with their captions."""

import io
from collections.abc import Callable, Mapping
from math import factorial
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib
from matplotlib.figure import Figure

from workbench import plots
from workbench.compare import Comparison
from workbench.compare.optima import WITHIN
from workbench.files import replacing
from workbench.problem import Problem


class Words(NamedTuple):
    """The words around one figure."""

    title: str
    alt: str  # the name of the experiment is appended
    caption: str


def words_of(name: str, dimensions: int) -> Words:
    """The words around the figure of a name, for data with `dimensions` columns."""
    if name == "fit":
        rest = f" Of {dimensions} columns the first {PAIRED_COLUMNS} are shown." if dimensions > PAIRED_COLUMNS else ""
        return FIT._replace(caption=FIT_CAPTIONS[min(dimensions, 3)] + rest)
    if name == "posterior":
        return POSTERIOR._replace(caption=POSTERIOR_CAPTIONS[min(dimensions, 2)])
    return {"score": SCORE, "waterfall": WATERFALL, "labels": LABELS, "clustering": CLUSTERING}[name]


def words_on_labels(problem: Problem) -> str:
    """A sentence on the effect of the problem's labels on the answer of a sampler."""
    count = f"K! = {factorial(problem.components):,}"
    if problem.labels == "free":
        return (
            f"Labels are free: the posterior is the same in all {count} labellings, of which a chain may visit one or "
            "several, so chains are judged by quantities that do not depend on labels."
        )
    cut = ", and the order by one of several columns may cut a mode in two" if problem.num_dimensions > 1 else ""
    return (
        f"Labels are ordered by the first coordinate of the means, one of {count} labellings: quantities that do not "
        "depend on labels have the same posterior as with free labels, but mean k is the k-th smallest, which overlap "
        f"pushes away from its neighbours{cut}."
    )


SCORE = Words(
    "How fast each method climbs",
    "Distance from the best sound log-joint against passes and against seconds, for every restart on",
    "Up is better: each line is one restart, and its height shows how many nats its log-joint lies below the best "
    f"sound one, on a logarithmic scale. Above the dotted line (within {WITHIN:g} nats) it counts as the best. The "
    "strong line of a method is a typical one of the restarts that reach the method's own best. Marks in a grey "
    "strip at the top, if any, left the plot upwards on their way to a singular covariance. Left: passes over the "
    "data, a cost that does not depend on the machine. Right: seconds, all restarts together, without compiling. A "
    "sampler does not climb to a point: after warm-up, it moves within its band.",
)

WATERFALL = Words(
    "Where the restarts end",
    "End value of every restart, sorted from best to worst within each method, on",
    "Each mark is a restart, and its height shows how many nats it ended below the best sound log-joint. A step is a "
    "local optimum; its length is how often it was found. The scale is linear down to 1 nat and logarithmic below. "
    "Marks in a grey strip at the top, if any, ended above the best with a singular covariance or a starved "
    "component: the likelihood is unbounded there, and they are not answers. A band holds nine in ten of a sampler's "
    "draws. It lies below the best, because the bulk of a posterior is not at its peak.",
)

FIT = Words("The data and what was fitted", "Data with the components that each method fitted, of", "")

FIT_CAPTIONS = {
    1: "Grey: histogram and ticks of the data. Strong lines: the density that each method fitted; thin lines: its "
    "components. For a sampler: the mean of its draws' densities, which is its prediction, and the pointwise band of "
    "95 % of them. Where methods agree, the dashes of one lie on the solid line of another.",
    2: "Grey: the data. Ellipses: each component of each method's best sound mixture, at 1 and at 2 standard "
    "deviations. For a sampler: contours of the mean of its draws' densities that enclose 39 and 86 % of it, as the "
    "ellipses of a Gaussian do. Where methods agree, the dashes of one lie on the solid line of another.",
    3: "Below the diagonal: every pair of columns, with each component's ellipses at 1 and 2 standard deviations, and "
    "contours around 39 and 86 % of a sampler's mean density. On the diagonal: each column, with the fitted density "
    "and its components, and for a sampler the mean density and the band of 95 % of its draws.",
}

POSTERIOR = Words("What the posterior allows", "Posterior draws with the point estimates over them, of", "")

POSTERIOR_CAPTIONS = {
    1: "Thin lines: the density of one posterior draw each; more than two samplers have a panel each. Strong lines: "
    "the point estimates. Where the thin lines fan out, the data leave the density open.",
    2: "Thin ellipses: the components of one posterior draw each, at 1 standard deviation, in the first two columns; "
    "dots: the means of more draws. Strong ellipses and crosses: the point estimates. A wide cloud means that the "
    "data leave the component open.",
}

LABELS = Words(
    "The labels of the draws",
    "First coordinate of the components' means along every chain of each sampler, before and after relabelling, on",
    "Chains are drawn side by side, and a colour is a label. Left: labels as they were sampled. The posterior is the "
    "same in every labelling of the components, so chains may differ in their labels, and a chain may change them: "
    "neither is a failure. Right: the same draws with one label for one component; a component that drifts here has "
    "not mixed.",
)

CLUSTERING = Words(
    "Who is with whom",
    "Co-clustering matrix of each method, the chance that two points come from one component, on",
    "Each row and each column is a point, in the same order in every panel. The brighter a cell, the more probable it "
    "is that the two points come from one component. A point estimate shows its best sound mixture, a sampler the "
    "average over its draws, so both are on one scale and do not depend on labels. Where a posterior is darker than "
    "the estimate beside it, the estimate is more certain of its groups than the data allow.",
)


DOTS_PER_INCH = 150

# The most columns in a pair plot; more would make each panel too small to read.
PAIRED_COLUMNS = 6

# The most matrices side by side.
PANELS_ABREAST = 4

# The most samplers whose draws lie over each other in one panel.
TOGETHER = 2

# A fixed salt, so that matplotlib gives the parts of an SVG the same names in every run.
SALT = "workbench"


def figures_of(comparison: Comparison, only: str | None = None) -> dict[str, Figure]:
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
    return {name: make(comparison) for name, (applies, make) in makers.items() if applies and only in (None, name)}


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
    plots.score(left, comparison, against="passes", legend=False)
    plots.score(right, comparison, against="seconds", legend=False)
    handles, labels = left.get_legend_handles_labels()
    right.set_ylabel("")
    figure.legend(handles, labels, loc="outside upper left", ncols=3, frameon=False, fontsize="small", handlelength=2.6)
    return figure


def _fit(comparison: Comparison) -> Figure:
    count = min(comparison.problem.num_dimensions, PAIRED_COLUMNS)
    if comparison.problem.num_dimensions <= 2:
        figure = Figure(figsize=(6.4, 4.8), layout="constrained")
        plots.fit(figure.subplots(), comparison, legend="above")
        return figure
    figure = Figure(figsize=(2.2 * count, 2.1 * count), layout="constrained")
    plots.pairs(figure.subplots(count, count), comparison)
    return figure


def _waterfall(comparison: Comparison) -> Figure:
    figure = Figure(figsize=(6.4, 4.8), layout="constrained")
    plots.waterfall(figure.subplots(), comparison, legend="above")
    return figure


def _posterior(comparison: Comparison) -> Figure:
    """One panel, or one for each sampler if they are more than can be told apart in one."""
    samplers = [name for name, trace in comparison.items() if trace.is_sampler]
    others = [name for name in comparison if name not in samplers]
    panels = [list(comparison)] if len(samplers) <= TOGETHER else [[name, *others] for name in samplers]
    columns = min(len(panels), 2)
    rows = -(-len(panels) // columns)
    figure = Figure(figsize=(6.4 * columns, 4.8 * rows), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    used = axes[: len(panels)]
    for ax, shown in zip(used, panels, strict=True):
        plots.posterior(ax, comparison, methods=shown, legend="above")
    lowest, highest = zip(*(ax.get_ylim() for ax in used), strict=True)
    for ax in used:
        ax.set_ylim(min(lowest), max(highest))
    for spare in axes[len(panels) :]:
        spare.set_axis_off()
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
