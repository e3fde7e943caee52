"""The selection: the score of every K by every criterion, and the K that each criterion chooses."""

import csv
import io
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from workbench.display import PRINTED, line, page
from workbench.frames import frame_of_rows
from workbench.selection.criteria import CRITERIA, Choice
from workbench.selection.score import Difference, number_text
from workbench.table import Table
from workbench.wrapping import paragraph

SCALE = (
    "All values are in nats and the largest is best: AIC, BIC and ICL are -1/2 of the textbook's, half of mclust's; "
    "WAIC and PSIS-LOO -1/2 of the deviance's scale. The ± of a value is its Monte Carlo error, where it is computed "
    "from draws: half of a 68 % interval by Student's t. Two K are not told apart if they differ by no more than the "
    "error of their difference, or, by a criterion without a term for each point, by less than a nat."
)
SMALLEST = "The smallest component is that of the best fit, in points' worth of weight."


@dataclass(frozen=True)
class Selection:
    """The choices of one experiment, in order of K; prints as tables."""

    name: str
    setting: str  # in words: points, family, prior, climber, sampler
    choices: tuple[Choice, ...]
    prior_remark: str = ""  # whether the prior is the same for all K
    failures: dict[str, str] = field(default_factory=dict)  # the K that raised, with their errors
    waiting: tuple[int, ...] = ()  # the K that were requested but are not scored yet
    missing_remark: str = ""  # what became of rows with missing cells, if there are any

    @property
    def criteria(self) -> list[str]:
        """The names of the criteria that were asked for; of all if no K is scored yet."""
        return [name for name in CRITERIA if all(name in choice.scores for choice in self.choices)]

    def __getitem__(self, components: int) -> Choice:
        """The choice of K components.

        Raises:
            KeyError: K was not scored.
        """
        return {choice.components: choice for choice in self.choices}[components]

    def chosen(self, criterion: str) -> int | None:
        """The K that a criterion chooses: its best, if no K is left out, which might be better; else None."""
        return None if self.left_out(criterion) or self.waiting else self.best(criterion)

    def best(self, criterion: str) -> int | None:
        """The K with the highest eligible value, the smallest of equal ones; None unless two K have a value."""
        values = [(choice.scores[criterion].value, choice.components) for choice in self.choices]
        known = [(value, -components) for value, components in values if value is not None]
        return -max(known)[1] if len(known) > 1 else None

    def difference(self, criterion: str, components: int) -> Difference | None:
        """The difference of K components from the criterion's best K; None if either has no value."""
        best = self.best(criterion)
        if best is None:
            return None
        return self[best].scores[criterion].above(self[components].scores[criterion])

    def rivals(self, criterion: str) -> list[int]:
        """The K that a criterion cannot distinguish from its best, by `Difference.is_within_its_error`."""
        found = {choice.components: self.difference(criterion, choice.components) for choice in self.choices}
        return [k for k, difference in found.items() if difference is not None and difference.is_within_its_error]

    def edge(self, criterion: str) -> str | None:
        """ "most" or "fewest" if the best K is the largest or the smallest requested; K = 1 is not an edge."""
        best = self.best(criterion)
        asked = sorted({*(choice.components for choice in self.choices), *map(int, self.failures), *self.waiting})
        if best is None or best not in (asked[0], asked[-1]) or best == 1:
            return None
        return "most" if best == asked[-1] else "fewest"

    def left_out(self, criterion: str) -> dict[int, str]:
        """The K that a criterion cannot choose, and why, in a few words.

        A model for which there are too few points does not exist, and might not be better: a choice goes on without it.
        """
        scores = {choice.components: choice.scores[criterion] for choice in self.choices if not choice.impossible}
        computed = [k for k, score in scores.items() if score.value is not None or score.rejected is not None]
        return {k: str(score.why) for k, score in scores.items() if computed and score.value is None}

    @property
    def reading(self) -> str:
        """The K that each criterion chooses, those it cannot distinguish from it, and those it could not judge."""
        decided: list[str] = []
        undecided: list[str] = []
        for name in self.criteria:
            best = self.best(name)
            if best is not None:
                asides = "; ".join(self._asides(name))
                text = f"{short(CRITERIA[name].heading)} {best}" + (f" ({asides})" if asides else "")
                (undecided if self.chosen(name) is None else decided).append(text)
        chosen = f"Components chosen: {', '.join(decided)}." if decided else "No criterion has chosen."
        if undecided:
            chosen += (
                f" No choice, because some K could not be judged; the highest of the others: {', '.join(undecided)}."
            )
        more = any(self.edge(name) == "most" for name in self.criteria)
        last = "Where the choice is the most asked, ask for more." if more else ""
        left = f"Not scored yet: K = {listed(list(self.waiting))}; the same command goes on." if self.waiting else ""
        return " ".join(filter(None, [chosen, self.impossible, self.exclusions, last, left]))

    def _asides(self, criterion: str) -> list[str]:
        """Remarks on a choice: its rivals, an edge of the range, and the K that it was made among."""
        rivals, edge, out = self.rivals(criterion), self.edge(criterion), self.left_out(criterion)
        among = [k for k in (choice.components for choice in self.choices) if k not in out]
        texts = {
            f"not told from {listed(rivals)}": bool(rivals),
            f"the {edge} asked": edge is not None,
            f"among {listed(among)}": bool(out),
        }
        return [text for text, holds in texts.items() if holds]

    @property
    def impossible(self) -> str:
        """The K for which there are too few points; empty if there are none."""
        none = {choice.components: choice.impossible for choice in self.choices if choice.impossible}
        first = next(iter(none.values()), "")
        return f"No such model: K = {listed(none)} ({first})." if none else ""

    @property
    def exclusions(self) -> str:
        """The criteria that could not choose some K, by reason; empty if there are none."""
        reasons: dict[str, dict[tuple[int, ...], list[str]]] = {}
        for name in self.criteria:
            out = self.left_out(name)
            for why in dict.fromkeys(out.values()):
                ks = tuple(k for k, reason in out.items() if reason == why)
                reasons.setdefault(why, {}).setdefault(ks, []).append(short(CRITERIA[name].heading))
        parts = [
            f"{', '.join(names)} at K = {listed(ks)} ({why})"
            for why, places in reasons.items()
            for ks, names in places.items()
        ]
        return f"Left out, as not eligible: {'; '.join(parts)}." if parts else ""

    @property
    def notes(self) -> list[str]:
        """Warnings and reasons, each once for all the criteria and K that it concerns."""
        places: dict[str, dict[str, list[int]]] = {}
        for choice in self.choices:
            for name, score in choice.scores.items() if not choice.impossible else ():
                for note in score.notes:
                    places.setdefault(note, {}).setdefault(CRITERIA[name].heading, []).append(choice.components)
        lines = []
        for note, found in places.items():
            of = sorted({k for ks in found.values() for k in ks})
            lines.append(f"{', '.join(found)}, K = {', '.join(map(str, of))}: {note}.")
        stale = [f"K = {c.components} is STALE: other code scored it ({c.stale})." for c in self.choices if c.stale]
        return stale + lines + [f"K = {k} failed: {why}." for k, why in self.failures.items()]

    @property
    def values(self) -> Table:
        """The table of values, with their Monte Carlo errors.

        The K that a criterion chooses has a star, and the highest of those it could judge a ring if some are left out.
        """
        first = [
            [
                str(c.components),
                str(c.parameters),
                number_text(c.log_likelihood),
                "–" if c.smallest is None else f"{c.smallest:.1f}",
            ]
            for c in self.choices
        ]
        heads = ["K", "parameters", "log L", "smallest component", *self._headings]
        return Table.of_lines(heads, self._columns(first, self._value))

    @property
    def differences(self) -> Table:
        """The table of nats below the best K, with the standard error of the difference if there is one."""
        first = [[str(choice.components)] for choice in self.choices]
        return Table.of_lines(["K", *self._headings], self._columns(first, self._below))

    @property
    def _shown(self) -> list[str]:
        """The criteria that have a number for some K; all if none has."""
        scores = {name: [choice.scores[name] for choice in self.choices] for name in self.criteria}
        known = [name for name, of in scores.items() if any(s.value is not None or s.rejected is not None for s in of)]
        return known or self.criteria

    @property
    def _headings(self) -> list[str]:
        return [CRITERIA[name].heading for name in self._shown]

    @property
    def remarks(self) -> list[str]:
        """What to know of all values: rows with missing cells, the scale, and the prior."""
        return [text for text in (self.missing_remark, f"{SCALE} {SMALLEST}", self.prior_remark) if text]

    def _columns(self, first: list[list[str]], cell: Callable[[str, Choice], str]) -> list[list[str]]:
        return [
            [*begin, *(cell(name, choice) for name in self._shown)]
            for begin, choice in zip(first, self.choices, strict=True)
        ]

    def _value(self, name: str, choice: Choice) -> str:
        score = choice.scores[name]
        text = number_text(score.value)
        if score.value is not None and (error := score.sampling_error) is not None:
            text += f" ± {number_text(error)}"
        mark = "*" if self.chosen(name) is not None else "°"
        return f"{text} {mark}" if self.best(name) == choice.components else text

    def _below(self, name: str, choice: Choice) -> str:
        found = self.difference(name, choice.components)
        return "–" if found is None else str(found)

    def __str__(self) -> str:
        below = "Nats below the best K, ± the standard error of the difference:"
        title = f"{self.name}: {self.setting}" if self.name else self.setting
        words = map(paragraph, [*self.remarks, *self.notes, self.reading])
        return "\n".join([paragraph(title), str(self.values), "", below, str(self.differences), "", *words])

    def __repr__(self) -> str:
        """The K that were scored and the best by each criterion, on one line."""
        best = [f"{short(CRITERIA[name].heading)} {self.best(name)}" for name in self.criteria if self.best(name)]
        scored = f"K = {listed([choice.components for choice in self.choices])}"
        return line("Selection", self.name, scored, f"best: {', '.join(best) or 'none'}", PRINTED)

    def to_dict(self) -> dict[str, Any]:
        """Plain values: a list `choices`, and the K that each criterion chooses, without the terms of single points."""
        return {
            "experiment": self.name,
            "setting": self.setting,
            "reading": self.reading,
            "prior": self.prior_remark,
            "missing_cells": self.missing_remark,
            "best": {name: self.chosen(name) for name in self.criteria},
            "highest_eligible": {name: self.best(name) for name in self.criteria},
            "edge": {name: self.edge(name) for name in self.criteria},
            "choices": [self._plain(choice) for choice in self.choices],
            "failures": self.failures,
        }

    def to_json(self) -> str:
        """`to_dict` on one line."""
        return json.dumps(self.to_dict(), allow_nan=False)

    def _repr_html_(self) -> str:
        below = "Nats below the best K, ± the standard error of the difference:"
        return page(self.values, below, self.differences, " ".join([*self.remarks, *self.notes, self.reading]))

    def to_dataframe(self) -> Any:
        """A row for each K and criterion, with the columns of `to_csv`; pandas, polars or Arrow."""
        return frame_of_rows(self._rows, _COLUMNS)

    def to_csv(self) -> str:
        """CSV with a header and a row for each K and criterion."""
        out = io.StringIO()
        writer = csv.DictWriter(out, _COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(self._rows)
        return out.getvalue()

    @property
    def _rows(self) -> list[dict[str, Any]]:
        return [
            {"experiment": self.name, **choice, "criterion": name, **score, "notes": "; ".join(notes)}
            for choice in self.to_dict()["choices"]
            for scores in [choice.pop("scores")]
            for name, score in scores.items()
            for notes in [score.pop("notes")]
        ]

    def _plain(self, choice: Choice) -> dict[str, Any]:
        stored = choice.to_dict() | {"stale": choice.stale}
        for name, score in stored["scores"].items():
            del score["terms"]
            score.pop("weights", None)
            found = self.difference(name, choice.components)
            score["below_best"] = None if found is None else found.below
            score["difference_standard_error"] = None if found is None else found.standard_error
        return stored


# The columns of CSV and of data frames.
_COLUMNS = (
    "experiment", "components", "parameters", "log_likelihood", "smallest_component", "impossible", "stale",
    "criterion", "value", "standard_error", "monte_carlo_error", "below_best", "difference_standard_error", "rejected",
    "why", "notes",
)  # fmt: skip


def short(heading: str) -> str:
    """A criterion's heading without its scale."""
    return heading.removesuffix(" / -2")


def listed(numbers: Iterable[int]) -> str:
    """Numbers separated by commas."""
    return ", ".join(map(str, numbers))
