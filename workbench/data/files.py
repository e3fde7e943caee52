"""Reads a user's own data from a CSV, NPY, NPZ or Parquet file into a `Dataset`, or raises one clear message."""

import hashlib
import io
import tokenize
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from workbench.data.dataset import Dataset
from workbench.data.points import (
    as_points,
    check_columns,
    check_points,
    check_size,
    column_positions,
    default_columns,
    unknown_name,
)
from workbench.data.table import numbers, parse_table, words
from workbench.errors import VALUE, InputError, cut

SUFFIXES = (".csv", ".npy", ".npz", ".parquet")

# A larger .npy or .parquet file is not read into memory; its points are read in blocks when they are needed.
READ_AT_MOST = 2**29
UNITS = ""  # of a file that does not state them

# Exceptions that NumPy raises for damaged bytes: a header is Python source and may announce more than memory can hold.
_DAMAGED = (ValueError, TypeError, EOFError, SyntaxError, tokenize.TokenError, MemoryError, OverflowError)
# Further exceptions for archives: RuntimeError if a flag marks the archive as encrypted or of unknown compression.
_DAMAGED_ZIP = (*_DAMAGED, OSError, KeyError, RuntimeError, zipfile.BadZipFile, zlib.error)


def read_file(path: Path | str, columns: Sequence[str] | None = None, label: str | None = None) -> Dataset:
    """Read and check the points in a file.

    - `.csv`: UTF-8 with a header row; see `table.parse_table`. All columns except `label` are coordinates.
    - `.npy`: an array `[N, D]` or `[N]`; its columns are named `x1` to `xD`.
    - `.parquet`: numeric columns; needs pyarrow (the extra `parquet`).
    - `.npz`: an array `x` (or the only array), with optional `columns` `[D]` and `labels` `[N]`.

    Integers and float32 are converted to float64. Duplicate rows are kept and count twice. Files with more than
    `READ_AT_MOST` bytes of points may exceed memory: a `.npy` file of float64 is mapped into memory, and a `.parquet`
    file is decoded as its points are needed.

    Args:
        path: the file.
        columns: the columns to use, in this order; all of them by default.
        label: the CSV column, or the NPZ array, that holds a known group for each point.

    Returns:
        A data set named after the stem of the file; its `source` holds the file name and the SHA-256.

    Raises:
        InputError: the file cannot be found or read, or its points cannot be fitted (`check_points`).
            The message names the file, the row and column if there is one, the value and the remedy.
    """
    path = Path(path)
    where = str(path)
    _check_path(path)
    suffix = path.suffix.lower()
    if suffix == ".parquet":
        names, x, labels = _read_parquet(path, columns, label)
    elif suffix == ".npy" and path.stat().st_size > READ_AT_MOST:
        names, x, labels = _map_npy(path, columns, label)
    else:
        readers = {".csv": _read_csv, ".npy": _read_npy, ".npz": _read_npz}
        names, x, labels = readers[suffix](_read_bytes(path), where, columns, label)
    check_points(x, where, columns=names)
    source = f"{path.name}, sha256 {_sha256(path)}"
    return Dataset(path.stem, x, names, labels, UNITS, source)


_Content = tuple[tuple[str, ...], NDArray[np.float64], NDArray[np.str_] | None]  # columns, [N, D], [N]


ALLOWED = f"give a {', '.join(SUFFIXES[:-1])} or {SUFFIXES[-1]} file"


def _check_path(path: Path) -> None:
    allowed = ALLOWED
    try:
        path.stat()
    except FileNotFoundError:
        pass
    except (OSError, ValueError) as error:
        raise InputError(f"{cut(str(path), VALUE)}: cannot be read ({error}); {allowed}") from None
    if path.is_dir():
        raise InputError(f"{path}: is a directory; {allowed}")
    if path.suffix.lower() not in SUFFIXES:
        raise InputError(f"{path}: suffix {path.suffix!r} is not read; {allowed}")
    if not path.exists():
        raise InputError(f"{path}: no such file; {allowed}")
    if not path.is_file():
        # Reading a pipe could block forever.
        raise InputError(f"{path}: is no regular file; {allowed}")


def _read_bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); {ALLOWED}") from error


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _map_npy(path: Path, columns: Sequence[str] | None, label: str | None) -> _Content:
    where = str(path)
    if label is not None:
        raise InputError(f"{where}: label = {label!r} needs a .csv or .npz file; .npy holds one array only")
    try:
        mapped = np.load(path, mmap_mode="r", allow_pickle=False)
    except _DAMAGED as error:
        raise InputError(_unreadable(where, error)) from error
    x = as_points(mapped, where)
    return (*_select(x, default_columns(x.shape[1]), columns, where), None)


