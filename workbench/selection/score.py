"""What a criterion says of one number of components: a value in nats, its error, and what to beware of."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True, eq=False)
class Score:
    """A value in nats of which the largest is best, whatever the criterion; None where there is none, and why.

    The `terms` of a value that is a sum over the points let two K be compared point by point, which is much sharper
    than their own standard errors are.
    """

    value: float | None
    standard_error: float | None = None
    terms: np.ndarray | None = None  # [N]
    notes: tuple[str, ...] = ()  # warnings; or why there is no value

    @classmethod
    def missing(cls, why: str) -> "Score":
        """No value."""
        return cls(None, notes=(why,))

    @classmethod
    def of(cls, value: float, standard_error: float | None = None, notes: Sequence[str] = ()) -> "Score":
        """A value, or none where it is not a finite number."""
        if not math.isfinite(value):
            return cls.missing(f"is {value}")
        error = None if standard_error is None or not math.isfinite(standard_error) else standard_error
        return cls(value, error, notes=(*notes,))

    @classmethod
    def of_terms(cls, terms: np.ndarray, notes: Sequence[str] = ()) -> "Score":
        """The sum of a term for each point [N], with the standard error of a sum of N independent ones."""
        if not np.all(np.isfinite(terms)):
            return cls.missing(f"{np.sum(~np.isfinite(terms))} of {len(terms)} points have no finite term")
        return cls(float(np.sum(terms)), error_of_sum(terms), terms, (*notes,))

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "value": self.value,
            "standard_error": self.standard_error,
            "terms": None if self.terms is None else self.terms.tolist(),
            "notes": list(self.notes),
        }

    @classmethod
    def from_dict(cls, stored: dict[str, Any]) -> "Score":
        """Inverse of `to_dict`."""
        value, error, terms = stored["value"], stored["standard_error"], stored["terms"]
        return cls(
            None if value is None else float(value),
            None if error is None else float(error),
            None if terms is None else np.asarray(terms, float),
            tuple(map(str, stored["notes"])),
        )


def error_of_sum(terms: np.ndarray) -> float | None:
    """Standard error of the sum of N independent terms [N]; None of a single one."""
    return float(np.sqrt(len(terms)) * np.std(terms, ddof=1)) if len(terms) > 1 else None
