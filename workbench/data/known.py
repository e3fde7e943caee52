"""Rows whose component is known, by number or by the name of a class."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from workbench.data.points import check_plain
from workbench.data.table import MISSING, number_in, text_of
from workbench.errors import InputError, shown

# The number that stands for a component that is not known.
UNKNOWN = -1


class Known(NamedTuple):
    """The components of rows, where they are known."""

    components: NDArray[np.int64]  # [N]   from 0; `UNKNOWN` where it is not known
    names: tuple[str, ...] = ()  # of the first components, if rows have names of classes and not numbers

    @classmethod
    def of(cls, given: "ArrayLike | Known", rows: int, components: int, where: str = "label_known") -> "Known | None":
        """The known components of rows; None if none is known.

        Args:
            given: for each row the number of its component, from 0, or the name of its class; -1, None, NaN, an empty
                text or another word for a missing cell where it is not known. Names stand for the components 0, 1, ...
                in their sorted order. If every cell is a number, none of them is a name.
            rows: N.
            components: K.
            where: the name of the values in messages.

        Raises:
            InputError: there is not one for each row; a number is none of a component, or all numbers count from 1;
                there are more names than components.
        """
        if isinstance(given, Known):
            numbers = np.asarray(given.components)
            if (
                numbers.shape != (rows,)
                or numbers.dtype.kind != "i"
                or np.any((numbers < -1) | (numbers >= components))
            ):
                raise InputError(
                    f"{where}: known components must be whole numbers from -1 to {components - 1}, one for each row"
                )
            return given
        texts = known_texts(given, rows, where)
        there = texts != ""
        if not np.any(there):
            return None
        found = np.full(rows, UNKNOWN)
        numbers = np.asarray([number_in(text) for text in texts[there]])
        if not np.any(np.isnan(numbers)):
            wrong = (numbers != np.round(numbers)) | (numbers < 0) | (numbers >= components)
            if np.any(wrong):
                row = int(np.flatnonzero(there)[np.argmax(wrong)])
                raise InputError(
                    f"{where}: data row {row + 1} is {shown(str(texts[row]))}; components count from 0 to "
                    f"{components - 1} here, in tables from 1: give such a number, -1 where it is not known, or names "
                    "of classes"
                )
            # One number alone may be meant; 1, 2, ... without 0 are taken from a table.
            if len(set(numbers)) > 1 and set(numbers) == set(np.arange(1, len(set(numbers)) + 1)):
                raise InputError(
                    f"{where}: components count from 0, in tables and labels.csv from 1, and no row is of component 0: "
                    "take 1 off each number, or number the components so that rows of component 0 are known"
                )
            found[there] = numbers.astype(int)
            return cls(found)
        names = sorted(set(texts[there].tolist()))
        if len(names) > components:
            raise InputError(
                f"{where}: {len(names)} classes ({', '.join(map(shown, names[:5]))}{', ...' * (len(names) > 5)}), and "
                f"components = {components}; give at least as many components, or leave classes unknown"
            )
        found[there] = np.searchsorted(names, texts[there])
        return cls(found, tuple(names))

    @property
    def num_rows(self) -> int:
        """The number of rows whose component is known."""
        return int(np.sum(self.components != UNKNOWN))

    def anchored(self, components: int) -> NDArray[np.bool_]:
        """Which components have known rows, so that their numbers mean something. [K]"""
        return np.isin(np.arange(components), self.components)

    def some(self, places: NDArray[np.intp]) -> "Known":
        """Those of some of the rows."""
        return Known(self.components[places], self.names)

    def numbered(self, texts: NDArray[np.str_]) -> "Known":
        """The known components of some rows of the same table, as text: a part of them may lack classes."""
        found = [(self.names.index(text) if self.names else int(number_in(text))) for text in texts if text]
        components = np.full(len(texts), UNKNOWN)
        components[texts != ""] = found
        return Known(components, self.names)

    def shares(self, shares: NDArray[np.float64]) -> NDArray[np.float64]:
        """Responsibilities [N, K] with those of known rows, 0 and 1, in place of what they would be without."""
        own = self.components[:, None] == np.arange(shares.shape[1])
        return np.where(self.components[:, None] == UNKNOWN, shares, own)

    def told(self, weights: NDArray[np.float64] | None = None) -> str:
        """How many rows of each component are known, in words; components count from 1, as in all tables."""
        counts = np.bincount(self.components[self.components != UNKNOWN])
        parts = [
            f"component {k + 1} is {self.names[k] if self.names else f'number {k}'} ({count:,})"
            for k, count in enumerate(counts.tolist())
            if count
        ]
        return f"{self.num_rows:,} of {len(self.components):,} rows have a known component: {', '.join(parts)}"


def known_texts(given: ArrayLike, rows: int, where: str = "label_known") -> NDArray[np.str_]:
    """Known components as text, empty where they are not known. [N]

    Raises:
        InputError: there is not one for each row.
    """
    check_plain(given, where)
    try:
        cells = np.asarray(given, dtype=object)
    except (TypeError, ValueError):
        cells = np.empty((), object)
    if cells.shape != (rows,):
        raise InputError(f"{where}: shape is {list(cells.shape)}; give one for each of {rows:,} rows")
    return np.asarray([_text(cell) for cell in cells], dtype=np.str_)


def _text(cell: object) -> str:
    # Truth values, bytes and containers have a text too, which would silently name a class.
    if isinstance(cell, bool | np.bool_ | bytes | bytearray | complex) or (
        hasattr(cell, "__len__") and not isinstance(cell, str)
    ):
        raise InputError(
            f"label_known: {shown(cell)} is neither a number nor a name; give numbers from 0, names of classes, or None"
        )
    text = text_of(cell)
    return "" if text.lower() in MISSING or number_in(text) == UNKNOWN else text


def fewest_components(texts: NDArray[np.str_]) -> int:
    """The number of components that rows are known to come from: that of names, or one more than the largest number."""
    there = texts[texts != ""].tolist()
    numbers = [number_in(text) for text in there]
    return len(set(there)) if any(map(np.isnan, numbers)) else int(max(numbers, default=-1)) + 1


def divided(members: NDArray[np.intp], known: Known | None) -> Sequence[NDArray[np.intp]]:
    """Rows cut into those of each known component, in its order, and before them those of none."""
    if known is None:
        return [members]
    own = known.components[members]
    return [members[own == k] for k in np.unique(own)]
