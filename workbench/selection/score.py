"""What a criterion says of one number of components: a value in nats, its error, and what to beware of."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

# Kass & Raftery (1995), "Bayes factors", JASA 90, sec. 3.2: less than 2 on the scale of twice the logarithm is "not
# worth more than a bare mention". It is what differences of BIC approximate.
BARE_MENTION = 1.0


class Difference(NamedTuple):
    """How far a score is below the best one of its criterion, in nats, and the standard error of that."""

    below: float
    standard_error: float | None
    unworthy: float = BARE_MENTION  # less than this tells nothing, however sure it is

    @property
    def is_within_its_error(self) -> bool:
        """Whether the two cannot be told apart: by a standard error at most, or by less than is worth a mention."""
        if self.standard_error and self.below <= self.standard_error:
            return True
        return 0 < self.below < self.unworthy

    def __str__(self) -> str:
        error = "" if self.standard_error is None else f" ± {number_text(self.standard_error)}"
        return number_text(self.below) + error


@dataclass(frozen=True, eq=False)
class Score:
    """A value in nats of which the largest is best, whatever the criterion; None where there is none, and why.

    The `terms` of a value that is a sum over the points let two K be compared point by point, which is much sharper
    than their own standard errors are.

    What was computed and must not be compared, as from chains that disagree, is *not eligible*: it has no value, and
    stands in `rejected`, from where no table, choice or difference reads it.
    """

    value: float | None
    standard_error: float | None = None
    terms: np.ndarray | None = None  # [N]
    notes: tuple[str, ...] = ()  # warnings; or why there is no value
    rejected: float | None = None
    why: str | None = None  # there is no value, in few words

    @classmethod
    def missing(cls, why: str) -> "Score":
        """No value."""
        return cls(None, notes=(why,), why=why)

    def reject(self, why: str, note: str) -> "Score":
        """The same, not eligible.

        Args:
            why: in few words, the same for all that are rejected alike.
            note: how it shows.
        """
        if self.value is None:
            return replace(self, notes=(note, *self.notes), why=why) if self.rejected is not None else self
        return Score(None, notes=(note, *self.notes), rejected=self.value, why=why)

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

    def above(self, other: "Score") -> Difference | None:
        """How far another score is below this one, the best; None where either has no value.

        Two sums over the points are told apart point by point: the standard error is that of the sum of N independent
        differences, and all that is asked of them. Two independent estimates of the evidence have the root of their
        summed squares, and values without an error none; less than a nat between these is no evidence, however exact.
        """
        if self.value is None or other.value is None:
            return None
        below = self.value - other.value
        if other is self:
            return Difference(below, None)
        if self.terms is not None and other.terms is not None:
            return Difference(below, error_of_sum(self.terms - other.terms), unworthy=0.0)
        if self.standard_error is None or other.standard_error is None:
            return Difference(below, None)
        return Difference(below, float(np.hypot(self.standard_error, other.standard_error)))

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "value": self.value,
            "standard_error": self.standard_error,
            "terms": None if self.terms is None else self.terms.tolist(),
            "notes": list(self.notes),
            "rejected": self.rejected,
            "why": self.why,
        }

    @classmethod
    def from_dict(cls, stored: dict[str, Any]) -> "Score":
        """Inverse of `to_dict`."""
        value, error, terms = stored["value"], stored["standard_error"], stored["terms"]
        rejected, why = stored["rejected"], stored["why"]
        return cls(
            None if value is None else float(value),
            None if error is None else float(error),
            None if terms is None else np.asarray(terms, float),
            tuple(map(str, stored["notes"])),
            None if rejected is None else float(rejected),
            None if why is None else str(why),
        )


def error_of_sum(terms: np.ndarray) -> float | None:
    """Standard error of the sum of N independent terms [N]; None of a single one."""
    return float(np.sqrt(len(terms)) * np.std(terms, ddof=1)) if len(terms) > 1 else None


def number_text(value: float | None) -> str:
    """Nats to two decimals, or a dash."""
    return "–" if value is None else f"{value:.2f}"
