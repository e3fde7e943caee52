"""The figures of each study, with their words, by the name of the study."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from matplotlib.figure import Figure

from workbench.studies import Findings


@dataclass(frozen=True)
class StudyFigure:
    """How a figure is drawn from a study's rows, and the words around it."""

    draw: Callable[[Findings], Figure]
    title: str
    caption: str
    alt: str  # what it shows, for who cannot see it


STUDY_FIGURES: dict[str, Mapping[str, StudyFigure]] = {}
