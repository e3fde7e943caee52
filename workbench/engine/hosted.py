"""The points of a problem as they are seen outside compiled programs: on the host, with their names and weights."""

from copy import copy
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from workbench.data import Tie, ties_of
from workbench.data.described import classes_text, described
from workbench.data.known import UNKNOWN, Known
from workbench.data.moments import Weights
from workbench.data.observed import USE_DROP, MissingCells, Observed
from workbench.data.weights import check_whole
from workbench.engine.incomplete import IncompleteRows
from workbench.engine.known import KnownRows
from workbench.engine.rows import Rows
from workbench.errors import InputError

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Hosted:
    """What has `rows` and, outside compiled programs, the points that they were made from."""

    rows: Rows

    @property
    def x(self) -> "NDArray[np.float64]":
        """The points in the data's units, on the host; NaN where a cell is missing. [N, D]

        Raises:
            TypeError: inside a compiled program, where only `rows` is available.
        """
        return self._on_host("x").x

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the D columns; none if they were not named, or inside a compiled program."""
        data: Observed | None = getattr(self, "_data", None)
        return () if data is None else data.columns

    @property
    def units(self) -> str:
        """Units of the columns, in words, as the `Dataset` has them; empty for other points."""
        data: Observed | None = getattr(self, "_data", None)
        return "" if data is None else data.units

    @property
    def classes(self) -> "NDArray[np.str_] | None":
        """The labels of the rows of `x` in the `Dataset` that they came with, by which answers are judged. [N]"""
        data: Observed | None = getattr(self, "_data", None)
        return None if data is None else data.classes

    @property
    def weights(self) -> "Weights | None":
        """How often each row of `x` counts; None if each counts once, and inside a compiled program. [N]"""
        data: Observed | None = getattr(self, "_data", None)
        return None if data is None else data.weights

    @property
    def known(self) -> Known | None:
        """The components of rows of `x`, if some are known; None otherwise, and inside a compiled program."""
        data: Observed | None = getattr(self, "_data", None)
        return None if data is None else data.known

    @property
    def is_partly_known(self) -> bool:
        """Whether the components of some rows are known, also inside a compiled program."""
        return isinstance(self.rows, KnownRows | IncompleteRows) and self.rows.known is not None

    @property
    def told(self) -> dict[str, str]:
        """What is set of the points beside their values, in words; nothing inside a compiled program."""
        data: Observed | None = getattr(self, "_data", None)
        if data is None:
            return {}
        told = described(data.x, data.weights, self.missing, data.dropped)
        told |= {} if data.known is None else {"known components": data.known.told()}
        return told | ({} if data.classes is None else {"classes": classes_text(data.classes)})

    def described(self, units: str, dropped: int, classes: "NDArray[np.str_] | None") -> Self:
        """The same problem with what a `Dataset` says of its points beside their values."""
        told = copy(self)
        data = self._on_host("described")._replace(units=units, dropped=dropped, classes=classes)
        object.__setattr__(told, "_data", data)
        return told

    def _on_host(self, what: str) -> Observed:
        """The data on the host, of which something is wanted."""
        data: Observed | None = getattr(self, "_data", None)
        if data is None:
            raise TypeError(f"{what}: a compiled program sees the points as rows only")
        return data

    def observations(self, who: str) -> "NDArray[np.float64]":
        """The points, each as often as it counts, which `who` needs. [N, D]

        Raises:
            InputError: a weight is not whole, a cell is missing, or components are known.
        """
        if self.is_partly_known:
            raise InputError(f"label_known: {who} cannot use known components; leave label_known out")
        return self.labelled_observations(who)[0]

    def labelled_observations(self, who: str) -> "tuple[NDArray[np.float64], NDArray[np.int64]]":
        """The points, each as often as it counts, which `who` needs, and their components. [N, D], [N]

        A component that is not known is -1.

        Raises:
            InputError: a weight is not whole, or a cell is missing.
        """
        if self.missing == "marginal":
            raise InputError(f"missing: {who} needs every cell; {USE_DROP}")
        check_whole(self.weights, who)
        known = np.full(len(self.x), UNKNOWN) if self.known is None else self.known.components
        if self.weights is None:
            return self.x, known
        often = self.weights.astype(int)
        return np.repeat(self.x, often, axis=0), np.repeat(known, often)

    @property
    def missing(self) -> MissingCells:
        """Whether cells of `x` are missing and marginalised ("marginal"), or none may be ("refuse")."""
        return "marginal" if isinstance(self.rows, IncompleteRows) else "refuse"

    @property
    def dropped(self) -> int:
        """The number of rows that its `Dataset` left out because a cell is missing."""
        return self._on_host("dropped").dropped

    @property
    def comparable(self) -> "tuple[NDArray[np.float64], Weights | None]":
        """The rows of `sample` whose values are all their own, and their weights: completed cells are no ties."""
        if self.missing == "marginal":
            return self.x, self.weights
        return self.sample, self.sample_weights

    @property
    def ties(self) -> tuple[Tie, ...]:
        """The most frequent row and the most frequent value of each column, if they occur more than once.

        They are determined at the first use, which must be outside compiled programs.
        """
        ties: tuple[Tie, ...] | None = getattr(self, "_ties", None)
        if ties is None:
            ties = ties_of(self.x, self.weights)
            object.__setattr__(self, "_ties", ties)
        return ties

    @property
    def sample(self) -> "NDArray[np.float64]":
        """The points used for starts and figures: all, or an evenly spaced sample if they are streamed. [N', D]

        Missing cells are completed by their means given the row's others, under one Gaussian for all rows.
        """
        completed = self._on_host("sample").completed if self.missing == "marginal" else None
        if completed is not None:
            return completed
        if self.rows.stream is None:
            return self.x
        return np.asarray(self.rows.at(np.arange(self.rows.num_resident)))  # type: ignore[arg-type]

    @property
    def sample_weights(self) -> "Weights | None":
        """How often each row of `sample` counts; None if each counts once. [N']"""
        return None if self.rows.weights is None else np.asarray(self.rows.each_weight, np.float64)

    @property
    def dtype(self) -> np.dtype[Any]:
        """The dtype of the computation: float64 if it is switched on."""
        return self.rows.dtype

    @property
    def num_points(self) -> int:
        """N: the number of rows, or the sum of their weights."""
        return self.rows.num_points

    @property
    def num_rows(self) -> int:
        """The number of rows: N, unless they have weights."""
        return self.rows.num_rows

    @property
    def num_dimensions(self) -> int:
        """D."""
        return int(self.rows.shift.shape[-1])
