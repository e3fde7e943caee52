"""The plot of standard errors by several methods, parameter by parameter, relative to one of them."""

from typing import TYPE_CHECKING

import numpy as np

from workbench.plots.style import CYCLE, EDGE, plain, tidy
from workbench.studies import Findings

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
