"""The plot of failed climbs against the number of groups, with a curve for each method and start rule."""

from typing import TYPE_CHECKING

import numpy as np

from workbench.plots.style import EDGE, colours, legend_above, plain, tidy
from workbench.studies import Findings

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Dashes and marks by position of the start rule. The first rule fails most, and is drawn strongest.
RULES = (("solid", "o", "full"), ((0, (4, 2)), "s", "none"), ((0, (1, 1.5)), "^", "none"))

# Horizontal offset between methods, in groups, because their curves agree and would hide each other.
APART = 0.12


def failures(ax: "Axes", findings: Findings) -> None:
    """The share of failed climbs against the number of groups, with 95 % intervals.

    The dotted line is the probability that K random points leave a group without a point.
    """
    methods, rules = findings.values("method"), findings.values("rule")
    shades = colours(methods)
    for i, method in enumerate(methods):
        for rule, (dashes, mark, filling) in zip(rules, RULES, strict=False):
            found = findings.where(method=method, rule=rule)
            k, share = found.column("components"), found.column("failure_share")
            reach = np.clip([share - found.column("low"), found.column("high") - share], 0, None)
            ax.errorbar(
                k + APART * (i - (len(methods) - 1) / 2), share, reach,
                color=shades[method], linestyle=dashes, linewidth=1.6, marker=mark, markersize=4.5, fillstyle=filling,
                elinewidth=0.9, capsize=2, label=plain(f"{method}, {rule}"),
            )  # fmt: skip
    one = findings.where(method=methods[0], rule=rules[0])
    chance = one.column("components"), one.column("chance_of_a_miss")
    ax.plot(*chance, color=EDGE, linewidth=1.1, linestyle=(0, (1, 2)), label="chance that random points miss a group")
    ax.set_ylim(-0.03, 1.03)
    ax.set_xticks(findings.values("components"))
    ax.set_xlabel("groups K, neighbours on a ring")
    ax.set_ylabel("share of starts that fail")
    legend_above(ax, columns=2)
    tidy(ax)
