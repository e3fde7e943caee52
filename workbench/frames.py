"""Columns as a data frame of the package that is installed."""

from collections.abc import Mapping, Sequence
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from numpy.typing import NDArray

from workbench.errors import InputError

# The packages with a data frame, in the order in which they are taken, and what makes one.
MAKERS = {"pandas": "DataFrame", "polars": "DataFrame", "pyarrow": "table"}


def frame_of(columns: Mapping[str, Sequence[Any] | NDArray[Any]], where: str = "to_dataframe") -> Any:
    """A frame of pandas, polars or Arrow, the first that is installed.

    Args:
        columns: the cells of each column, all of one length.
        where: the name of the caller in the message.

    Raises:
        InputError: none of these packages is installed.
    """
    for name, make in MAKERS.items():
        if find_spec(name) is not None:
            # Imported late: no other function needs these packages.
            return getattr(import_module(name), make)(dict(columns))
    raise InputError(f"{where}: needs pandas, polars or pyarrow; install one of them")


def frame_of_rows(rows: Sequence[Mapping[str, Any]], names: Sequence[str]) -> Any:
    """A frame of rows, with the columns of these names; a value that a row lacks is None."""
    return frame_of({name: [row.get(name) for row in rows] for name in names})
