"""Reads a user's own data from a file (CSV, NPY, NPZ, Parquet, Excel) into a `Dataset`, or raises one clear message."""

import hashlib
import io
import tokenize
import zipfile
import zlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from workbench.data.cells import told
from workbench.data.dataset import Dataset
from workbench.data.frames import table_of
from workbench.data.names import UnknownApart, column_positions, unknown_name
from workbench.data.parsing import parse_table
from workbench.data.points import as_points, check_columns, check_finite, check_size, default_columns
from workbench.data.reading import Content, Missing, Wanted, content_of, counting_rows, whole
from workbench.data.table import Table, empty_words, words_in
from workbench.data.weights import check_weights
from workbench.errors import VALUE, InputError, checks_arguments, cut, path_of

# Cells of text files are separated by commas, semicolons, tabs or |.
TEXTS, ARRAYS = (".csv", ".tsv"), (".npy", ".npz")
SUFFIXES = (*TEXTS, *ARRAYS, ".parquet", ".xlsx")

# A larger .npy or .parquet file is not read into memory; its points are read in blocks when they are needed.
READ_AT_MOST = 2**29

# Exceptions that NumPy raises for damaged bytes: a header is Python source and may announce more than memory can hold.
_DAMAGED = (ValueError, TypeError, EOFError, SyntaxError, tokenize.TokenError, MemoryError, OverflowError)
# Further exceptions for archives: RuntimeError if a flag marks the archive as encrypted or of unknown compression.
_DAMAGED_ZIP = (*_DAMAGED, OSError, KeyError, RuntimeError, zipfile.BadZipFile, zlib.error)


@checks_arguments
def read_file(
    path: Path | str,
    columns: Sequence[str] | None = None,
    label: str | None = None,
    *,
    identity: str | None = None,
    missing: Missing = "refuse",
    wanted: Wanted | None = None,
) -> Dataset:
    """Read and check the points in a file.

    - `.csv`, `.tsv`: UTF-8 with a header row; see `parsing.parse_table`. All columns except `label` are coordinates.
    - `.npy`: an array `[N, D]` or `[N]`, whose columns are named `x1` to `xD`, or a structured one with its own names.
    - `.parquet`: columns of numbers, beside those of classes and ids; needs pyarrow (the extra `parquet`).
    - `.xlsx`: the first sheet, with a header row; needs pandas and openpyxl (the extra `excel`).
    - `.npz`: an array `x` (or the only array), with optional `columns` `[D]` and `labels` `[N]`; `notes` of the
      data set name others.

    Integers and float32 are converted to float64. Duplicate rows are kept and count twice. Files with more than
    `READ_AT_MOST` bytes of points may exceed memory: a `.npy` file of float64 is mapped into memory, and a `.parquet`
    file is decoded as its points are needed.

    Args:
        path: the file.
        columns: the columns to use, in this order; all of them by default.
        label: the CSV column, or the NPZ array, that holds a known group for each point.
        identity: the column that names the rows; it is no coordinate.
        missing: what becomes of a row with a missing cell: "refuse" makes it an error, "drop" leaves the row out, and
            "marginal" lets it count by its other cells.
        wanted: in place of these four, all that is to be read: weights and columns to leave out as well.

    Returns:
        A data set named after the stem of the file; its `source` holds the file name and the SHA-256.

    Raises:
        InputError: the file cannot be found or read, or its points cannot be fitted (`check_points`).
            The message names the file, the row and column if there is one, the value and the remedy.
    """
    return _read(path_of("path", path), Wanted(columns, label, identity, missing=missing).unless(wanted), fit=True)


def read_rows(path: Path | str, wanted: Wanted) -> Dataset:
    """The points in a file as `read_file` reads them, however few: they are finite, but a column may be constant.

    Raises:
        InputError: the file cannot be found or read, or a cell is no finite number.
    """
    return _read(Path(path), wanted, fit=False)


