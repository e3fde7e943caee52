"""Checks of points: a finite float64 array `[N, D]` in which no column is constant, and names of its columns.

What is wrong is counted and described in one short message however much of it there is, with the nearest spelling of a
name that is unknown.
"""

import difflib
import math
from collections.abc import Callable, Iterable, Sequence
from numbers import Real
from typing import NamedTuple

import jax
import numpy as np
from numpy.typing import ArrayLike, NDArray

from workbench.data.moments import blocks_of
from workbench.errors import VALUE, InputError, cut, shown

# Number of cells that a message lists one by one, and of columns that it lists with their counts.
SHOWN_CELLS, SHOWN_COLUMNS = 3, 6


class Cells(NamedTuple):
    """A set of cells of a table [N, D]: the counts, and the first cells in reading order."""

    by_column: NDArray[np.int64]  # [D]   number of cells in each column
    rows: int  # number of rows that hold at least one
    first: tuple[tuple[int, int], ...]  # row and column of the first cells, counted from 0

    @classmethod
    def where(cls, masks: Iterable[NDArray[np.bool_]], dimensions: int) -> "Cells":
        """The cells at which masks are true; the masks are consecutive blocks [B, D] of the table."""
        by_column, rows, above = np.zeros(dimensions, np.int64), 0, 0
        first: list[tuple[int, int]] = []
        for mask in masks:
            by_column += mask.sum(axis=0)
            rows += int(mask.any(axis=1).sum())
            if len(first) < SHOWN_CELLS:
                first += [(above + int(n), int(d)) for n, d in np.argwhere(mask)[: SHOWN_CELLS - len(first)]]
            above += len(mask)
        return cls(by_column, rows, tuple(first))

    @property
    def total(self) -> int:
        """Number of cells in all columns."""
        return int(self.by_column.sum())


def place(row: int, column: str) -> str:
    """The name of a cell in messages, where rows are counted from 1."""
    return f"data row {row + 1}, column {shown(column)}"


def several(cells: Cells, columns: Sequence[str], what: str, value: Callable[[int, int], str]) -> str:
    """Describe cells of one kind: their number, their columns, and the first ones with their values.

    Args:
        cells: at least one cell.
        columns: names of the D columns.
        what: what the cells are, such as "missing".
        value: a function that returns the text of the cell at a row and column.
    """
    held = np.flatnonzero(cells.by_column)
    counts = [f"{shown(columns[d])} {cells.by_column[d]:,}" for d in held[:SHOWN_COLUMNS]]
    counts += [f"{len(held) - SHOWN_COLUMNS:,} more columns"] if len(held) > SHOWN_COLUMNS else []
    places = [f"{place(n, columns[d])} is {value(n, d)}" for n, d in cells.first]
    places += [f"{cells.total - len(cells.first):,} more"] if cells.total > len(cells.first) else []
    rows = "1 row" if cells.rows == 1 else f"{cells.rows:,} rows"
    return f"{cells.total:,} cells in {rows} are {what} ({', '.join(counts)}): {'; '.join(places)}"


def unknown_name(kind: str, name: str, allowed: Sequence[str]) -> str:
    """The end of an error message: the unknown name, the nearest spelling and all allowed names."""
    near = difflib.get_close_matches(cut(name, VALUE), allowed, n=1)
    suggestion = f" Did you mean {near[0]!r}?" if near else ""
    return f"unknown {kind} {shown(name)}.{suggestion} Allowed: {', '.join(allowed)}"


def column_positions(columns: Sequence[str], allowed: Sequence[str], where: str) -> list[int]:
    """Positions of `columns` among `allowed`, in the given order.

    Raises:
        InputError: `columns` is empty or a bare string, or holds an unknown name or the same name twice;
            the message starts with `where` (a file or a data set).
    """
    if isinstance(columns, str):
        raise InputError(f"{where}: columns must be a list of names, got {shown(columns)}; write [{shown(columns)}]")
    if not columns:
        raise InputError(f"{where}: columns is empty; name at least one of: {', '.join(allowed)}")
    for name in columns:
        if name not in allowed:
            raise InputError(f"{where}: {unknown_name('column', name, allowed)}")
    check_distinct(columns, where)
    return [allowed.index(name) for name in columns]


