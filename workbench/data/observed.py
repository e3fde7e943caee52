"""The points of a problem: checked, with names, weights and moments, and completed where cells are missing."""

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple, TypeAlias, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from workbench.data.dataset import Dataset
from workbench.data.incomplete import check_incomplete, check_pairs, completed_by_gaussian, has_missing
from workbench.data.known import Known
from workbench.data.moments import Moments, Weights, check_scales, moments_of
from workbench.data.points import check_points, default_columns, named_points
from workbench.data.table import IN_PYTHON
from workbench.data.weights import counted_rows
from workbench.errors import InputError, shown

# What becomes of a missing cell, which is NaN: an error, or the density of the row's other cells.
MissingCells: TypeAlias = Literal["refuse", "marginal"]

# A remedy, for those who come from a config and those who come from Python.
USE_DROP = 'use missing = "drop" (in Python wb.read_table(x, missing="drop"))'


def check_missing(missing: object) -> None:
    """Check that it is known what becomes of missing cells.

    Raises:
        InputError: it is not; the message lists what is.
    """
    if missing not in get_args(MissingCells):
        drop = '; wb.read_table(x, missing="drop") leaves rows with missing cells out' if missing == "drop" else ""
        raise InputError(f"missing: unknown {shown(missing)}; allowed: {', '.join(get_args(MissingCells))}{drop}")


class Observed(NamedTuple):
    """Points that a mixture can be fitted to."""

    x: NDArray[np.float64]  # [N, D]   NaN where a cell is missing
    weights: Weights | None  # [N]   how often each row counts; once unless given
    columns: tuple[str, ...]  # their names; none if they were not named
    moments: Moments
    completed: NDArray[np.float64] | None  # [N, D]   the points without a missing cell; None if none is missing
    units: str = ""  # of the columns, in words; none unless a `Dataset` gave them
    known: Known | None = None  # components of rows, where they are known
    dropped: int = 0  # rows that a `Dataset` left out because a cell is missing
    classes: NDArray[np.str_] | None = None  # [N]   the labels of a `Dataset`, which are never used in fitting
    box: NDArray[np.float64] | None = None  # [2, D]   the ends of a box that holds the points, if a `Dataset` has one

    @classmethod
    def of(
        cls,
        x: ArrayLike | Dataset,
        components: int,
        columns: Sequence[str] | None = None,
        weights: ArrayLike | None = None,
        missing: MissingCells | None = None,
        label_known: ArrayLike | Known | None = None,
    ) -> "Observed":
        """The points of `Problem`, whose arguments these are.

        Raises:
            InputError: points, weights or columns are not as `Problem` needs them.
        """
        if isinstance(x, Dataset):
            columns = x.columns if columns is None else columns
            for what, given in (("weights", weights), ("label_known", label_known)):
                _check_kept(x, what, given)
            weights = x.weights if weights is None else weights
            missing = x.missing if missing is None else missing
            label_known = x.known if label_known is None else label_known
        if missing is not None:
            check_missing(missing)
        points, named = named_points(x.x if isinstance(x, Dataset) else x)
        columns = named if columns is None else columns
        known = None if label_known is None else Known.of(label_known, len(points), components)
        given = len(points)
        points, own = counted_rows(points, weights, components)
        if known is not None and len(points) < given:
            left = known.some(np.flatnonzero(np.asarray(weights) > 0))
            known = left if left.num_rows else None
        marginal = missing == "marginal" and has_missing(points)
        if marginal:
            check_incomplete(points, "x", components, columns=columns)
        else:
            check_points(points, "x", components, columns=columns, marginal=IN_PYTHON.marginal + "{}")
        moments, completed = completed_by_gaussian(points, own) if marginal else (moments_of(points, own), None)
        units = x.units if isinstance(x, Dataset) else ""
        classes = x.labels if isinstance(x, Dataset) else None
        if classes is not None and len(points) < given:
            classes = classes[np.asarray(weights) > 0]
        return cls(
            points,
            own,
            () if columns is None else tuple(columns),
            moments,
            completed,
            units,
            known,
            x.dropped if isinstance(x, Dataset) else 0,
            classes,
            x.box if isinstance(x, Dataset) else None,
        )

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the D columns; `x1` to `xD` if they were not named."""
        return self.columns or default_columns(self.x.shape[1])

    def check(self, dtype: np.dtype[np.float64], *, correlated: bool) -> None:
        """Check what depends on the computation.

        Args:
            dtype: the float type of the computation.
            correlated: whether the covariance family has correlations, which data must then determine.

        Raises:
            InputError: a column is too narrow or wide for the float type; two columns never have values together.
        """
        check_scales(self.moments, "x", dtype=dtype, columns=self.names)
        if correlated and self.completed is not None:
            check_pairs(self.x, "x", self.names)


def _check_kept(data: Dataset, what: str, given: Any) -> None:
    """Refuse values for each row of a table of which some rows were left out.

    Raises:
        InputError: there are as many as the table had rows.
    """
    if data.dropped and np.ndim(given) == 1 and np.shape(given) == (len(data.x) + data.dropped,):
        raise InputError(
            f"{what}: has one for each of {len(data.x) + data.dropped:,} rows, of which {data.dropped:,} with missing "
            f"cells were left out; read them with the table, as wb.read_table(table, wanted=wb.Wanted({what}="
            '"column", missing="drop")), or give those of the rows that are left'
        )
