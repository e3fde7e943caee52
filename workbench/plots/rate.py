"""Plots of rates: missing information, predicted and counted passes, and errors of an over-specified fit."""

from typing import TYPE_CHECKING, Any

import numpy as np

from workbench.plots.style import CYCLE, EDGE, colours, legend_above, plain, tidy
from workbench.studies import Findings
from workbench.studies.rate import END, crossing_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# The label of each method, and its key in `style.colours`; the direct methods are ascent.
METHODS = {
    "em": "EM",
    "squarem": "SQUAREM",
    "anderson": "Anderson",
    "lbfgs": "L-BFGS",
    "gradient": "gradient, best fixed step",
}


def predicted(ax: "Axes", findings: Findings) -> None:
    """Counted passes against those that the rates predict, for EM and for the gradient with its best step."""
    shades = _shades()
    for name, mark in (("em", "o"), ("gradient", "s")):
        x, y = findings.column(f"{name}_predicted"), findings.column(name)
        ax.plot(x, y, mark, color=shades[name], markersize=4, alpha=0.6, linewidth=0, label=METHODS[name])
    reach = [*ax.get_xlim(), *ax.get_ylim()]
    span = [max(1.0, min(reach)), max(reach)]
    ax.plot(span, span, color=EDGE, linewidth=0.9, linestyle=(0, (2, 2)), label="as predicted")
    ax.set_xscale("log")
    ax.set_yscale("log")
    ax.set_xlabel("passes predicted from the rate")
    ax.set_ylabel("passes counted, median of starts")
    legend_above(ax)
    tidy(ax)


def passes(ax: "Axes", findings: Findings) -> None:
    """Passes from one nat to 1e-8 nats below the optimum, against separation, with the crossing of EM and L-BFGS.

    Lines are medians over simulated data sets, and bands contain all of them.
    """
    simulated, shades = findings.where(subject="simulated", status="maximum"), _shades()
    x = sorted(simulated.values("separation"))
    for name, label in METHODS.items():
        groups = [simulated.where(separation=s).column(name) for s in x]
        middle, low, high = (np.asarray([_of(group, q) for group in groups]) for q in (50, 0, 100))
        direct = name in ("lbfgs", "gradient")
        ax.plot(x, middle, color=shades[name], linewidth=1.8, linestyle=(0, (4, 2)) if direct else "solid", label=label)
        ax.fill_between(x, low, high, color=shades[name], alpha=0.15, linewidth=0)
    crossed = crossing_of(findings, END)
    if crossed is not None:
        ax.axvspan(crossed.low, crossed.high, color=EDGE, alpha=0.2, linewidth=0)
        ax.axvline(crossed.separation, color=EDGE, linewidth=0.9, label="EM and L-BFGS cross (95 %)")
    ax.set_yscale("log")
    ax.set_xlabel("separation (standard deviations of a component)")
    ax.set_ylabel("passes, from 1 to 1e-8 nats below the optimum")
    legend_above(ax)
    tidy(ax)


def missing(ax: "Axes", findings: Findings) -> None:
    """EM's rate against separation, with a mark for each simulated data set and a named line for each real one."""
    shade = _shades()["em"]
    simulated = findings.where(subject="simulated", status="maximum")
    ax.plot(simulated.column("separation"), simulated.column("rate"), "o", color=shade, markersize=4, alpha=0.5)
    x = sorted(simulated.values("separation"))
    ax.plot(x, [_of(simulated.where(separation=s).column("rate"), 50) for s in x], color=shade, linewidth=1.8)
    real = [row for row in findings.where(status="maximum").rows if row["subject"] != "simulated"]
    for i, row in enumerate(sorted(real, key=lambda row: float(str(row["rate"])))):
        rate, side = float(str(row["rate"])), i % 2  # names alternate between left and right, as lines may be close
        ax.axhline(rate, color=EDGE, linewidth=0.7, linestyle=(0, (2, 2)))
        where: dict[str, Any] = {
            "ha": ("right", "left")[side],
            "va": ("top", "bottom")[side],
            "transform": ax.get_yaxis_transform(),
        }
        ax.text(
            1 - 0.98 * side, rate, f"{plain(str(row['subject']))} {rate:.3f}", color=EDGE, fontsize="x-small", **where
        )
    ax.set_ylim(0, 1.03)
    ax.set_xlabel("separation (standard deviations of a component)")
    ax.set_ylabel("EM's rate: largest share of missing information")
    tidy(ax)


def _shades() -> dict[str, str]:
    """The colours of an experiment that compares these methods, where L-BFGS is named ascent."""
    shades = colours(["em", "ascent", "squarem", "anderson", "gradient"])
    return {("lbfgs" if name == "ascent" else name): shade for name, shade in shades.items()}


def _of(values: np.ndarray, percentile: float) -> float:
    finite = values[np.isfinite(values)]
    return float(np.percentile(finite, percentile)) if len(finite) else np.nan


def errors(ax: "Axes", findings: Findings) -> None:
    """Mean error of theta against N with two standard errors, and the fitted power of N, for each weight."""
    for weight, shade in zip(findings.values("weight"), CYCLE, strict=False):
        own = findings.where(weight=weight)
        n, error, spread = (own.column(name) for name in ("points", "mean_error_apart", "standard_error"))
        slope, uncertain = own.column("slope")[0], own.column("slope_error")[0]
        weights = (error / spread) ** 2
        level = np.average(np.log(error) - slope * np.log(n), weights=weights)
        ax.errorbar(n, error, 2 * spread, color=shade, marker="o", markersize=4.5, linestyle="none", capsize=2)
        label = f"weights {weight:g} and {1 - weight:g}: slope {slope:.3f} ± {uncertain:.3f}"
        ax.plot(n, np.exp(level) * n**slope, color=shade, linewidth=1.5, label=label)
    ax.set_xscale("log")
    ax.set_yscale("log")
    ax.set_xlabel("points N")
    ax.set_ylabel("mean error of the location, estimates of 0 apart")
    legend_above(ax, columns=1)
    tidy(ax)


def stops(ax: "Axes", findings: Findings) -> None:
    """The largest distance of a parameter in standard errors at each stop, and medians over starts, by subject."""
    for subject, shade in zip(findings.values("subject"), CYCLE, strict=False):
        own = findings.where(subject=subject)
        ax.plot(own.column("tolerance"), own.column("off"), "o", color=shade, markersize=3.5, alpha=0.5, linewidth=0)
        at = sorted(own.values("tolerance"))
        medians = [float(np.median(own.where(tolerance=tolerance).column("off"))) for tolerance in at]
        ax.plot(at, medians, color=shade, linewidth=1.5, label=str(subject))
    ax.axhline(1.0, color=EDGE, linewidth=0.9, linestyle=(0, (2, 2)), label="one standard error")
    ax.set_xscale("log")
    ax.set_yscale("log")
    ax.set_xlabel("rise per point below which EM stops, nats")
    ax.set_ylabel("distance from the optimum, standard errors")
    legend_above(ax, columns=1)
    tidy(ax)
