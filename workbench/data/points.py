"""What counts as points to fit: a finite float64 array `[N, D]` in which every column varies."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from workbench.data.moments import blocks_of
from workbench.data.names import check_distinct
from workbench.errors import InputError


def as_points(x: ArrayLike, where: str = "x") -> NDArray[np.float64]:
    """`x` as float64 points; a plain list of numbers is read as one column.

    Integers and shorter floats are cast; float64 in C order is not copied. Values are not looked at: that is
    `check_points`.

    Args:
        x: `[N]` or `[N, D]`, integers or floats.
        where: names the array in an error message.

    Returns:
        `[N, D]`, C order; `[N, 1]` for a 1-D `x`.

    Raises:
        InputError: `x` is ragged, not numeric (text, bool, complex, object, dates), or neither 1-D nor 2-D.
    """
    if getattr(x, "ndim", 0) == 2 and getattr(x, "dtype", None) == np.float64 and not isinstance(x, np.ndarray):
        return x  # type: ignore[return-value]  # rows in a file, with an array's shape and slices
    try:
        array = np.asarray(x)
    except ValueError as error:
        raise InputError(f"{where}: rows differ in length ({error}); give a [N, D] array") from error
    if array.dtype.kind not in "iuf":
        raise InputError(f"{where}: dtype is {array.dtype}, not numeric; give integers or floats")
    if array.ndim not in (1, 2):
        raise InputError(f"{where}: shape is {array.shape}; give [N, D], or [N] for a single column")
    return np.ascontiguousarray(array[:, None] if array.ndim == 1 else array, dtype=np.float64)


def default_columns(dimensions: int) -> tuple[str, ...]:
    """Names for columns that have none: `x1` to `xD`."""
    return tuple(f"x{d + 1}" for d in range(dimensions))


def check_columns(columns: Sequence[str], dimensions: int, where: str) -> None:
    """Refuse names that do not match the columns of the points one to one.

    Raises:
        InputError: not `dimensions` names, or one of them twice.
    """
    if len(columns) != dimensions:
        raise InputError(f"{where}: {len(columns)} column names for {dimensions} columns; give one for each")
    check_distinct(columns, where)


def check_points(
    x: NDArray[np.float64], where: str, components: int = 1, *, columns: Sequence[str] | None = None
) -> None:
    """Refuse points to which no mixture of `components` Gaussians can be fitted.

    Duplicate rows pass and stay as they are: they count twice. `num_duplicates` reports them.

    Args:
        x: `[N, D]`.
        where: names the source (a file, a data set) at the start of the message.
        components: how many components there must be rows for.
        columns: names of the D columns; `x1` to `xD` without them.

    Raises:
        InputError: not 2-D; no columns; no rows; one row; fewer rows than components; a cell that is NaN or
            infinite (named by data row, counted from 1, and column); a constant column.
    """
    if x.ndim != 2:
        raise InputError(f"{where}: shape is {x.shape}; give [N, D] (as_points makes it)")
    names = default_columns(x.shape[1]) if columns is None else tuple(columns)
    check_columns(names, x.shape[1], where)
    _check_size(x, where, components)
    _check_values(x, names, where)


def num_duplicates(x: NDArray[np.float64]) -> int:
    """Number of rows of `x` `[N, D]` that repeat an earlier row."""
    return len(x) - len(np.unique(x, axis=0))


def _check_size(x: NDArray[np.float64], where: str, components: int) -> None:
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
    first_row = np.asarray(x[:1])[0]
    low, high, begun = first_row, first_row, 0
    for block in blocks_of(x):
        # A block's extremes are finite if and only if all its values are.
        lowest, highest = block.min(axis=0), block.max(axis=0)
        if not (np.all(np.isfinite(lowest)) and np.all(np.isfinite(highest))):
            row, column = np.argwhere(~np.isfinite(block))[0]
            raise InputError(
                f"{where}: data row {begun + row + 1}, column {names[column]!r} is {block[row, column]};"
                " give a finite number or remove the row"
            )
        low, high, begun = np.minimum(low, lowest), np.maximum(high, highest), begun + len(block)
    constant = np.flatnonzero(low == high)
    if len(constant):
        name, value = names[constant[0]], first_row[constant[0]]
        raise InputError(f"{where}: column {name!r} is constant ({value:g}), so its variance is 0; drop it")
