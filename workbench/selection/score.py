"""The score of one number of components by a criterion: a value in nats, its error, and warnings."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from scipy.special import ndtr, stdtrit

# Kass & Raftery (1995), "Bayes factors", JASA 90, sec. 3.2: less than 2 on the scale of twice the logarithm is "not
# worth more than a bare mention". Differences of BIC approximate that scale.
BARE_MENTION = 1.0


class Difference(NamedTuple):
    """The difference of a score from the best one of its criterion, in nats, and its standard error."""

    below: float
    standard_error: float | None
    unworthy: float = BARE_MENTION  # a smaller difference is no evidence, however precise

    @property
    def is_within_its_error(self) -> bool:
        """Whether the scores cannot be distinguished: within a standard error, or by less than is worth a mention."""
        if self.standard_error and self.below <= self.standard_error:
            return True
        return 0 < self.below < self.unworthy

    def __str__(self) -> str:
        error = "" if self.standard_error is None else f" ± {number_text(self.standard_error)}"
        return number_text(self.below) + error


@dataclass(frozen=True, eq=False)
class Score:
    """A value in nats, of which the largest is best for every criterion; None if there is none, and why.

    If a value is a sum over the points, its `terms` let two K be compared point by point, which is much more precise
    than a comparison by their own standard errors.

    A value that was computed but must not be compared, such as one from chains that disagree, is *not eligible*: the
    score has no value, and the number is kept in `rejected`, which no table, choice or difference reads.
    """

    value: float | None
    standard_error: float | None = None
    terms: np.ndarray | None = None  # [N]
    notes: tuple[str, ...] = ()  # warnings, or why there is no value
    rejected: float | None = None
    why: str | None = None  # why there is no value, in a few words
    monte_carlo_error: float | None = None  # of a value computed from draws; half of a 68 % interval
    weights: np.ndarray | None = None  # [N]   how often each term counts in the sum; once unless given

    @classmethod
    def missing(cls, why: str) -> "Score":
        """A score without a value."""
        return cls(None, notes=(why,), why=why)

    def reject(self, why: str, note: str) -> "Score":
        """The same score, not eligible.

        Args:
            why: the reason in a few words, equal for all scores that are rejected for it.
            note: the reason in detail.
        """
        if self.value is None:
            return replace(self, notes=(note, *self.notes), why=why) if self.rejected is not None else self
        return Score(None, notes=(note, *self.notes), rejected=self.value, why=why)

    @classmethod
    def of(cls, value: float, standard_error: float | None = None, notes: Sequence[str] = ()) -> "Score":
        """The score of a value; it has no value if the number is not finite."""
        if not math.isfinite(value):
            return cls.missing(f"is {value}")
        error = None if standard_error is None or not math.isfinite(standard_error) else standard_error
        return cls(value, error, notes=(*notes,))

    @classmethod
    def of_terms(cls, terms: np.ndarray, notes: Sequence[str] = (), weights: np.ndarray | None = None) -> "Score":
        """The sum of a term for each point [N], with the standard error of a sum of N independent ones.

        The term of a point of weight w, of weights [N] if given, counts as w equal terms.
        """
        if not np.all(np.isfinite(terms)):
            return cls.missing(f"{np.sum(~np.isfinite(terms))} of {len(terms)} points have no finite term")
        total = float(np.sum(terms if weights is None else terms * weights))
        return cls(total, error_of_sum(terms, weights), terms, (*notes,), weights=weights)

    @property
    def sampling_error(self) -> float | None:
        """The Monte Carlo error of the value; without terms for single points it has no other error."""
        return (self.standard_error or None) if self.terms is None else self.monte_carlo_error

    def above(self, other: "Score") -> Difference | None:
        """The difference of another score from this one, the best; None if either has no value.

        Two sums over the points are compared point by point: the standard error is that of a sum of N independent
        differences, together with the Monte Carlo errors of both, and no least difference is required. The standard
        error of two independent estimates of the evidence is the root of their summed squares. Values without an error
        give none. For the last two kinds a difference below one nat is no evidence, however precise.
        """
        if self.value is None or other.value is None:
            return None
        below = self.value - other.value
        if other is self:
            return Difference(below, None)
        if self.terms is not None and other.terms is not None:
            error = error_of_sum(self.terms - other.terms, self.weights)
            sampled = np.hypot(self.monte_carlo_error or 0.0, other.monte_carlo_error or 0.0)
            return Difference(below, None if error is None else float(np.hypot(error, sampled)), unworthy=0.0)
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
            "monte_carlo_error": self.monte_carlo_error,
            **({} if self.weights is None else {"weights": self.weights.tolist()}),
        }

    @classmethod
    def from_dict(cls, stored: dict[str, Any]) -> "Score":
        """Inverse of `to_dict`."""
        value, error, terms = stored["value"], stored["standard_error"], stored["terms"]
        rejected, why, sampled = stored["rejected"], stored["why"], stored.get("monte_carlo_error")
        weights = stored.get("weights")
        return cls(
            None if value is None else float(value),
            None if error is None else float(error),
            None if terms is None else np.asarray(terms, float),
            tuple(map(str, stored["notes"])),
            None if rejected is None else float(rejected),
            None if why is None else str(why),
            None if sampled is None else float(sampled),
            None if weights is None else np.asarray(weights, float),
        )


def error_of_sum(terms: np.ndarray, weights: np.ndarray | None = None) -> float | None:
    """Standard error of the sum of N independent terms [N]; None for a single term.

    A term of weight w, of weights [N] if given, stands for w terms of equal value.
    """
    if weights is not None:
        total = float(np.sum(weights))
        squares = np.sum(weights * (terms - np.average(terms, weights=weights)) ** 2)
        return float(np.sqrt(total * squares / (total - 1))) if total > 1 else None
    return float(np.sqrt(len(terms)) * np.std(terms, ddof=1)) if len(terms) > 1 else None


def error_of_mean(values: np.ndarray) -> float | None:
    """Half of the 68 % interval of the mean of independent values [R] by Student's t; None if it is unknown.

    Student's t, because the spread of a few values is itself uncertain: for four it is 1.2 standard errors.
    """
    count = len(values)
    if count < 2 or not np.all(np.isfinite(values)):
        return None
    return float(stdtrit(count - 1, ndtr(1.0)) * np.std(values, ddof=1) / np.sqrt(count))


def number_text(value: float | None) -> str:
    """Nats to two decimals, or a dash."""
    return "–" if value is None else f"{value:.2f}"