def check_distinct(columns: Sequence[str], where: str) -> None:
    """Check that no column is named twice, because a repeated column would make every full covariance singular.

    Raises:
        InputError: names the repeated column.
    """
    for position, name in enumerate(columns):
        if name in columns[:position]:
            raise InputError(f"{where}: column {shown(name)} appears twice; keep it once")


def as_points(x: ArrayLike, where: str = "x") -> NDArray[np.float64]:
    """Convert `x` to float64 points; a plain list of numbers is read as one column.

    Integers and shorter floats are cast; float64 in C order is not copied. Missing values (None, pandas' NA) become
    NaN. The values are not checked; see `check_points` and `finite_points`.

    Args:
        x: `[N]` or `[N, D]`, integers or floats.
        where: the name of the array in error messages.

    Returns:
        An array `[N, D]` in C order; `[N, 1]` for a 1-D `x`.

    Raises:
        InputError: `x` is ragged, masked, sparse, not numeric (text, bool, complex, dates), or neither 1-D nor 2-D.
    """
    check_plain(x, where)
    if _is_read_by_slices(x):
        return x  # type: ignore[return-value]  # rows in a file, with the shape and the slices of an array
    try:
        array = np.asarray(x)
    except ValueError as error:
        raise InputError(f"{where}: rows differ in length ({error}); give a [N, D] array") from error
    if array.dtype.kind == "O":
        array = _numbers_of(array, where)
    if array.dtype.kind not in "iuf":
        raise InputError(f"{where}: dtype is {array.dtype}, not numeric; give integers or floats")
    if array.ndim not in (1, 2):
        raise InputError(f"{where}: shape is {array.shape}; give [N, D], or [N] for a single column")
    with np.errstate(over="ignore"):
        # Numbers beyond the range of float64 become infinite, which the checks of values report.
        return np.ascontiguousarray(array[:, None] if array.ndim == 1 else array, dtype=np.float64)


def finite_points(x: ArrayLike, dimensions: int, where: str = "x") -> NDArray[np.float64]:
    """Convert `x` to finite float64 points of D columns; N may be any number, including zero.

    Args:
        x: `[N, D]`, or `[N]` if D is 1.
        dimensions: D.
        where: the name of the array in error messages.

    Raises:
        InputError: as for `as_points`; the number of columns is not D; a cell is NaN or infinite.
    """
    points = as_points(x, where)
    if points.shape[1] != dimensions:
        shape = list(np.shape(x))
        raise InputError(f"{where}: expected points [N, {dimensions}], got shape {shape}")
    check_finite(points, where)
    return points


def default_columns(dimensions: int) -> tuple[str, ...]:
    """Default names of columns: `x1` to `xD`."""
    return tuple(f"x{d + 1}" for d in range(dimensions))


def check_columns(columns: Sequence[str], dimensions: int, where: str) -> None:
    """Check that there is one distinct name for each column of the points.

    Raises:
        InputError: the number of names is not `dimensions`, or a name occurs twice.
    """
    if len(columns) != dimensions:
        raise InputError(f"{where}: {len(columns)} column names for {dimensions} columns; give one for each")
    check_distinct(columns, where)


def check_points(
    x: NDArray[np.float64], where: str, components: int = 1, *, columns: Sequence[str] | None = None
) -> None:
    """Check that a mixture of `components` Gaussians can be fitted to the points.

    Duplicate rows are allowed and count twice. `ties_of` reports them where they matter.

    Args:
        x: `[N, D]`.
        where: the name of the source (a file, a data set), with which the message starts.
        components: K; at least as many rows are required.
        columns: names of the D columns; `x1` to `xD` unless given.

    Raises:
        InputError: x is not 2-D, has no columns, fewer than two rows or fewer rows than components; a cell is NaN or
            infinite (named by data row, counted from 1, and column); a column is constant.
    """
    if x.ndim != 2:
        raise InputError(f"{where}: shape is {x.shape}; give [N, D] (as_points makes it)")
    check_size(x, where, components)
    names = default_columns(x.shape[1]) if columns is None else tuple(columns)
    check_columns(names, x.shape[1], where)
    _check_values(x, names, where)


