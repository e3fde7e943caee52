"""How many components: every criterion side by side over K."""

from workbench.selection.criteria import CRITERIA, Criterion
from workbench.selection.running import select
from workbench.selection.score import Score
from workbench.selection.selection import Choice, Selection

__all__ = ["CRITERIA", "Choice", "Criterion", "Score", "Selection", "select"]
