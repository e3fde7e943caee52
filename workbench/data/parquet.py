"""Points in a Parquet file, read by ranges of rows; needs the extra `parquet`."""

import threading
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pyarrow.parquet
from numpy.typing import NDArray

from workbench.data.frames import table_of
from workbench.data.names import unknown_names
from workbench.data.reading import Wanted
from workbench.data.table import IN_PYTHON, ROW_NAMES, Table
from workbench.errors import InputError, one_line, shown


class ParquetPoints:
    """The numeric columns of a Parquet file as points [N, D], float64, decoded when they are read.

    It has the shape of an array and can be sliced by rows. The row group that was read last is kept, so that a sweep in
    order decodes each group once. An index other than a slice reads the whole file into memory.

    Raises:
        InputError: the file is not Parquet, or a column is missing, not numeric, or has missing values.
    """

    dtype = np.dtype(np.float64)
    ndim = 2

    def __init__(self, path: Path, columns: tuple[str, ...] | None, choice: str = IN_PYTHON.columns) -> None:
        self._file = _opened(path)
        schema = self._file.schema_arrow
        self.columns = tuple(schema.names) if columns is None else columns
        doubled = next((name for name in self.columns if schema.names.count(name) > 1), None)
        if doubled is not None:
            raise InputError(f"{path}: names column {shown(doubled)} twice; give each its own name")
        if unknown := [name for name in self.columns if name not in schema.names]:
            raise InputError(f"{path}: {unknown_names('column', unknown, schema.names)}")
        kinds = {name: schema.field(name).type for name in self.columns}
        others = [f"column {shown(name)} is {kind}" for name, kind in kinds.items() if not _is_numeric(kind)]
        if others:
            remedy = f"name the columns to use with {choice}" if choice else "write its columns as numbers"
            raise InputError(f"{path}: {', '.join(others)}, not numeric; {remedy}")
        self._path, self._choice = path, choice
        metadata = self._file.metadata
        sizes = [metadata.row_group(group).num_rows for group in range(metadata.num_row_groups)]
        self._ends = np.cumsum([0, *sizes])  # first row of each row group, then N
        self._kept: tuple[int, NDArray[np.float64]] | None = None
        # Devices read their rows concurrently, but the reader is not thread-safe.
        self._lock = threading.Lock()

    @property
    def shape(self) -> tuple[int, int]:
        """N and D."""
        return int(self._ends[-1]), len(self.columns)

    @property
    def size(self) -> int:
        """N x D."""
        return self.shape[0] * self.shape[1]

    @property
    def nbytes(self) -> int:
        """Bytes of all points, decoded."""
        return 8 * self.size

    def __len__(self) -> int:
        return self.shape[0]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return np.asarray(self[:], dtype)

    def __getitem__(self, index: Any) -> NDArray[np.float64]:
        if not isinstance(index, slice) or index.step not in (None, 1):
            return np.asarray(self[:][index])
        first, last, _ = index.indices(len(self))
        with self._lock:
            parts = [np.empty((0, len(self.columns)))]
            groups = range(*np.searchsorted(self._ends, [first, last], side="right") + np.array([-1, 0]))
            for group in groups:
                begin = int(self._ends[group]) if group < len(self._ends) - 1 else last
                if begin < last:
                    parts.append(self._group(group)[max(first - begin, 0) : last - begin])
            return np.concatenate(parts)

    def _group(self, group: int) -> NDArray[np.float64]:
        if self._kept is None or self._kept[0] != group:
            table = self._file.read_row_group(group, columns=list(self.columns))
            for name in self.columns:
                if table[name].null_count:
                    raise InputError(
                        f"{self._path}: column {name!r} has missing values in row group {group}; fill them in"
                        + (f", or leave the column out with {self._choice}" if self._choice else "")
                    )
            decoded = [np.asarray(table[name].to_numpy(), np.float64) for name in self.columns]
            self._kept = (group, np.stack(decoded, axis=1))
        return self._kept[1]


def parquet_columns(path: Path) -> tuple[str, ...]:
    """The names of all columns of a file, other than that in which pandas keeps names of rows.

    Raises:
        InputError: the file is not Parquet.
    """
    return tuple(name for name in _opened(path).schema_arrow.names if name not in ROW_NAMES)


def parquet_table(path: Path, wanted: Wanted | None, most: int) -> Table | None:
    """The columns that are wanted, or all; None if they have more than `most` bytes of numbers.

    Raises:
        InputError: the file is not Parquet; a column is unknown, or not numeric though it is to be fitted.
    """
    present = parquet_columns(path)
    names = present if wanted is None else wanted.names(present, str(path))
    file = _opened(path)
    if 8 * file.metadata.num_rows * len(names) > most:
        return None
    if wanted is not None:
        ParquetPoints(path, names, wanted.remedies.columns)
        names += tuple(name for _, name in wanted.apart if name is not None)
    names += tuple(name for name in file.schema_arrow.names if name in ROW_NAMES)
    try:
        read = file.read(columns=list(names))
    except (pyarrow.ArrowException, OSError) as error:
        raise _unreadable(path, error) from None
    return table_of(read.select(names), str(path))


def _opened(path: Path) -> Any:
    try:
        return pyarrow.parquet.ParquetFile(path)
    except (pyarrow.ArrowException, OSError) as error:
        raise _unreadable(path, error) from None


def _unreadable(path: Path, error: Exception) -> InputError:
    return InputError(f"{path}: is not a readable Parquet file ({one_line(str(error), 200)}); write it again")


def _is_numeric(kind: Any) -> bool:
    return bool(pyarrow.types.is_integer(kind) or pyarrow.types.is_floating(kind))
