"""Looks up names that a user gives among those allowed, and suggests the nearest spelling."""

import difflib
from collections.abc import Sequence

from workbench.errors import VALUE, InputError, cut, shown


def unknown_name(kind: str, name: str, allowed: Sequence[str]) -> str:
    """The end of an error message: the unknown name, the nearest spelling and all allowed names."""
    near = difflib.get_close_matches(cut(name, VALUE), allowed, n=1)
    suggestion = f" Did you mean {near[0]!r}?" if near else ""
    return f"unknown {kind} {shown(name)}.{suggestion} Allowed: {', '.join(allowed)}"


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
    for name in columns:
        if name not in allowed:
            raise InputError(f"{where}: {unknown_name('column', name, allowed)}")
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
