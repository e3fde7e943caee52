"""The grid of components and covariance families: every criterion over both, as in mclust."""

import csv
import io
import json
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from workbench.display import PRINTED, line, page
from workbench.selection.criteria import CRITERIA
from workbench.selection.score import Difference, Score, number_text
from workbench.selection.selection import SMALLEST, Selection, short
from workbench.table import Table
from workbench.wrapping import paragraph

PARAMETERS = "Free parameters"


class Cell(NamedTuple):
    """One model: a covariance family and a number of components."""

    covariance: str
    components: int

    def __str__(self) -> str:
        return f"{self.covariance} {self.components}"


@dataclass(frozen=True)
class FamilySelection:
    """The selections of one experiment under several covariance families; prints as a table for each criterion."""

    name: str
    families: dict[str, Selection]  # by covariance family, in the order requested
    refused: dict[str, str] = field(default_factory=dict)  # the families that do not suit, with the reasons

    @property
    def criteria(self) -> list[str]:
        """The names of the criteria that were asked for."""
        return [name for name in CRITERIA if all(name in each.criteria for each in self.families.values())]

    def __getitem__(self, covariance: str) -> Selection:
        """The selection of one family."""
        return self.families[covariance]

    def scores(self, criterion: str) -> dict[Cell, Score]:
        """The score of every model, family by family."""
        return {
            Cell(covariance, choice.components): choice.scores[criterion]
            for covariance, selection in self.families.items()
            for choice in selection.choices
        }

    def chosen(self, criterion: str) -> Cell | None:
        """The model that a criterion chooses: its best, if no model is left out, which might be better; else None."""
        out = any(each.left_out(criterion) or each.waiting for each in self.families.values())
        return None if out else self.best(criterion)

    def best(self, criterion: str) -> Cell | None:
        """The model with the highest eligible value, of equal ones the smallest K; None unless two have a value."""
        known = [
            (score.value, -cell.components, cell)
            for cell, score in self.scores(criterion).items()
            if score.value is not None
        ]
        return max(known, key=lambda entry: entry[:2])[2] if len(known) > 1 else None

    def difference(self, criterion: str, cell: Cell) -> Difference | None:
        """The difference of a model from the criterion's best; None if either has no value."""
        best, scores = self.best(criterion), self.scores(criterion)
        return None if best is None else scores[best].above(scores[cell])

    def rivals(self, criterion: str) -> list[Cell]:
        """The models that a criterion cannot distinguish from its best, by `Difference.is_within_its_error`."""
        found = {cell: self.difference(criterion, cell) for cell in self.scores(criterion)}
        return [cell for cell, d in found.items() if d is not None and d.is_within_its_error]

    def edge(self, criterion: str) -> str | None:
        """ "most" or "fewest" if the best model has the most or the fewest components requested, otherwise None."""
        best = self.best(criterion)
        asked = sorted({cell.components for cell in self.scores(criterion)})
        if best is None or best.components == 1 or best.components not in (asked[0], asked[-1]):
            return None
        return "most" if best.components == asked[-1] else "fewest"

    @property
    def failures(self) -> dict[str, str]:
        """The models that raised, with their errors."""
        return {
            f"{covariance} {k}": why
            for covariance, selection in self.families.items()
            for k, why in selection.failures.items()
        }

    @property
    def reading(self) -> str:
        """The family and K that each criterion chooses, those it cannot distinguish from it, and those not judged."""
        decided: list[str] = []
        undecided: list[str] = []
        for name in self.criteria:
            best, rivals, edge = self.best(name), self.rivals(name), self.edge(name)
            if best is not None:
                asides = [f"not told from {', '.join(map(str, rivals))}"] if rivals else []
                asides += [f"the {edge} components asked"] if edge else []
                remarks = f" ({'; '.join(asides)})" if asides else ""
                text = f"{short(CRITERIA[name].heading)} {best}{remarks}"
                (undecided if self.chosen(name) is None else decided).append(text)
        chosen = f"Family and components chosen: {', '.join(decided)}." if decided else "No criterion has chosen."
        if undecided:
            chosen += (
                f" No choice, because some could not be judged; the highest of the others: {', '.join(undecided)}."
            )
        last = ["Where the choice is the most asked, ask for more."] if "most" in map(self.edge, self.criteria) else []
        waiting = [f"{of} {', '.join(map(str, each.waiting))}" for of, each in self.families.items() if each.waiting]
        left = [f"Not scored yet: K = {'; '.join(waiting)}; the same command goes on."] if waiting else []
        refused = "; ".join(f"{of} ({why.rstrip('.')})" for of, why in self.refused.items())
        none = [f"Refused, and so not in the choice: {refused}."] if refused else []
        return " ".join([chosen, *none, *self._exclusions(), *last, *left])

    def _exclusions(self) -> list[str]:
        """What each family leaves out; families that leave out the same share a sentence."""
        families: dict[str, list[str]] = {}
        for of, selection in self.families.items():
            families.setdefault(selection.exclusions, []).append(of)
        told = [f"{', '.join(of).capitalize()}: {text[0].lower()}{text[1:]}" for text, of in families.items() if text]
        none = [(of, each.impossible) for of, each in self.families.items() if each.impossible]
        return [f"{of.capitalize()}: {text[0].lower()}{text[1:]}" for of, text in none] + told

    def table(self, criterion: str) -> Table:
        """A table with a row for each K and a column for each family; the chosen value is starred."""
        scores, best = self.scores(criterion), self.best(criterion)
        mark = "*" if self.chosen(criterion) is not None else "°"

        def text(cell: Cell) -> str:
            value = number_text(scores[cell].value)
            return f"{value} {mark}" if cell == best else value

        return self._over_cells({cell: text(cell) for cell in scores})

    @property
    def parameters(self) -> Table:
        """The numbers of free parameters, with a row for each K and a column for each family."""
        each = ((of, choice) for of, selection in self.families.items() for choice in selection.choices)
        return self._over_cells({Cell(of, choice.components): str(choice.parameters) for of, choice in each})

    def _over_cells(self, texts: dict[Cell, str]) -> Table:
        asked = sorted({cell.components for cell in texts})
        lines = [[str(k), *(texts.get(Cell(family, k), "–") for family in self.families)] for k in asked]
        return Table.of_lines(["K", *self.families], lines)

    @property
    def remarks(self) -> list[str]:
        """Remarks on all values, each once; no table has the smallest components."""
        every = (text for selection in self.families.values() for text in selection.remarks)
        return list(dict.fromkeys(text.removesuffix(SMALLEST).rstrip() for text in every))

    @property
    def notes(self) -> list[str]:
        """Warnings and reasons, family by family."""
        return [f"{of}: {note}" for of, selection in self.families.items() for note in selection.notes]

    def __str__(self) -> str:
        titles = [f"{self.name}, {of}: {selection.setting}" for of, selection in self.families.items()]
        known = [
            name
            for name in self.criteria
            if any(s.value is not None or s.rejected is not None for s in self.scores(name).values())
        ]
        tables = [part for n in known or self.criteria for part in (f"\n{CRITERIA[n].heading}:", str(self.table(n)))]
        tables += [f"\n{PARAMETERS}:", str(self.parameters)]
        words = map(paragraph, [*self.remarks, *self.notes, self.reading])
        return "\n".join([*map(paragraph, titles), *tables, "", *words])

    def __repr__(self) -> str:
        """The families and the best model by each criterion, on one line."""
        best = [f"{short(CRITERIA[name].heading)} {self.best(name)}" for name in self.criteria if self.best(name)]
        return line(
            "FamilySelection", self.name, ", ".join(self.families), f"best: {', '.join(best) or 'none'}", PRINTED
        )

    def to_dict(self) -> dict[str, Any]:
        """Plain values: what each criterion chooses, and the selection of each family."""
        best = {name: self.chosen(name) for name in self.criteria}
        return {
            "experiment": self.name,
            "reading": self.reading,
            "best": {name: None if cell is None else cell._asdict() for name, cell in best.items()},
            "edge": {name: self.edge(name) for name in self.criteria},
            "refused": self.refused,
            "families": {of: selection.to_dict() for of, selection in self.families.items()},
        }

    def to_json(self) -> str:
        """`to_dict` on one line."""
        return json.dumps(self.to_dict(), allow_nan=False)

    def _repr_html_(self) -> str:
        tables = [part for n in self.criteria if self.scores(n) for part in (CRITERIA[n].heading, self.table(n))]
        tables += [PARAMETERS, self.parameters] if tables else []
        return page(*tables, " ".join([*self.remarks, *self.notes, self.reading]))

    def to_csv(self) -> str:
        """CSV with a row for each family, K and criterion; differences are from the best of the whole grid."""
        out = io.StringIO()
        rows = []
        for of, selection in self.families.items():
            for row in csv.DictReader(io.StringIO(selection.to_csv())):
                found = self.difference(row["criterion"], Cell(of, int(row["components"])))
                row["below_best"] = "" if found is None else str(found.below)
                error = None if found is None else found.standard_error
                row["difference_standard_error"] = "" if error is None else str(error)
                rows.append({"covariance": of, **row})
        writer = csv.DictWriter(out, list(rows[0]) if rows else ["covariance"], lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        return out.getvalue()
