"""A choice: one number of components and its score by every criterion."""

from dataclasses import dataclass
from typing import Any

from workbench.selection.criteria import CRITERIA
from workbench.selection.score import Score


@dataclass(frozen=True)
class Choice:
    """One K: the best fit and the score by every criterion."""

    components: int
    parameters: int  # number of free parameters
    log_likelihood: float | None  # of the best sound fit
    scores: dict[str, Score]
    stale: str | None = None  # the other code that made it, if it is stale

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        scores = {name: score.to_dict() for name, score in self.scores.items()}
        kept = {"components": self.components, "parameters": self.parameters, "log_likelihood": self.log_likelihood}
        return kept | {"scores": scores}

    @classmethod
    def from_dict(cls, stored: dict[str, Any]) -> "Choice":
        """Inverse of `to_dict`."""
        likelihood = stored["log_likelihood"]
        return cls(
            int(stored["components"]),
            int(stored["parameters"]),
            None if likelihood is None else float(likelihood),
            {name: Score.from_dict(stored["scores"][name]) for name in CRITERIA},
        )
