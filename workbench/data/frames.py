"""Takes tables of other packages by what they offer, without importing any: pandas, polars, Arrow, xarray, NumPy.

A data frame of pandas has `iloc`, one of polars `get_columns`, a table of Arrow `column_names`, a data set of xarray
`data_vars`, an array of xarray `dims`, and a `Dataset` `dropped`. Anything else that exports itself through Arrow's C
interface (`__arrow_c_stream__`) is read where pyarrow is installed.
"""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np

from workbench.data.cells import told
from workbench.data.table import OF_POINTS, Column, Table, table_from, unmasked
from workbench.errors import InputError, shown


def table_of(x: Any, where: str) -> Table | None:
    """The columns of a table of another package, a mapping of columns or a structured array; None of anything else.

    Raises:
        InputError: x is lazy, has two columns of one name, or columns that differ in length or have more than one axis.
    """
    if isinstance(x, list | tuple | jax.Array) or (isinstance(x, np.ndarray) and x.dtype.names is None):
        return None
    if hasattr(x, "collect") and hasattr(x, "collect_schema"):
        raise InputError(f"{where}: is lazy; give x.collect()")
    reader = next((reader for offers, reader in _READERS if offers(x)), None)
    if reader is None:
        return None
    try:
        columns, ids = reader(x)
        cells = [np.asarray(unmasked(column)) for _, column in columns]
    except ValueError as error:
        raise InputError(f"{where}: is no table of columns ({error}); give columns of N cells each") from None
    names = [str(name) for name, _ in columns]
    doubled = dict.fromkeys(name for place, name in enumerate(names) if name in names[:place])
    complaints = [f"names column {shown(name)} twice; give each its own name" for name in doubled]
    complaints += [
        f"column {shown(name)} has shape {column.shape}; give columns of N cells each"
        for name, column in zip(names, cells, strict=True)
        if column.ndim != 1 or column.shape != cells[0].shape
    ]
    if complaints:
        raise InputError(told(where, complaints))
    table = table_from(where, names, cells)._replace(remedies=OF_POINTS)
    return table if ids is None or table.ids is not None else table._replace(ids=ids)


# Columns with their names, and names of the rows.
_Read = tuple[list[tuple[object, Column]], Column | None]


def _pandas(x: Any) -> _Read:
    columns = [(name, x.iloc[:, place].to_numpy()) for place, name in enumerate(x.columns)]
    # The default index counts rows from 0 and names none.
    counts = type(x.index).__name__ == "RangeIndex" or getattr(x.index, "nlevels", 1) > 1
    return columns, None if counts else x.index.to_numpy()


def _polars(x: Any) -> _Read:
    return [(series.name, series.to_numpy()) for series in x.get_columns()], None


def _series(x: Any) -> _Read:
    return [("x1" if x.name in (None, "") else x.name, x.to_numpy())], None


def _arrow(x: Any) -> _Read:
    return [(name, _arrow_column(x.column(place))) for place, name in enumerate(x.column_names)], None


def _arrow_column(column: Any) -> Column:
    """Numbers as NumPy's; others, such as text, as Python's objects."""
    kind = str(column.type)
    numeric = kind.startswith(("int", "uint", "float", "double", "half"))
    return np.asarray(column.to_numpy(zero_copy_only=False) if numeric else np.array(column.to_pylist(), object))


def _arrow_stream(x: Any) -> _Read:
    # Imported here because pyarrow is an optional dependency.
    import pyarrow

    return _arrow(pyarrow.table(x))


def _xarray_set(x: Any) -> _Read:
    return [(name, np.asarray(variable)) for name, variable in x.data_vars.items()], None


def _xarray(x: Any) -> _Read:
    """The last axis of an array is that of the columns; its coordinates, if they are text, are their names."""
    array = np.asarray(x)
    if array.ndim != 2:
        return [("x1" if x.name is None else x.name, array)], None
    names = np.asarray(x.coords[x.dims[1]]) if x.dims[1] in x.coords else np.arange(array.shape[1])
    named = names.dtype.kind in "UO"
    return [(name if named else f"x{d + 1}", array[:, d]) for d, name in enumerate(names)], None


def _structured(x: Any) -> _Read:
    return [(name, x[name]) for name in x.dtype.names], None


def _mapping(x: Any) -> _Read:
    return [(name, np.asarray(unmasked(column))) for name, column in x.items()], None


def _dataset(x: Any) -> _Read:
    return list(zip(x.columns, np.asarray(x.x).T, strict=True)), x.ids


def _has(*names: str) -> Callable[[Any], bool]:
    return lambda x: all(hasattr(x, name) for name in names)


_READERS: tuple[tuple[Callable[[Any], bool], Callable[[Any], _Read]], ...] = (
    (_has("iloc", "columns", "index"), _pandas),
    (_has("get_columns"), _polars),
    (_has("x", "columns", "dropped"), _dataset),
    (_has("column_names", "column"), _arrow),
    (_has("data_vars", "dims"), _xarray_set),
    (_has("dims", "coords"), _xarray),
    (_has("to_numpy", "name", "dtype"), _series),
    (lambda x: getattr(getattr(x, "dtype", None), "names", None) is not None, _structured),
    (lambda x: isinstance(x, Mapping), _mapping),
    (lambda x: hasattr(x, "__arrow_c_stream__") and not hasattr(x, "__array__"), _arrow_stream),
)
