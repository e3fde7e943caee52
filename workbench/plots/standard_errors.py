"""Plots of uncertainty: standard errors by several methods, coverage of intervals, and ranks of the truth."""

from typing import TYPE_CHECKING

import numpy as np

from workbench.diagnostics.calibration import envelope
from workbench.plots.style import CYCLE, EDGE, colours, plain, strokes, tidy
from workbench.studies import Findings
from workbench.studies.uncertainty import NOMINAL

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Label, mark and fill of each method. Open marks show others behind them, because some agree to all digits.
WAYS: dict[str, tuple[str, str, str]] = {
    "observed": ("observed information", "o", "none"),
    "louis": ("Louis' formula", "x", "full"),
    "supplemented": ("supplemented EM", "+", "full"),
    "nonparametric": ("nonparametric bootstrap", "s", "full"),
    "parametric": ("parametric bootstrap", "^", "full"),
    "weighted": ("weighted likelihood bootstrap", "D", "full"),
    "posterior": ("posterior deviation", "*", "full"),
}

# Vertical offsets of the bootstraps, which have error bars.
BESIDE = {"nonparametric": -0.16, "parametric": 0.0, "weighted": 0.16}

SIZES = {"o": 9.0, "x": 6.0, "+": 9.0, "*": 8.0}


def relative_errors(ax: "Axes", findings: Findings, subject: str) -> None:
    """Standard errors divided by those of the observed information, with a line for each parameter of a subject.

    Bars are two Monte-Carlo errors of a bootstrap's deviation. A refused method has no marks, and is named above.
    """
    own = findings.where(subject=subject)
    known = [way for way in WAYS if np.any(np.isfinite(own.column(way)))]
    ax.set_title(_title(subject, [way for way in WAYS if way not in known]), fontsize="small", loc="left")
    places = np.arange(len(own.rows), dtype=float)
    ax.set_yticks(places, [f"{row['parameter']} = {row['estimate']:.3g}" for row in own.rows], fontsize="small")
    ax.set_ylim(len(places) - 0.4, -0.6)
    ax.axvline(1.0, color=EDGE, linewidth=0.8)
    ax.set_xlabel("standard error / that by observed information")
    tidy(ax)
    if "observed" not in known:
        return
    error = 2.0 / np.sqrt(2.0 * (own.column("replicates") - 1.0))  # of a deviation, relative
    for i, way in enumerate(known):
        label, mark, filling = WAYS[way]
        ratio = own.column(way) / own.column("observed")
        ax.errorbar(
            ratio, places + BESIDE.get(way, 0.0), xerr=ratio * error if way in BESIDE else None,
            color=CYCLE[list(WAYS).index(way)], marker=mark, fillstyle=filling, markersize=SIZES.get(mark, 4.5),
            linestyle="none", elinewidth=0.9, label=label, zorder=2 + i,
        )  # fmt: skip


def _title(subject: str, refused: list[str]) -> str:
    if len(refused) == len(WAYS):
        return plain(f"{subject}\nno strict maximum: none to tell")
    return plain(f"{subject}\n{'refused: ' + ', '.join(refused) if refused else ' '}")


# Horizontal offset between curves, in standard deviations, so that their intervals can be distinguished.
APART = 0.05

# The axis begins here unless a curve is lower.
LOWEST = 0.7


def coverage(ax: "Axes", findings: Findings, way: str, parameter: str) -> None:
    """Coverage of one parameter by one kind of interval, with 95 % intervals; the horizontal line is the nominal one.

    The table reports the widths, which differ by orders of magnitude over the separations.
    """
    sizes = findings.values("points")
    for i, (n, shade) in enumerate(zip(sizes, CYCLE, strict=False)):
        found = findings.where(way=way, parameter=parameter, points=n)
        if not found.rows:
            continue
        x, share = found.column("separation"), found.column("coverage")
        reach = np.clip([share - found.column("low"), found.column("high") - share], 0, None)
        ax.errorbar(
            x + APART * (i - (len(sizes) - 1) / 2), share, reach,
            color=shade, linewidth=1.4, marker="o", markersize=3.5, elinewidth=0.9, capsize=2, label=f"N = {n:,}",
        )  # fmt: skip
    ax.axhline(NOMINAL, color=EDGE, linewidth=0.9, linestyle=(0, (2, 2)), label="nominal, 95 %")
    ax.set_ylim(min(LOWEST, float(np.min(findings.column("low"))) - 0.02), 1.01)
    ax.set_xticks(findings.values("separation"))
    tidy(ax)


# Simultaneous coverage of the band: one curve of uniform ranks in twenty leaves it somewhere.
COVERAGE = 0.95

# Names of the ranked quantities as text; {} stands for the number in brackets after a quantity's name.
WORDS = {
    "log_joint": "log-joint",
    "log_likelihood": "log-likelihood",
    "squared_weights": "sum of squared weights",
    "log_determinants": "sum of log-determinants",
    "co_clustering": "co-clustering of two points",
    "sorted_means": "first coordinate of ordered mean {}",
    "log_density": "log density at fixed point {}",
}


def ecdf_differences(ax: "Axes", findings: Findings, quantity: str) -> None:
    """The share of replications below each rank minus that of uniform ranks, with a curve for each method.

    A curve above zero means that the truth tends to be below the draws. The grey band contains the whole curve of
    uniform ranks with a probability of `COVERAGE`.
    """
    methods = findings.values("method")
    shades, styles = colours(methods), strokes(methods)
    for i, method in enumerate(methods):
        (row,) = findings.where(method=method, quantity=quantity).rows
        counts = np.asarray(row["counts"])
        replications, draws = int(counts.sum()), len(counts) - 1
        below = np.arange(1, draws + 1) / (draws + 1)
        if i == 0:
            low, high = envelope(replications, draws).band(COVERAGE)
            reach = (low / replications - below, high / replications - below)
            within = f"{100 * COVERAGE:.0f} % of uniform ranks"
            ax.fill_between(below, *reach, color=EDGE, alpha=0.18, linewidth=0, step="mid", label=within)
        off = np.cumsum(counts)[:-1] / replications - below
        dashes = styles[method]["linestyle"]
        ax.plot(below, off, color=shades[method], linewidth=1.4, linestyle=dashes, label=plain(method))
    ax.axhline(0.0, color=EDGE, linewidth=0.8)
    ax.set_xlim(0, 1)
    ax.set_title(words(quantity), fontsize="small")
    tidy(ax)


def words(quantity: str) -> str:
    """The name of a quantity as text: `log density at fixed point 2` for `log_density[1]`."""
    name, _, number = quantity.rstrip("]").partition("[")
    return WORDS[name].format(int(number or 0) + 1)
