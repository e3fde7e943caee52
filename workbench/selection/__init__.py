"""How many components: every criterion side by side over K."""

from workbench.selection.choice import Choice
from workbench.selection.criteria import CRITERIA, Criterion
from workbench.selection.families import Cell, FamilySelection
from workbench.selection.running import select, select_families
from workbench.selection.score import Score
from workbench.selection.selection import Selection
from workbench.selection.stored import load_selections

__all__ = [
    "CRITERIA",
    "Cell",
    "Choice",
    "Criterion",
    "FamilySelection",
    "Score",
    "Selection",
    "load_selections",
    "select",
    "select_families",
]
