"""What is read of a table: its columns of numbers, known classes and ids, with one message about all that is wrong."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal, NamedTuple, TypeAlias, get_args

import numpy as np
from numpy.typing import NDArray

from workbench.data.cells import Cells, constants, place, several, told
from workbench.data.dataset import Dataset
from workbench.data.frames import table_of
from workbench.data.incomplete import check_incomplete, has_missing
from workbench.data.moments import blocks_of
from workbench.data.names import UnknownApart, column_positions, unknown_name
from workbench.data.points import check_points, default_columns, named_points
from workbench.data.table import (
    IN_COMMAND,
    IN_CONFIG,
    IN_PYTHON,
    Remedies,
    Table,
    empty_words,
    numbers,
    words,
    words_in,
)
from workbench.data.weights import check_weights
from workbench.display import as_html, short
from workbench.errors import InputError, checks_arguments, one_line, shown

Missing: TypeAlias = Literal["refuse", "drop", "marginal"]


@checks_arguments
@dataclass(frozen=True)
class Wanted:
    """What is read of a file or a table.

    Attributes:
        columns: the columns to use, in this order; by default all but those named below.
        label: the column, or the NPZ array, that holds a known group for each point.
        identity: the column that names the rows; it is no coordinate.
        weights: the column, or the NPZ array, that says how often each row counts; it is no coordinate.
        exclude: columns that are not used.
        missing: what becomes of a row with a missing cell: "refuse" makes it an error, "drop" leaves the row out, and
            "marginal" keeps the row, with NaN in that cell.
        label_known: the column, or the NPZ array, that says which component a row comes from, where it is known: a
            number from 0, or the name of a class. It is no coordinate, and may be the one of `label`.
    """

    columns: Sequence[str] | None = None
    label: str | None = None
    identity: str | None = None
    exclude: Sequence[str] = ()
    missing: Missing = "refuse"
    weights: str | None = None
    label_known: str | None = None

    # How messages say what can be asked for.
    remedies: ClassVar[Remedies] = IN_PYTHON

    __repr__ = short
    _repr_html_ = as_html

    def asked(self, key: str) -> str:
        """What is asked for a key, as it was written."""
        return self.remedies.ask(key, repr(getattr(self, key)))

    @property
    def apart(self) -> tuple[tuple[str, str | None], ...]:
        """The columns that are no coordinates, by the field that names them."""
        return (
            ("label", self.label),
            (self.remedies.identity, self.identity),
            ("weights", self.weights),
            ("label_known", self.label_known),
        )

    def __post_init__(self) -> None:
        for field, name in self.apart:
            if name is not None and not isinstance(name, str):
                raise InputError(f"{field}: give the name of a column as text, got {one_line(shown(name))}")
        for field, names in (("columns", self.columns), ("exclude", self.exclude)):
            if names is None or (field == "columns" and isinstance(names, str)):
                continue
            several = tuple(names) if isinstance(names, Iterable) and not isinstance(names, str) else (None,)
            if not all(isinstance(name, str) for name in several):
                raise InputError(f"{field}: give a list of names of columns as text, got {one_line(shown(names))}")
            object.__setattr__(self, field, several)
        if self.columns is not None and self.exclude:
            raise InputError("columns and exclude: give one of them, the columns to use or those to leave out")
        both = next((field for field, name in self.apart if field != "weights" and name == self.weights), None)
        if self.weights is not None and both is not None:
            raise InputError(
                f"weights: column {shown(self.weights)} is also {both}, and weights say how often a row counts; "
                "take it out of one"
            )
        if self.missing not in get_args(Missing):
            raise InputError(f"missing: unknown {shown(self.missing)}; allowed: {', '.join(get_args(Missing))}")

    def unless(self, wanted: "Wanted | None") -> "Wanted":
        """What is wanted of a reader with these arguments, unless `wanted` says all of it.

        Raises:
            InputError: both say something.
        """
        if wanted is None:
            return self
        if self.columns is not None or self != Wanted():
            raise InputError(
                "wanted: stands in place of columns, label, identity and missing; give these within wb.Wanted(...)"
            )
        return wanted

    def data_set(self, content: "Content", name: str, source: str) -> Dataset:
        """The data set of what was read; it has no units."""
        names, x, labels, ids, dropped, weights, known = content
        data = Dataset(name, x, names, labels, "", source, ids=ids, dropped=dropped, weights=weights, known=known)
        return replace(data, missing="marginal") if self.missing == "marginal" else data

    def check(self, x: NDArray[np.float64], where: str, columns: Sequence[str]) -> None:
        """Refuse points [N, D] that no mixture can be fitted to."""
        if self.missing == "marginal" and has_missing(x):
            check_incomplete(x, where, columns=columns)
        else:
            check_points(x, where, columns=columns, marginal=self.remedies.marginal)

    def names(self, present: Sequence[str], where: str) -> tuple[str, ...]:
        """The columns to use of those that are present, after a check that all names are known."""
        unknown = [
            f"{field}: {unknown_name('column', name, present)}"
            for field, names in (*((field, [name]) for field, name in self.apart), ("exclude", self.exclude))
            for name in names
            if name is not None and name not in present
        ]
        if unknown:
            raise UnknownApart(told(where, unknown))
        if self.columns is None:
            unfitted = {*(name for _, name in self.apart), *self.exclude}
            left = tuple(name for name in present if name not in unfitted)
            if present and not left:
                every, identity = ", ".join(present), self.remedies.identity
                raise InputError(
                    f"{where}: exclude, label, {identity} and weights leave no column to fit; it has {every}"
                )
            return left
        chosen = tuple(present[position] for position in column_positions(self.columns, present, where))
        for field, name in self.apart:
            if name in chosen:
                raise InputError(f"{where}: column {shown(name)} is both {field} and in columns; take it out of one")
        return chosen


class WantedOfConfig(Wanted):
    """What the keys of a config ask for."""

    remedies = IN_CONFIG


class WantedOfCommand(Wanted):
    """What a command asks for, whose columns cannot be chosen."""

    remedies = IN_COMMAND


class Content(NamedTuple):
    """What is used of a file or a table."""

    columns: tuple[str, ...]
    x: NDArray[np.float64]  # [N, D]
    labels: NDArray[np.str_] | None = None  # [N]
    ids: NDArray[np.str_] | None = None  # [N]
    dropped: int = 0
    weights: NDArray[np.float64] | None = None  # [N]
    known: NDArray[np.str_] | None = None  # [N]


@checks_arguments
def read_table(
    table: Any,
    columns: Sequence[str | int] | None = None,
    label: str | int | None = None,
    *,
    identity: str | int | None = None,
    missing: Missing = "refuse",
    wanted: Wanted | None = None,
    name: str = "table",
) -> Dataset:
    """The points in a table of pandas, polars, Arrow or xarray, a mapping of columns, or an array.

    Args:
        table: columns of N cells. An index of pandas that is not the default one names the rows.
        columns: the columns to use, in this order; all of them by default. A whole number stands for the column that is
            named so.
        label: the column that holds a known group for each point.
        identity: the column that names the rows; it is no coordinate.
        missing: what becomes of a row with a missing cell: "refuse" makes it an error, "drop" leaves the row out, and
            "marginal" lets it count by its other cells.
        wanted: in place of these four, all that is to be read: weights and columns to leave out as well.
        name: of the data set, for messages and titles.

    Raises:
        InputError: a column is unknown, or its cells cannot be fitted; the message tells all that is wrong. Or `wanted`
            is given beside what it stands for.
    """
    asked = Wanted(_named(columns), _named(label), _named(identity), missing=missing).unless(wanted)
    found = table_of(table, name)
    if found is None:
        x, _ = named_points(table, name)
        found = Table(name, default_columns(x.shape[1]), tuple(x.T))
    content = content_of(found, asked, fit=True)
    asked.check(content.x, name, content.columns)
    return asked.data_set(content, name, "")


def _named(name: Any) -> Any:
    """A name, or a list of names, in which whole numbers become text, as the names of a table do."""
    if isinstance(name, int | np.integer) and not isinstance(name, bool):
        return str(name)
    several = name.tolist() if hasattr(name, "tolist") else name  # an array, an index of pandas
    return [_named(each) for each in several] if isinstance(several, list | tuple) else several


def content_of(table: Table, wanted: Wanted, *, fit: bool) -> Content:
    """What is wanted of a table.

    Args:
        table: the cells.
        wanted: which columns, and what becomes of missing cells.
        fit: whether a mixture is to be fitted to the points, so that constant columns are wrong.

    Raises:
        InputError: a column is unknown; cells are missing, infinite or not numbers; labels are empty; columns are
            constant. One message tells all of these.
    """
    allowed = wanted.missing != "refuse"
    table = table._replace(remedies=wanted.remedies)
    names = wanted.names(table.columns, table.where)
    x, complaints = numbers(table, names, drop=allowed)
    labels, ids, known = (
        None if name is None else words(table, name) for name in (wanted.label, wanted.identity, wanted.label_known)
    )
    if ids is None and table.ids is not None:
        ids = words_in(table.ids)
    kept = None if complaints or not allowed else counting_rows(x, wanted, fit=fit)
    complaints += _infinite(x, names)
    weights, wrong = _weights(table, wanted)
    complaints += wrong
    if labels is not None:
        complaints += empty_words(labels, str(wanted.label), kept)
    rows = x if kept is None else x[kept]
    if fit and len(rows) > 1:
        low, high = np.fmin.reduce(rows, axis=0), np.fmax.reduce(rows, axis=0)  # but for missing cells
        flat = np.flatnonzero((low == high) & np.isfinite(low))
        complaints += [constants([names[d] for d in flat], low[flat].tolist())] if len(flat) else []
    if complaints:
        raise InputError(told(table.where, complaints))
    content = Content(names, x, labels, ids, weights=weights, known=known)
    return content if kept is None else whole(content, kept)


def counting_rows(x: NDArray[np.float64], wanted: Wanted, *, fit: bool) -> NDArray[np.bool_] | None:
    """Which rows are kept [N]; None if all are.

    If rows with missing cells are dropped, those without any. If these are marginalised, and a mixture is to be fitted,
    those with a value: the density of no cells is one, so that a row without any says nothing.
    """
    missing = wanted.missing
    if missing == "drop" and not isinstance(x, np.ndarray):
        raise InputError(
            f"{wanted.remedies.drop}: the file is read by parts, as it is larger than memory; fill its cells in"
        )
    if missing == "drop":
        return np.asarray(~np.any(np.isnan(x), axis=1))
    if missing == "marginal" and fit and isinstance(x, np.ndarray):
        return np.asarray(~np.all(np.isnan(x), axis=1))
    return None


def whole(content: Content, kept: NDArray[np.bool_]) -> Content:
    """The rows that are kept [N]; they are still recognised by their places, unless they have names."""
    if np.all(kept):
        return content
    ids = (np.flatnonzero(kept) + 1).astype(np.str_) if content.ids is None else content.ids[kept]
    labels, known = (None if column is None else column[kept] for column in (content.labels, content.known))
    weights = None if content.weights is None else content.weights[kept]
    return Content(content.columns, content.x[kept], labels, ids, int(np.sum(~kept)), weights, known)


def fate_of_missing(data: Dataset) -> str:
    """A sentence on what became of the rows with missing cells that count; empty if there are none."""
    told = [told_dropped(data.dropped, data.missing)] if data.dropped else []
    if data.missing == "marginal":
        count = sum(int(np.sum(np.any(np.isnan(block), axis=1))) for block in blocks_of(data.counted.x))
        each = _rows(count, "with a missing cell counts by its", "with missing cells count by their")
        told += [f"{each} other cells."] if count else []
    return " ".join(told)


def told_dropped(rows: int, missing: Missing) -> str:
    """A sentence on rows that were left out because a cell is missing, or all where missing cells are marginalised."""
    if missing == "marginal":
        return f"{_rows(rows, 'without any value was', 'without any value were')} left out."
    return f"{_rows(rows, 'with a missing cell was', 'with missing cells were')} left out."


def _rows(count: int, one: str, several: str) -> str:
    return f"1 row {one}" if count == 1 else f"{count:,} rows {several}"


def _weights(table: Table, wanted: Wanted) -> tuple[NDArray[np.float64] | None, list[str]]:
    """The weights in a column, if there are any, and what is wrong with them. [N]"""
    name = wanted.weights
    if name is None:
        return None, []
    cells, wrong = numbers(table, (name,))
    if wrong:
        (row, *others) = np.flatnonzero(np.isnan(cells[:, 0])).tolist()
        more = f" and in {len(others):,} other rows" if others else ""
        return None, [f"{place(row, name)}{more} is no number; weights say how often each row counts"]
    try:
        return check_weights(cells[:, 0], len(cells), wanted.asked("weights")), []
    except InputError as error:
        return None, [str(error)]


def _infinite(x: NDArray[np.float64], names: Sequence[str]) -> list[str]:
    cells = Cells.where([np.isinf(x)], x.shape[1])
    if cells.total == 0:
        return []
    if cells.total == 1:
        ((row, column),) = cells.first
        return [f"{place(row, names[column])} is {x[row, column]}; give a finite number or remove the row"]
    told_all = several(cells, names, "infinite", lambda row, column: str(x[row, column]))
    return [f"{told_all}; give finite numbers or remove the rows"]