def _read(path: Path, wanted: Wanted, *, fit: bool) -> Dataset:
    where = str(path)
    table = table_in(path, wanted)
    if table is not None:
        content = content_of(table, wanted, fit=fit)
    else:
        content = _arrays_in(path, wanted)
        kept = counting_rows(content.x, wanted, fit=fit)
        content = content if kept is None else whole(content, kept)
        if content.labels is not None and (empty := empty_words(content.labels, wanted.label or "labels")):
            raise InputError(told(where, empty))
    if fit:
        wanted.check(content.x, where, content.columns)
    elif table is None and len(content.x) and wanted.missing != "marginal":
        check_finite(content.x, where, columns=content.columns)
    source = f"{path.name}, sha256 {_sha256(path)}"
    unread = [each for each in unread_arrays(path) if each not in (wanted.label, wanted.weights, wanted.label_known)]
    note = f"Arrays of the file that are not read: {', '.join(unread)}." if unread else ""
    return replace(wanted.data_set(content, path.stem, source), notes=note)


def table_in(path: Path, wanted: Wanted | None = None) -> Table | None:
    """The table in a file of text, Excel, structured NPY or, if it fits in memory, Parquet; None for others.

    Args:
        path: the file.
        wanted: what will be read of it; unless given, everything.

    Raises:
        InputError: the file cannot be found or read, or is no table.
    """
    _check_path(path)
    suffix = path.suffix.lower()
    if suffix in TEXTS:
        return parse_table(_decoded(_read_bytes(path), str(path)), str(path))
    if suffix == ".xlsx":
        return _read_excel(_read_bytes(path), str(path))
    if suffix == ".parquet":
        return _parquet().parquet_table(path, wanted, READ_AT_MOST)
    return _structured(path) if suffix == ".npy" else None


def _structured(path: Path) -> Table | None:
    """The fields of an array that has names for them; None of others, and of damaged files, which are refused later."""
    try:
        mapped = np.load(path, mmap_mode="r", allow_pickle=False)
    except (*_DAMAGED, OSError):
        return None
    return table_of(mapped, str(path)) if isinstance(mapped, np.ndarray) else None


def _arrays_in(path: Path, wanted: Wanted) -> Content:
    """What a file holds that is no table."""
    where, suffix = str(path), path.suffix.lower()
    if wanted.identity is not None:
        raise UnknownApart(f"{where}: {wanted.asked('identity')} needs a table, as a .csv file")
    if suffix == ".parquet":
        if wanted.label is not None:
            raise InputError(f"{where}: {wanted.asked('label')}: the file is larger than memory; leave the label out")
        parquet = _parquet()
        points = parquet.ParquetPoints(
            path, wanted.names(parquet.parquet_columns(path), where), wanted.remedies.columns
        )
        return _weighted(
            Content(points.columns, points), lambda name: parquet.ParquetPoints(path, (name,)), wanted, where
        )
    if suffix == ".npy" and path.stat().st_size > READ_AT_MOST:
        return _map_npy(path, wanted)
    reader = _read_npy if suffix == ".npy" else _read_npz
    return reader(_read_bytes(path), where, wanted)


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
        text = path.suffix.lower() in ("", ".txt", ".dat", ".data")
        renamed = "; text with a header and commas, semicolons, tabs or | between cells can be renamed to .csv"
        raise InputError(f"{path}: suffix {path.suffix!r} is not read; {allowed}{renamed if text else ''}")
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


def _map_npy(path: Path, wanted: Wanted) -> Content:
    where = str(path)
    if wanted.label is not None:
        raise InputError(f"{where}: {wanted.asked('label')} needs a .csv or .npz file; .npy holds one array only")
    try:
        mapped = np.load(path, mmap_mode="r", allow_pickle=False)
    except _DAMAGED as error:
        raise InputError(_unreadable(where, error)) from error
    x = as_points(mapped, where)
    return _select(x, default_columns(x.shape[1]), wanted, where)


def _parquet() -> Any:
    try:
        # Imported here because pyarrow is an optional dependency.
        from workbench.data import parquet
    except ModuleNotFoundError:
        raise InputError("Parquet needs pyarrow; install workbench[parquet]") from None
    return parquet