def check_finite(x: NDArray[np.float64], where: str, *, columns: Sequence[str] | None = None) -> None:
    """Check that all cells are finite, in one sweep over `x` `[N, D]`.

    Raises:
        InputError: a cell is NaN or infinite; the message gives the number of such cells, their columns and the first.
    """
    _extremes(x, default_columns(x.shape[1]) if columns is None else columns, where)


def check_plain(x: object, where: str) -> None:
    """Check that NumPy reads `x` as it is: it would drop a mask, and take a sparse matrix as a single object.

    Raises:
        InputError: cells are masked, or `x` is a sparse matrix.
    """
    parts = x if isinstance(x, list | tuple) else [x]
    if any(np.ma.is_masked(part) for part in parts):
        raise InputError(
            f"{where}: is a masked array with masked cells, which are missing values; fill them in, or leave their "
            "rows out, as x[~np.ma.getmaskarray(x).any(axis=1)]"
        )
    if hasattr(x, "tocsr") or hasattr(x, "todense"):
        raise InputError(f"{where}: is a sparse matrix; give a dense one, as x.toarray()")


def check_size(x: NDArray[np.float64], where: str, components: int = 1) -> None:
    """Check that there are enough points.

    Raises:
        InputError: there are no columns, fewer than two rows, or fewer rows than components.
    """
    num_points, dimensions = x.shape
    if dimensions == 0:
        raise InputError(f"{where}: no columns; give at least one numeric column")
    if num_points == 0:
        raise InputError(f"{where}: no rows; give at least 2")
    if num_points == 1:
        raise InputError(f"{where}: only one row; give at least 2, one point has no spread")
    if num_points < components:
        raise InputError(
            f"{where}: {num_points} rows are fewer than {components} components;"
            f" ask for at most {num_points} components or give more rows"
        )


def _check_values(x: NDArray[np.float64], names: Sequence[str], where: str) -> None:
    low, high = _extremes(x, names, where)
    constant = np.flatnonzero(low == high)
    if len(constant):
        name, value = names[constant[0]], low[constant[0]]
        raise InputError(f"{where}: column {name!r} is constant ({value:g}), so its variance is 0; drop it")


def _extremes(
    x: NDArray[np.float64], names: Sequence[str], where: str
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The smallest and the largest value of each column, after a check that all values are finite. [D], [D]"""
    low, high = np.full(x.shape[1], np.inf), np.full(x.shape[1], -np.inf)
    for block in blocks_of(x):
        low, high = np.minimum(low, block.min(axis=0)), np.maximum(high, block.max(axis=0))
    # The extremes are finite if and only if all values are; without rows there are no values to check.
    if len(x) and not (np.all(np.isfinite(low)) and np.all(np.isfinite(high))):
        raise InputError(f"{where}: {_not_finite(x, names)}")
    return low, high


def _not_finite(x: NDArray[np.float64], names: Sequence[str]) -> str:
    cells = Cells.where((~np.isfinite(block) for block in blocks_of(x)), x.shape[1])

    def value(row: int, column: int) -> str:
        return str(np.asarray(x[row : row + 1])[0, column])

    if cells.total == 1:
        ((row, column),) = cells.first
        return f"{place(row, names[column])} is {value(row, column)}; give a finite number or remove the row"
    return f"{several(cells, names, 'not finite', value)}; give finite numbers or remove the rows"


def _is_read_by_slices(x: object) -> bool:
    """Whether x stands for rows in a file: not an array in memory, but with the shape and dtype of float64 points."""
    if isinstance(x, np.ndarray | jax.Array):
        return False
    return getattr(x, "ndim", 0) == 2 and getattr(x, "dtype", None) == np.float64


def _numbers_of(array: NDArray[np.object_], where: str) -> NDArray[np.float64]:
    """Convert an array of objects, such as large integers and missing values, to float64."""
    numbers = np.empty(array.size)
    for position, value in enumerate(array.ravel()):
        if value is None or type(value).__name__ in _MISSING:
            numbers[position] = math.nan
        elif isinstance(value, bool | np.bool_) or not isinstance(value, Real):
            raise InputError(f"{where}: dtype is object, with {shown(value)} in it; give integers or floats")
        else:
            try:
                numbers[position] = float(value)
            except OverflowError:
                numbers[position] = math.inf
    return numbers.reshape(array.shape)


# Types that pandas uses for a missing number and a missing date.
_MISSING = ("NAType", "NaTType")
