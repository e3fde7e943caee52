"""Checks of points: a finite float64 array `[N, D]` in which no column is constant, and names of its columns.

What is wrong is counted and described in one short message however much of it there is.
"""

import math
from collections.abc import Sequence
from numbers import Real
from os import PathLike
from typing import Any

import jax
import numpy as np
from numpy.typing import ArrayLike, NDArray

from workbench.data.cells import Cells, constants, place, several, told
from workbench.data.frames import table_of
from workbench.data.moments import blocks_of
from workbench.data.names import check_distinct, lacking
from workbench.data.table import is_masked, numbers, unmasked
from workbench.errors import LINE, InputError, cut, shown


def as_points(x: ArrayLike, where: str = "x") -> NDArray[np.float64]:
    """Convert `x` to float64 points; a plain list of numbers is read as one column.

    Integers and shorter floats are cast; float64 in C order is not copied. Missing values (None, pandas' NA, masked
    cells) become NaN. The values are not checked; see `check_points` and `finite_points`.

    Args:
        x: `[N]` or `[N, D]`, integers or floats; or a table of numbers, see `table_of`.
        where: the name of the array in error messages.

    Returns:
        An array `[N, D]` in C order; `[N, 1]` for a 1-D `x`.

    Raises:
        InputError: `x` is ragged, sparse, the name of a file, not numeric (text, bool, complex, dates), or neither 1-D
            nor 2-D.
    """
    return named_points(x, where)[0]


def by_name(x: Any, columns: Sequence[str], where: str = "x") -> Any:
    """A table's columns of these names in this order; anything else, and a table that names none of them, as it is.

    Raises:
        InputError: a table names some of the columns and lacks others, or names none and has more or fewer.
    """
    table = table_of(x, where) if columns else None
    if table is None:
        return x
    lacks = [name for name in columns if name not in table.columns]
    if len(lacks) == len(columns) == len(table.columns):
        return x
    if lacks:
        raise InputError(
            f"{lacking(where, columns, table.columns, 'the columns of the mixture')}; rename them, or give an array "
            f"[N, {len(columns)}] with the columns {cut(', '.join(columns), LINE // 4)}, in this order"
        )
    return {name: table.column(name) for name in columns}


def named_points(x: ArrayLike, where: str = "x") -> tuple[NDArray[np.float64], tuple[str, ...] | None]:
    """Points as those of `as_points`, and the names of their columns if `x` is a table that names them."""
    x = unmasked(x)
    check_plain(x, where)
    table = table_of(x, where)
    if table is None:
        return _points_of_array(x, where), None
    points, complaints = numbers(table, table.columns, drop=True)
    if complaints:
        raise InputError(told(where, complaints))
    return points, table.columns


def _points_of_array(x: ArrayLike, where: str) -> NDArray[np.float64]:
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


def finite_points(x: ArrayLike, dimensions: int, where: str = "x", *, marginal: str = "") -> NDArray[np.float64]:
    """Convert `x` to finite float64 points of D columns; N may be any number, including zero.

    Args:
        x: `[N, D]`, or `[N]` if D is 1.
        dimensions: D.
        where: the name of the array in error messages.
        marginal: how missing cells are marginalised, for the message; empty if they cannot be. At `{}` it says which
            rows must be left out.

    Raises:
        InputError: as for `as_points`; the number of columns is not D; a cell is NaN or infinite.
    """
    points, names = named_points(x, where)
    if points.shape[1] != dimensions:
        raise InputError(
            f"{where}: expected points [N, {dimensions}], got shape {list(getattr(x, 'shape', points.shape))}"
        )
    check_finite(points, where, columns=names, marginal=marginal)
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
    x: NDArray[np.float64],
    where: str,
    components: int = 1,
    *,
    columns: Sequence[str] | None = None,
    marginal: str = "",
) -> None:
    """Check that a mixture of `components` Gaussians can be fitted to the points.

    Duplicate rows are allowed and count twice. `ties_of` reports them where they matter.

    Args:
        x: `[N, D]`.
        where: the name of the source (a file, a data set), with which the message starts.
        components: K; at least as many rows are required.
        columns: names of the D columns; `x1` to `xD` unless given.
        marginal: how missing cells are marginalised, for the message; empty if they cannot be. At `{}` it says which
            rows must be left out.

    Raises:
        InputError: x is not 2-D, has no columns, fewer than two rows or fewer rows than components; a cell is NaN or
            infinite (named by data row, counted from 1, and column); a column is constant.
    """
    if x.ndim != 2:
        raise InputError(f"{where}: shape is {x.shape}; give [N, D] (as_points makes it)")
    check_size(x, where, components)
    names = default_columns(x.shape[1]) if columns is None else tuple(columns)
    check_columns(names, x.shape[1], where)
    low, high = _extremes(x)
    complaints = [] if _all_finite(low, high) else [_not_finite(x, names, marginal)]
    constant = np.flatnonzero((low == high) & np.isfinite(low))
    if len(constant):
        complaints.append(constants([names[d] for d in constant], low[constant].tolist()))
    if complaints:
        raise InputError(told(where, complaints))


