"""The figures of each study, with their words, by the name of the study."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from matplotlib.figure import Figure

from workbench.plots import bad_optima
from workbench.studies import Findings

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@dataclass(frozen=True)
class StudyFigure:
    """How a figure is drawn from a study's rows, and the words around it."""

    draw: Callable[[Findings], Figure]
    title: str
    caption: str
    alt: str  # what it shows, for who cannot see it


def single(draw: Callable[["Axes", Findings], None]) -> Callable[[Findings], Figure]:
    """A figure of one panel."""

    def drawn(findings: Findings) -> Figure:
        figure = Figure(figsize=(7.4, 4.8), layout="constrained")
        draw(figure.subplots(), findings)
        return figure

    return drawn


STUDY_FIGURES: dict[str, Mapping[str, StudyFigure]] = {
    "bad_optima": {
        "failures": StudyFigure(
            single(bad_optima.failures),
            "How often a random start misses a group",
            "Each mark is the share of starts from which a method ends far below the best optimum, with its 95 % "
            "interval; methods stand beside each other. Strong lines: means at random points. Dashes: k-means++ "
            "seeding. EM and ascent fail alike, because the start decides. Dotted: the chance that K random points "
            "leave some group without one; climbs mend many such starts, and ever fewer as K grows.",
            "Share of failing starts against the number of groups, by method and start rule: it grows from none at two "
            "groups, and less so from k-means++.",
        )
    },
}
