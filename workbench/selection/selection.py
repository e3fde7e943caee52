"""The selection: what every criterion says of every K, side by side, and which K each would choose."""

import csv
import io
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from workbench.selection.criteria import CRITERIA
from workbench.selection.score import Score, error_of_sum
from workbench.studies.table import StudyTable

SCALE = (
    "All values are in nats and the largest is best: AIC, BIC and ICL are -1/2 of the textbook's, half of mclust's; "
    "WAIC and PSIS-LOO -1/2 of the deviance's scale."
)


class Difference(NamedTuple):
    """How far a K is below the best one of a criterion, in nats, and the standard error of that."""

    below: float
    standard_error: float | None


@dataclass(frozen=True)
class Choice:
    """One K: what was fitted and how every criterion scores it."""

    components: int
    parameters: int  # free ones
    log_likelihood: float | None  # of the best sound fit
    scores: dict[str, Score]

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


@dataclass(frozen=True)
class Selection:
    """Every K of one experiment, in order; prints as tables."""

    name: str
    setting: str  # in words: points, family, prior, climber, sampler
    choices: tuple[Choice, ...]
    failures: dict[str, str] = field(default_factory=dict)  # K that raised, and what

    def __getitem__(self, components: int) -> Choice:
        """The choice of K components.

        Raises:
            KeyError: K was not looked at.
        """
        return {choice.components: choice for choice in self.choices}[components]

    def best(self, criterion: str) -> int | None:
        """The K that a criterion chooses, the fewest of equal ones; None unless it has two to choose from."""
        values = [(choice.scores[criterion].value, choice.components) for choice in self.choices]
        known = [(value, -components) for value, components in values if value is not None]
        return -max(known)[1] if len(known) > 1 else None

    def difference(self, criterion: str, components: int) -> Difference | None:
        """How far K components are below the criterion's best K; None where either has no value.

        Two sums over the points are told apart point by point: the standard error is that of the sum of N independent
        differences. Two independent estimates have the root of their summed squares, and values without an error none.
        """
        best = self.best(criterion)
        if best is None:
            return None
        top, own = self[best].scores[criterion], self[components].scores[criterion]
        if top.value is None or own.value is None:
            return None
        below = top.value - own.value
        if best == components:
            return Difference(below, None)
        if top.terms is not None and own.terms is not None:
            return Difference(below, error_of_sum(top.terms - own.terms))
        if top.standard_error is None or own.standard_error is None:
            return Difference(below, None)
        return Difference(below, float(np.hypot(top.standard_error, own.standard_error)))

    def rivals(self, criterion: str) -> list[int]:
        """The K that a criterion puts below its best by no more than one standard error of the difference."""
        found = {choice.components: self.difference(criterion, choice.components) for choice in self.choices}
        return [k for k, d in found.items() if d is not None and d.standard_error and d.below <= d.standard_error]

    @property
    def reading(self) -> str:
        """Which K each criterion chooses, and which others it cannot tell from that."""
        parts = []
        for name, criterion in CRITERIA.items():
            best, rivals = self.best(name), self.rivals(name)
            if best is not None:
                others = f" (not told from {', '.join(map(str, rivals))})" if rivals else ""
                parts.append(f"{criterion.heading.removesuffix(' / -2')} {best}{others}")
        return f"Components chosen: {', '.join(parts)}." if parts else "No criterion has two K to choose from."

    @property
    def notes(self) -> list[str]:
        """Warnings and reasons, each told once for all the criteria and K that it holds of."""
        places: dict[str, dict[str, list[int]]] = {}
        for choice in self.choices:
            for name, score in choice.scores.items():
                for note in score.notes:
                    places.setdefault(note, {}).setdefault(CRITERIA[name].heading, []).append(choice.components)
        lines = []
        for note, found in places.items():
            of = sorted({k for ks in found.values() for k in ks})
            lines.append(f"{', '.join(found)}, K = {', '.join(map(str, of))}: {note}.")
        return lines + [f"K = {k} failed: {why}." for k, why in self.failures.items()]

    @property
    def values(self) -> StudyTable:
        """The table of values, the best of each column starred, with its standard error where it has one."""
        first = [[str(c.components), str(c.parameters), _number(c.log_likelihood)] for c in self.choices]
        return StudyTable(["K", "parameters", "log L", *_headings()], self._columns(first, self._value), 0)

    @property
    def differences(self) -> StudyTable:
        """The table of nats below the best K, with the standard error of the difference where there is one."""
        first = [[str(choice.components)] for choice in self.choices]
        return StudyTable(["K", *_headings()], self._columns(first, self._below), 0)

    def _columns(self, first: list[list[str]], cell: Callable[[str, Choice], str]) -> list[list[str]]:
        return [
            [*begin, *(cell(name, choice) for name in CRITERIA)]
            for begin, choice in zip(first, self.choices, strict=True)
        ]

    def _value(self, name: str, choice: Choice) -> str:
        text = _number(choice.scores[name].value)
        return f"{text} *" if self.best(name) == choice.components else text

    def _below(self, name: str, choice: Choice) -> str:
        found = self.difference(name, choice.components)
        if found is None:
            return "–"
        return _number(found.below) + ("" if found.standard_error is None else f" ± {_number(found.standard_error)}")

    def __str__(self) -> str:
        below = "Nats below the best K, ± the standard error of the difference:"
        title = f"{self.name}: {self.setting}" if self.name else self.setting
        lines = [title, self.values, "", below, self.differences, "", SCALE, *self.notes, self.reading]
        return "\n".join(map(str, lines))

    def __repr__(self) -> str:
        return str(self)

    def to_dict(self) -> dict[str, Any]:
        """Plain values: a list `choices`, and the K that each criterion chooses; without the terms of single points."""
        return {
            "experiment": self.name,
            "setting": self.setting,
            "reading": self.reading,
            "best": {name: self.best(name) for name in CRITERIA},
            "choices": [self._plain(choice) for choice in self.choices],
            "failures": self.failures,
        }

    def to_json(self) -> str:
        """`to_dict` on one line."""
        return json.dumps(self.to_dict(), allow_nan=False)

    def to_csv(self) -> str:
        """One row for each K and criterion, headed."""
        out = io.StringIO()
        names = ["experiment", "components", "parameters", "log_likelihood", "criterion", "value", "standard_error"]
        writer = csv.DictWriter(out, [*names, "below_best", "difference_standard_error", "notes"], lineterminator="\n")
        writer.writeheader()
        for choice in self.to_dict()["choices"]:
            scores = choice.pop("scores")
            for name, score in scores.items():
                notes = "; ".join(score.pop("notes"))
                writer.writerow({"experiment": self.name, **choice, "criterion": name, **score, "notes": notes})
        return out.getvalue()

    def _plain(self, choice: Choice) -> dict[str, Any]:
        stored = choice.to_dict()
        for name, score in stored["scores"].items():
            del score["terms"]
            found = self.difference(name, choice.components)
            score["below_best"] = None if found is None else found.below
            score["difference_standard_error"] = None if found is None else found.standard_error
        return stored


def _headings() -> list[str]:
    return [criterion.heading for criterion in CRITERIA.values()]


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"
