"""What a study is: a frozen config that measures one thing over a grid of cells, and the rows that it finds."""

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, ClassVar

import numpy as np
from pydantic import Field

from workbench.config import Config
from workbench.engine.precision import USUAL, precision_note

Value = bool | int | float | str | None | list[Any]  # what JSON can hold; None where there is no number
Row = dict[str, Value]  # flat


class Study(Config, ABC):
    """A frozen, validated config. It round-trips through TOML, and what it finds depends on nothing else.

    Where an experiment compares methods on one problem, a study asks one question of many: how something changes
    over a grid of problems, coordinates or step sizes. Its cells are measured one by one, kept as they are
    finished, and not measured again.
    """

    summary: ClassVar[str]
    shown: ClassVar[tuple[str, ...]] = ()  # columns of the table that is printed; all single values unless given
    study: str
    seed: Annotated[int, Field(ge=0, le=2**32 - 1)] = Field(0, description="root seed of data, starts and methods")

    @abstractmethod
    def cells(self) -> Sequence[Row]:
        """The coordinates of every cell, in the order in which they are measured; cheap."""

    @abstractmethod
    def measure(self, cell: Row, folder: Path) -> list[Row]:
        """What is found in one cell, a function of the config and the cell alone.

        Args:
            cell: one of `cells()`. The runner adds its coordinates to every row.
            folder: what the relative paths of data files are relative to.
        """

    def tabulated(self, rows: list[Row]) -> list[Row]:
        """The rows of the table that is printed; those of all cells, unless a study sums them up."""
        return rows

    def resolved(self) -> dict[str, Any]:
        """Every setting, given or default, as TOML can hold it: what is unset is left out."""
        return dict(self.model_dump(mode="json", exclude_none=True))


@dataclass(frozen=True)
class Findings:
    """The rows of a study, of all its cells or of some."""

    study: Study
    rows: list[Row]
    dtype: str = USUAL  # of the numbers
    stale: str | None = None  # what other code made rows, if any did
    lost: str | None = None  # how many cells have no rows, and why, if any

    @property
    def note(self) -> str:
        """What to know of the numbers besides their values; empty where that is nothing."""
        stale = None if self.stale is None else f"Beware: rows are STALE: other code made them ({self.stale})."
        lost = None if self.lost is None else f"Beware: cells are left out: {self.lost}."
        return " ".join(filter(None, [precision_note(self.dtype), stale, lost]))

    def column(self, name: str) -> np.ndarray:
        """The values of one column, as an array; NaN where a number is missing. [rows]

        Raises:
            KeyError: a row has no such column.
        """
        return np.asarray([math.nan if row[name] is None else row[name] for row in self.rows])

    def where(self, **coordinates: Value) -> "Findings":
        """The rows that have these values."""
        kept = [row for row in self.rows if all(row.get(name) == value for name, value in coordinates.items())]
        return replace(self, rows=kept)

    def values(self, name: str) -> list[Any]:
        """The distinct values of a column, in the order in which they first occur."""
        return list(dict.fromkeys(row[name] for row in self.rows if name in row))
