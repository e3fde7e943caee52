"""The plot of the study of units: the difference between each climb's paths in the new and in the old units."""

from typing import TYPE_CHECKING

from workbench.plots.style import OWNERS, legend_above, plain, tidy
from workbench.studies import Findings

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Marker, colour and label by the units of a climb's coordinates; EM has none.
MARKS = {None: ("o", OWNERS["em"], "em"), "working": ("s", OWNERS["ascent"], "ascent, working units"),
         "data": ("^", "#000000", "ascent, data units")}  # fmt: skip

# Place of paths that agree to the last bit.
FLOOR = 1e-17

# Place of paths that are not finite, as a share of the axis.
BEYOND = 0.97


def paths(ax: "Axes", findings: Findings) -> None:
    """The largest gap between the two paths in nats per point, with a row for each subject and change of units."""
    rows = list(dict.fromkeys((row["subject"], row["change"]) for row in findings.rows))
    for number, (units, (marker, shade, label)) in enumerate(MARKS.items()):
        ax.plot([], [], marker, color=shade, label=label)
        for row in findings.where(units=units).rows:
            height = rows.index((row["subject"], row["change"])) + 0.16 * (number - 1)
            gap = row["gap"]
            if isinstance(gap, float):
                ax.plot(max(gap, FLOOR), height, marker, color=shade)
            else:
                at = ax.get_yaxis_transform()
                ax.plot(BEYOND, height, marker, color=shade, markerfacecolor="white", transform=at)
                ax.text(BEYOND - 0.02, height, "left the numbers ", ha="right", va="center", transform=at)
    ax.set_yticks(range(len(rows)), [plain(f"{subject}\n{change}") for subject, change in rows])
    ax.set_ylim(len(rows) - 0.5, -0.5)
    ax.set_xscale("log")
    ax.set_xlim(FLOOR / 3, 1e6)
    ax.set_xlabel("largest gap between the two paths (nats per point)")
    legend_above(ax, 3)
    tidy(ax)
