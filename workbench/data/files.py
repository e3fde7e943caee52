"""Reads a user's own data from a CSV, NPY, NPZ or Parquet file into a `Dataset`, or raises one clear message."""

import hashlib
import io
import tokenize
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from workbench.data.dataset import Dataset
from workbench.data.points import (
    as_points,
    check_columns,
    check_finite,
    check_points,
    check_size,
    column_positions,
    default_columns,
    unknown_name,
)
from workbench.data.table import check_words, numbers, parse_table, words
from workbench.errors import VALUE, InputError, cut

# Those of text come first: their cells are separated by commas, semicolons or tabs.
TABLES = (".csv", ".tsv")
SUFFIXES = (*TABLES, ".npy", ".npz", ".parquet")

# A larger .npy or .parquet file is not read into memory; its points are read in blocks when they are needed.
READ_AT_MOST = 2**29
UNITS = ""  # of a file that does not state them

Missing: TypeAlias = Literal["refuse", "drop"]

# Exceptions that NumPy raises for damaged bytes: a header is Python source and may announce more than memory can hold.
_DAMAGED = (ValueError, TypeError, EOFError, SyntaxError, tokenize.TokenError, MemoryError, OverflowError)
# Further exceptions for archives: RuntimeError if a flag marks the archive as encrypted or of unknown compression.
_DAMAGED_ZIP = (*_DAMAGED, OSError, KeyError, RuntimeError, zipfile.BadZipFile, zlib.error)


@dataclass(frozen=True)
class Wanted:
    """What is read of a file.

    Attributes:
        columns: the columns to use, in this order; by default all but those named below.
        label: the CSV column, or the NPZ array, that holds a known group for each point.
        identity: the CSV column that names the rows; it is no coordinate.
        exclude: columns that are not used.
        missing: what becomes of a row with a missing cell: "refuse" makes it an error, "drop" leaves the row out.
    """

    columns: Sequence[str] | None = None
    label: str | None = None
    identity: str | None = None
    exclude: Sequence[str] = ()
    missing: Missing = "refuse"

    def __post_init__(self) -> None:
        if self.columns is not None and self.exclude:
            raise InputError("columns and exclude: give one of them, the columns to use or those to leave out")

    def names(self, present: Sequence[str], where: str) -> tuple[str, ...]:
        """The columns to use of those that are present, after a check that all names are known."""
        for field, names in (("label", [self.label]), ("id", [self.identity]), ("exclude", self.exclude)):
            for name in names:
                if name is not None and name not in present:
                    raise InputError(f"{where}: {field}: {unknown_name('column', name, present)}")
        if self.columns is None:
            left = tuple(name for name in present if name not in (self.label, self.identity, *self.exclude))
            if present and not left:
                raise InputError(f"{where}: exclude, label and id leave no column to fit; it has {', '.join(present)}")
            return left
        chosen = tuple(present[position] for position in column_positions(self.columns, present, where))
        for field, name in (("label", self.label), ("id", self.identity)):
            if name in chosen:
                raise InputError(f"{where}: column {name!r} is both {field} and in columns; take it out of one")
        return chosen


def read_file(
    path: Path | str, columns: Sequence[str] | None = None, label: str | None = None, *, wanted: Wanted | None = None
) -> Dataset:
    """Read and check the points in a file.

    - `.csv`, `.tsv`: UTF-8 with a header row; see `table.parse_table`. All columns except `label` are coordinates.
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
        wanted: in place of both, all that is to be read: ids, columns to leave out, what becomes of missing cells.

    Returns:
        A data set named after the stem of the file; its `source` holds the file name and the SHA-256.

    Raises:
        InputError: the file cannot be found or read, or its points cannot be fitted (`check_points`).
            The message names the file, the row and column if there is one, the value and the remedy.
    """
    data = read_rows(path, Wanted(columns, label) if wanted is None else wanted)
    check_points(data.x, str(path), columns=data.columns)
    return data


def read_rows(path: Path | str, wanted: Wanted) -> Dataset:
    """The points in a file as `read_file` reads them, however few: they are finite, but a column may be constant.

    Raises:
        InputError: the file cannot be found or read, or a cell is no finite number.
    """
    path = Path(path)
    where = str(path)
    _check_path(path)
    suffix = path.suffix.lower()
    if wanted.missing == "drop" and suffix == ".parquet":
        raise InputError(f'{where}: missing = "drop" needs a .csv, .tsv, .npy or .npz file; fill its missing cells in')
    if wanted.identity is not None and suffix not in TABLES:
        raise InputError(f"{where}: id = {wanted.identity!r} needs a .csv file")
    if suffix == ".parquet":
        found = _read_parquet(path, wanted)
    elif suffix == ".npy" and path.stat().st_size > READ_AT_MOST:
        found = _map_npy(path, wanted)
    else:
        readers = {**dict.fromkeys(TABLES, _read_csv), ".npy": _read_npy, ".npz": _read_npz}
        found = readers[suffix](_read_bytes(path), where, wanted)
    names, x, labels, ids = found
    kept = _whole_rows(x) if wanted.missing == "drop" else None
    if kept is not None and not np.all(kept):
        # Rows are still to be recognised by their place in the file.
        ids = (np.flatnonzero(kept) + 1).astype(np.str_) if ids is None else ids[kept]
        x, labels = x[kept], None if labels is None else labels[kept]
    if len(x):
        check_finite(x, where, columns=names)
    if labels is not None:
        check_words(labels, where, wanted.label or "labels")
    source = f"{path.name}, sha256 {_sha256(path)}"
    dropped = 0 if kept is None else int(np.sum(~kept))
    return Dataset(path.stem, x, names, labels, UNITS, source, ids=ids, dropped=dropped)


