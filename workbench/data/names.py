"""Names of columns and others: which are unknown, with the nearest spelling, and where those that are known stand."""

from collections.abc import Sequence

from workbench.data.cells import SHOWN_COLUMNS
from workbench.errors import LINE, InputError, cut, nearest, shown


def unknown_name(kind: str, name: str, allowed: Sequence[str]) -> str:
    """The end of an error message: the unknown name, the nearest spelling and all allowed names."""
    near = nearest(name, allowed)
    suggestion = f" Did you mean {near!r}?" if near else ""
    return f"unknown {kind} {shown(name)}.{suggestion} Allowed: {', '.join(allowed)}"


def unknown_names(kind: str, names: Sequence[str], allowed: Sequence[str]) -> str:
    """As `unknown_name`, for at least one unknown name of the same kind."""
    if len(names) == 1:
        return unknown_name(kind, names[0], allowed)
    return f"unknown {kind}s {_each(names, allowed)}. Allowed: {', '.join(allowed)}"


def _each(names: Sequence[str], allowed: Sequence[str]) -> str:
    """Unknown names, each with the nearest spelling that is allowed."""
    listed = []
    for name in names[:SHOWN_COLUMNS]:
        near = nearest(name, allowed)
        listed.append(shown(name) + (f" (did you mean {near!r}?)" if near else ""))
    listed += [f"{len(names) - SHOWN_COLUMNS:,} more"] if len(names) > SHOWN_COLUMNS else []
    return ", ".join(listed)


class UnknownColumns(InputError):
    """Columns that are not there: their `names`, and those that are `present`."""

    names: tuple[str, ...] = ()
    present: tuple[str, ...] = ()

    @classmethod
    def of(cls, names: Sequence[str], present: Sequence[str], where: str) -> "UnknownColumns":
        """The error that names them, the nearest spellings and all that are present."""
        error = cls(f"{where}: {unknown_names('column', names, present)}")
        error.names, error.present = tuple(names), tuple(present)
        return error


class UnknownApart(InputError):
    """A column beside those of numbers, such as one of ids, that is not there or cannot be read."""


def lacking(where: str, columns: Sequence[str], present: Sequence[str], whose: str) -> str:
    """An error message: a source lacks some of the columns of a mixture, and has others.

    A column that the mixture has as well is no other spelling of one that is lacking.
    """
    lacks, others = ([name for name in a if name not in b] for a, b in ((columns, present), (present, columns)))
    return f"{where}: lacks {_each(lacks, others)} of {whose}; it has {cut(', '.join(present), LINE // 4)}"


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
    unknown = [name for name in columns if name not in allowed]
    if unknown:
        raise UnknownColumns.of(unknown, allowed, where)
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