def check_finite(
    x: NDArray[np.float64], where: str, *, columns: Sequence[str] | None = None, marginal: str = ""
) -> None:
    """Check that all cells are finite, in one sweep over `x` `[N, D]`.

    Raises:
        InputError: a cell is NaN or infinite; the message gives the number of such cells, their columns and the first.
    """
    if len(x) and not _all_finite(*_extremes(x)):
        names = default_columns(x.shape[1]) if columns is None else columns
        raise InputError(f"{where}: {_not_finite(x, names, marginal)}")


def check_plain(x: object, where: str) -> None:
    """Check that NumPy reads `x` as it is: it would drop a mask, and take a sparse matrix or None as a single object.

    Raises:
        InputError: cells are masked, or `x` is a sparse matrix, the name of a file, or None.
    """
    if isinstance(x, str | PathLike):
        raise InputError(f"{where}: is text, not points; if it names a file, give wb.read_file({shown(str(x))})")
    if x is None:
        raise InputError(f"{where}: is None; give points as an array [N, D], a data frame, or what wb.read_file gives")
    if is_masked(x):
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


def _extremes(x: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The smallest and the largest value of each column, in one sweep; NaN if the column has one. [D], [D]"""
    low, high = np.full(x.shape[1], np.inf), np.full(x.shape[1], -np.inf)
    for block in blocks_of(x):
        low, high = np.minimum(low, block.min(axis=0)), np.maximum(high, block.max(axis=0))
    return low, high


def _all_finite(low: NDArray[np.float64], high: NDArray[np.float64]) -> bool:
    """Whether all values are finite: the extremes are finite if and only if they are."""
    return bool(np.all(np.isfinite(low)) and np.all(np.isfinite(high)))


def _not_finite(x: NDArray[np.float64], names: Sequence[str], marginal: str) -> str:
    cells = Cells.where((~np.isfinite(block) for block in blocks_of(x)), x.shape[1])

    def value(row: int, column: int) -> str:
        return str(np.asarray(x[row : row + 1])[0, column])

    one = cells.total == 1
    empty = _empty_rows(x) if marginal else None
    instead = "" if empty is None else f", or let {'its' if one else 'their'} other cells count with {marginal}"
    instead = instead.format(f", without the rows that hold none: {WITHOUT_EMPTY}" if empty else "")
    if one:
        ((row, column),) = cells.first
        return f"{place(row, names[column])} is {value(row, column)}; give a finite number or remove the row{instead}"
    return f"{several(cells, names, 'not finite', value)}; give finite numbers or remove the rows{instead}"


def _empty_rows(x: NDArray[np.float64]) -> int | None:
    """How many rows hold no value; None unless missing cells are all that is wrong, and some stand beside others."""
    if _is_read_by_slices(x):
        return None
    lost = np.isnan(x)
    empty = np.all(lost, axis=1)
    helps = np.all(lost | np.isfinite(x)) and np.any(lost[~empty])
    return int(np.sum(empty)) if helps else None


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


# How rows without any value are left out of points in memory, for messages.
WITHOUT_EMPTY = "x[~np.isnan(x).all(axis=1)]"

# Types that pandas uses for a missing number and a missing date.
_MISSING = ("NAType", "NaTType")