def _whole_rows(x: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Which rows have no missing cell. [N]"""
    if not isinstance(x, np.ndarray):
        raise InputError('missing = "drop": the file is read by parts, as it is larger than memory; fill its cells in')
    whole: NDArray[np.bool_] = ~np.any(np.isnan(x), axis=1)
    return whole


class _Content(NamedTuple):
    """What a file holds."""

    columns: tuple[str, ...]
    x: NDArray[np.float64]  # [N, D]
    labels: NDArray[np.str_] | None = None  # [N]
    ids: NDArray[np.str_] | None = None  # [N]


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


def _map_npy(path: Path, wanted: Wanted) -> _Content:
    where = str(path)
    if wanted.label is not None:
        raise InputError(f"{where}: label = {wanted.label!r} needs a .csv or .npz file; .npy holds one array only")
    try:
        mapped = np.load(path, mmap_mode="r", allow_pickle=False)
    except _DAMAGED as error:
        raise InputError(_unreadable(where, error)) from error
    x = as_points(mapped, where)
    return _Content(*_select(x, default_columns(x.shape[1]), wanted, where))


def _read_parquet(path: Path, wanted: Wanted) -> _Content:
    if wanted.label is not None:
        raise InputError(f"{path}: label = {wanted.label!r} needs a .csv or .npz file")
    try:
        # Imported here because pyarrow is an optional dependency.
        from workbench.data.parquet import ParquetPoints, parquet_columns
    except ModuleNotFoundError:
        raise InputError(f"{path}: Parquet needs pyarrow; install workbench[parquet]") from None
    columns = None if wanted.columns is None else tuple(wanted.columns)
    if wanted.exclude:
        columns = wanted.names(parquet_columns(path), str(path))
    points = ParquetPoints(path, columns)
    x = np.asarray(points) if points.nbytes <= READ_AT_MOST else points
    return _Content(points.columns, x)  # type: ignore[arg-type]  # it has the shape and the slices of an array


def read_text(path: Path) -> str:
    """The text of a table, without byte order mark.

    Raises:
        InputError: the file cannot be found or read, or is not UTF-8.
    """
    _check_path(path)
    return _decoded(_read_bytes(path), str(path))


def _decoded(raw: bytes, where: str) -> str:
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{where}: byte {error.start + 1} is not UTF-8; save the file as UTF-8") from error


def _read_csv(raw: bytes, where: str, wanted: Wanted) -> _Content:
    table = parse_table(_decoded(raw, where), where)
    names = wanted.names(table.columns, where)
    x = numbers(table, names, drop=wanted.missing == "drop")
    labels, ids = (None if name is None else words(table, name) for name in (wanted.label, wanted.identity))
    return _Content(names, x, labels, ids)


def _read_npy(raw: bytes, where: str, wanted: Wanted) -> _Content:
    if wanted.label is not None:
        raise InputError(f"{where}: label = {wanted.label!r} needs a .csv or .npz file; .npy holds one array only")
    try:
        array = np.lib.format.read_array(io.BytesIO(raw), allow_pickle=False)
    except _DAMAGED as error:
        raise InputError(_unreadable(where, error)) from error
    x = as_points(array, where)
    _check_some(x, where)
    return _Content(*_select(x, default_columns(x.shape[1]), wanted, where))


def _read_npz(raw: bytes, where: str, wanted: Wanted) -> _Content:
    arrays = _unzip(raw, where)
    key = "x" if "x" in arrays else next(iter(arrays), "")
    if key != "x" and len(arrays) != 1:
        raise InputError(f"{where}: holds {', '.join(arrays) or 'no array'}; name the array of points 'x'")
    if wanted.label is not None and wanted.label not in arrays:
        raise InputError(f"{where}: label: {unknown_name('array', wanted.label, tuple(arrays))}")
    x = as_points(arrays[key], f"{where}: array {key!r}")
    _check_some(x, where)
    named = _texts(arrays, "columns", x.shape[1], where)
    names = default_columns(x.shape[1]) if named is None else tuple(named.tolist())
    labels = _texts(arrays, wanted.label or "labels", len(x), where)
    return _Content(*_select(x, names, wanted, where), labels)


def _check_some(x: NDArray[np.float64], where: str) -> None:
    """Refuse an array without a number before its columns are named: a header can announce any number of them."""
    if not x.size:
        check_size(x, where)


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
    x: NDArray[np.float64], names: tuple[str, ...], wanted: Wanted, where: str
) -> tuple[tuple[str, ...], NDArray[np.float64]]:
    check_columns(names, x.shape[1], where)
    chosen = replace(wanted, label=None).names(names, where)
    return (names, x) if chosen == names else (chosen, x[:, column_positions(chosen, names, where)])  # [N, D]
