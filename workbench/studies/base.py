"""The interface of studies: a frozen config that measures one thing over a grid of cells, and its rows."""

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, ClassVar

import numpy as np
from pydantic import Field

from workbench.config import Config
from workbench.display import PRINTED, line, page
from workbench.engine.devices import USUAL, precision_note
from workbench.frames import frame_of_rows
from workbench.table import Table

Value = bool | int | float | str | None | list[Any]  # what JSON can hold; None where there is no number
Row = dict[str, Value]  # flat


# Most rows that are printed; all are stored.
MOST_LINES = 60


class Study(Config, ABC):
    """A frozen, validated config. It round-trips through TOML, and the results depend on nothing else.

    An experiment compares methods on one problem. A study measures how one thing changes over a grid of problems,
    coordinates or step sizes. Its cells are measured one by one, stored when they are finished, and not measured again.
    """

    summary: ClassVar[str]
    shown: ClassVar[tuple[str, ...]] = ()  # columns of the table that is printed; all single values unless given
    study: str = Field(description="name of the study")
    seed: Annotated[int, Field(ge=0, le=2**32 - 1)] = Field(0, description="root seed of data, starts and methods")

    @abstractmethod
    def cells(self) -> Sequence[Row]:
        """The coordinates of every cell, in the order in which they are measured; cheap."""

    @abstractmethod
    def measure(self, cell: Row, folder: Path) -> list[Row]:
        """The rows of one cell, which depend on nothing but the config and the cell.

        Args:
            cell: one of `cells()`. The runner adds its coordinates to every row.
            folder: the folder to which paths of data files are relative.
        """

    def tabulated(self, rows: list[Row]) -> list[Row]:
        """The rows of the printed table: those of all cells, unless a study summarises them."""
        return rows

    def resolved(self) -> dict[str, Any]:
        """All settings, given or default, as TOML can hold them; settings that are None are left out."""
        return dict(self.model_dump(mode="json", exclude_none=True))


@dataclass(frozen=True)
class Findings:
    """The rows of all cells of a study, or of some."""

    study: Study
    rows: list[Row]
    dtype: str = USUAL  # of the numbers
    stale: str | None = None  # the code that made rows, where it is not the present one
    lost: str | None = None  # the number of cells without rows, and the reason; None if there are none

    @property
    def note(self) -> str:
        """A note on the numbers (their precision, stale or missing rows); empty if there is nothing to note."""
        stale = None if self.stale is None else f"Beware: rows are STALE: other code made them ({self.stale})."
        lost = None if self.lost is None else f"Beware: cells are left out: {self.lost}."
        return " ".join(filter(None, [precision_note(self.dtype), stale, lost]))

    @property
    def table(self) -> Table:
        """The rows that the study shows, without columns of arrays."""
        rows = self.study.tabulated(self.rows)
        names = self.study.shown or tuple(
            dict.fromkeys(name for row in rows for name, value in row.items() if not isinstance(value, list))
        )
        headings = {name: name.replace("_", " ") for name in names}
        return Table(tuple(names), tuple(rows), note=self.note, headings=headings, most=MOST_LINES)

    def __str__(self) -> str:
        return f"{self.study.study}\n{self.table}"

    def __repr__(self) -> str:
        return line("Findings", f"{self.study.study}: {len(self.rows)} rows", self.note, PRINTED)

    def _repr_html_(self) -> str:
        return page(self.study.study, self.table, self.note)

    def to_dataframe(self) -> Any:
        """A row for each row of a cell, with all columns; pandas, polars or Arrow."""
        return frame_of_rows(self.rows, list(dict.fromkeys(name for row in self.rows for name in row)))

    def column(self, name: str) -> np.ndarray:
        """The values of one column, as an array; NaN where a number is missing. [rows]

        Raises:
            KeyError: a row has no such column.
        """
        return np.asarray([math.nan if row[name] is None else row[name] for row in self.rows])

    def where(self, **coordinates: Value) -> "Findings":
        """The rows with these values."""
        kept = [row for row in self.rows if all(row.get(name) == value for name, value in coordinates.items())]
        return replace(self, rows=kept)

    def values(self, name: str) -> list[Any]:
        """The distinct values of a column, in the order in which they first occur."""
        return list(dict.fromkeys(row[name] for row in self.rows if name in row))
