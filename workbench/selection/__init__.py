"""How many components: every criterion side by side over K."""

from workbench.selection.criteria import CRITERIA, Criterion
from workbench.selection.running import select
from workbench.selection.score import Score
from workbench.selection.selection import Choice, Selection
from workbench.selection.stored import load_selections

__all__ = ["CRITERIA", "Choice", "Criterion", "Score", "Selection", "load_selections", "select"]
