"""The number of components: every criterion over K."""

from workbench.selection.criteria import CRITERIA, Choice, Criterion
from workbench.selection.families import Cell, FamilySelection
from workbench.selection.score import Score
from workbench.selection.selection import Selection

__all__ = [
    "CRITERIA",
    "Cell",
    "Choice",
    "Criterion",
    "FamilySelection",
    "Score",
    "Selection",
]