def _read_parquet(path: Path, columns: Sequence[str] | None, label: str | None) -> _Content:
    if label is not None:
        raise InputError(f"{path}: label = {label!r} needs a .csv or .npz file")
    try:
        # Imported here because pyarrow is an optional dependency.
        from workbench.data.parquet import ParquetPoints
    except ModuleNotFoundError:
        raise InputError(f"{path}: Parquet needs pyarrow; install workbench[parquet]") from None
    points = ParquetPoints(path, None if columns is None else tuple(columns))
    x = np.asarray(points) if points.nbytes <= READ_AT_MOST else points
    return points.columns, x, None  # type: ignore[return-value]  # it has the shape and the slices of an array


def _read_csv(raw: bytes, where: str, columns: Sequence[str] | None, label: str | None) -> _Content:
    try:
        table = parse_table(raw.decode("utf-8-sig"), where)
    except UnicodeDecodeError as error:
        raise InputError(f"{where}: byte {error.start + 1} is not UTF-8; save the file as UTF-8") from error
    if label is not None and label not in table.columns:
        raise InputError(f"{where}: label: {unknown_name('column', label, table.columns)}")
    if columns is None:
        names = tuple(name for name in table.columns if name != label)
    else:
        names = tuple(table.columns[position] for position in column_positions(columns, table.columns, where))
    if label in names:
        raise InputError(f"{where}: column {label!r} is both label and in columns; take it out of one")
    return names, numbers(table, names), None if label is None else words(table, label)


def _read_npy(raw: bytes, where: str, columns: Sequence[str] | None, label: str | None) -> _Content:
    if label is not None:
        raise InputError(f"{where}: label = {label!r} needs a .csv or .npz file; .npy holds one array only")
    try:
        array = np.lib.format.read_array(io.BytesIO(raw), allow_pickle=False)
    except _DAMAGED as error:
        raise InputError(_unreadable(where, error)) from error
    x = as_points(array, where)
    check_size(x, where)
    return (*_select(x, default_columns(x.shape[1]), columns, where), None)


def _read_npz(raw: bytes, where: str, columns: Sequence[str] | None, label: str | None) -> _Content:
    arrays = _unzip(raw, where)
    key = "x" if "x" in arrays else next(iter(arrays), "")
    if key != "x" and len(arrays) != 1:
        raise InputError(f"{where}: holds {', '.join(arrays) or 'no array'}; name the array of points 'x'")
    if label is not None and label not in arrays:
        raise InputError(f"{where}: label: {unknown_name('array', label, tuple(arrays))}")
    x = as_points(arrays[key], f"{where}: array {key!r}")
    check_size(x, where)
    named = _texts(arrays, "columns", x.shape[1], where)
    names = default_columns(x.shape[1]) if named is None else tuple(named.tolist())
    labels = _texts(arrays, label or "labels", len(x), where)
    return (*_select(x, names, columns, where), labels)


def _unzip(raw: bytes, where: str) -> dict[str, NDArray[np.generic]]:
    try:
        with np.lib.npyio.NpzFile(io.BytesIO(raw), allow_pickle=False) as archive:
            return {key: np.asarray(archive[key]) for key in archive.files}
    except _DAMAGED_ZIP as error:
        raise InputError(_unreadable(where, error)) from error


def _texts(arrays: dict[str, NDArray[np.generic]], key: str, length: int, where: str) -> NDArray[np.str_] | None:
    array = arrays.get(key)
    if array is None:
        return None
    if array.dtype.kind not in "biufU" or array.shape != (length,):
        given = f"{array.dtype} {array.shape}"
        raise InputError(f"{where}: array {key!r} is {given}; give text or numbers of shape ({length},)")
    return array.astype(np.str_)


def _unreadable(where: str, error: BaseException) -> str:
    return (
        f"{where}: is not a readable NumPy file ({error});"
        " write it with np.save or np.savez, with numbers and not objects"
    )


def _select(
    x: NDArray[np.float64], names: tuple[str, ...], columns: Sequence[str] | None, where: str
) -> tuple[tuple[str, ...], NDArray[np.float64]]:
    check_columns(names, x.shape[1], where)
    if columns is None:
        return names, x
    return tuple(columns), x[:, column_positions(columns, names, where)]  # [N, D]