def _read_excel(raw: bytes, where: str) -> Table:
    """The first sheet of an Excel file, read by pandas and openpyxl."""
    try:
        # Imported here because both are optional dependencies.
        import openpyxl  # type: ignore[import-untyped,unused-ignore]  # noqa: F401  # pandas imports it by name
        import pandas
    except ModuleNotFoundError:
        raise InputError(
            f"{where}: Excel needs pandas and openpyxl; install workbench[excel], or save the sheet as CSV"
        ) from None
    try:
        frame = pandas.read_excel(io.BytesIO(raw), dtype=object, na_filter=False, engine="openpyxl")
    except (*_DAMAGED_ZIP, IndexError, AttributeError) as error:
        raise InputError(f"{where}: is not a readable Excel file ({error}); save the sheet as CSV") from None
    table = table_of(frame, where)
    if table is None or not table.num_rows:
        raise InputError(f"{where}: the first sheet is empty; give a header row and data rows, at least 2 for a fit")
    return table


def _decoded(raw: bytes, where: str) -> str:
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{where}: byte {error.start + 1} is not UTF-8; save the file as UTF-8") from error


def _read_npy(raw: bytes, where: str, wanted: Wanted) -> Content:
    if wanted.label is not None:
        raise InputError(f"{where}: {wanted.asked('label')} needs a .csv or .npz file; .npy holds one array only")
    try:
        array = np.lib.format.read_array(io.BytesIO(raw), allow_pickle=False)
    except _DAMAGED as error:
        raise InputError(_unreadable(where, error)) from error
    x = as_points(array, where)
    _check_some(x, where)
    return _select(x, default_columns(x.shape[1]), wanted, where)


def _read_npz(raw: bytes, where: str, wanted: Wanted) -> Content:
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
    # An array of that name holds the weights, or the known components, or else a column of the points does.
    apart = None if wanted.weights is None else arrays.get(wanted.weights)
    known = None if wanted.label_known is None else _texts(arrays, wanted.label_known, len(x), where)
    in_columns = replace(
        wanted,
        weights=wanted.weights if apart is None else None,
        label_known=wanted.label_known if known is None else None,
    )
    found = _select(x, names, in_columns, where)._replace(labels=labels)
    found = found if known is None else found._replace(known=known)
    if apart is None:
        return found
    return found._replace(weights=check_weights(apart, len(x), f"{where}: {wanted.asked('weights')}"))


def _check_some(x: NDArray[np.float64], where: str) -> None:
    """Refuse an array without a number before its columns are named: a header can announce any number of them."""
    if not x.size:
        check_size(x, where)


def unread_arrays(path: Path) -> dict[str, tuple[int, ...]]:
    """Names and shapes of the arrays in an NPZ file that are read only if they are asked for; none of another file."""
    if path.suffix.lower() != ".npz":
        return {}
    arrays = _unzip(_read_bytes(path), str(path))
    beside = {name: array.shape for name, array in arrays.items() if name not in ("x", "columns", "labels")}
    return beside if len(arrays) > 1 else {}


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


def _select(x: NDArray[np.float64], names: tuple[str, ...], wanted: Wanted, where: str) -> Content:
    check_columns(names, x.shape[1], where)
    chosen = replace(wanted, label=None).names(names, where)
    kept = x if chosen == names else x[:, column_positions(chosen, names, where)]  # [N, D]
    return _weighted(Content(chosen, kept), lambda name: x[:, [names.index(name)]], wanted, where)


def _weighted(content: Content, column: Callable[[str], Any], wanted: Wanted, where: str) -> Content:
    """The content with the weights and the known components in columns [N, 1] of their names, if any are wanted."""
    if wanted.label_known is not None:
        content = content._replace(known=words_in(np.asarray(column(wanted.label_known))[:, 0]))
    if wanted.weights is None:
        return content
    cells = np.asarray(column(wanted.weights))[:, 0]
    return content._replace(weights=check_weights(cells, len(cells), f"{where}: {wanted.asked('weights')}"))
