"""A choice: one number of components, and how every criterion scores it."""

from dataclasses import dataclass
from typing import Any

from workbench.selection.criteria import CRITERIA
from workbench.selection.score import Score


@dataclass(frozen=True)
class Choice:
    """One K: what was fitted and how every criterion scores it."""

    components: int
    parameters: int  # free ones
    log_likelihood: float | None  # of the best sound fit
    scores: dict[str, Score]
    stale: str | None = None  # what other code made it, where it is stored so

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
