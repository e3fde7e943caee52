"""The named data sets that come with the package, and their descriptions."""

import functools
import hashlib
import json
from dataclasses import dataclass
from importlib.resources import files
from importlib.resources.abc import Traversable

import numpy as np
from numpy.typing import NDArray

from workbench.data.dataset import Dataset
from workbench.data.names import unknown_name
from workbench.data.parsing import parse_table
from workbench.data.table import Table, numbers, words
from workbench.errors import InputError, checks_arguments

# Columns that number the rows (in crabs) and are neither measurements nor groups.
ROW_NUMBERS = frozenset({"index"})


@dataclass(frozen=True)
class Description:
    """One entry of the catalogue, as `datasets.json` records it.

    Attributes:
        name: the argument of `load_dataset`.
        num_points: N.
        columns: the D measurements, in order.
        label_columns: the columns whose combination names the group of a point; may be empty.
        units: units of the measurements, in words.
        topic: what the data set is useful for, in one line.
        source: the publication.
        obtained_from: the copy from which the numbers were taken.
        licence: the licence as understood by the collector; not legal advice.
        caveats: ties, outliers, known errors.
        file: name of the CSV file in the package.
        sha256: SHA-256 of that file, in hexadecimal.
    """

    name: str
    num_points: int
    columns: tuple[str, ...]
    label_columns: tuple[str, ...]
    units: str
    topic: str
    source: str
    obtained_from: str
    licence: str
    caveats: str
    file: str
    sha256: str

    @property
    def dimensions(self) -> int:
        """D, the number of columns."""
        return len(self.columns)


def dataset_names() -> tuple[str, ...]:
    """Every name that `load_dataset` accepts, in the order of the catalogue."""
    return tuple(_catalogue())


def describe(name: str) -> Description:
    """The description of a data set; its points are not read.

    Raises:
        InputError: the name is unknown; the message gives the nearest spelling and all names.
    """
    catalogue = _catalogue()
    if name not in catalogue:
        raise InputError(unknown_name("data set", str(name), tuple(catalogue)))
    return catalogue[name]


@checks_arguments
def load_dataset(name: str) -> Dataset:
    """A named data set as published, in its original units.

    Labels from several columns are joined by a dot: species B, sex M of `crabs` is `B.M`.

    Raises:
        InputError: the name is unknown; the message gives the nearest spelling and all names.
    """
    about = describe(name)
    table = parse_table(sets().joinpath(about.file).read_text(encoding="utf-8"), about.file)
    x, _ = numbers(table, about.columns)  # [N, D]
    labels = _labels(table, about.label_columns)
    return Dataset(name, x, about.columns, labels, about.units, about.source, about.caveats)


def digest_of(name: str) -> str:
    """SHA-256, in hexadecimal, of a named data set's file as installed.

    Raises:
        InputError: as for `load_dataset`.
    """
    return hashlib.sha256(sets().joinpath(describe(name).file).read_bytes()).hexdigest()


def sets() -> Traversable:
    """The folder of the CSV files and `datasets.json` in the installed package."""
    return files("workbench.data").joinpath("sets")


@functools.cache
def _catalogue() -> dict[str, Description]:
    entries = json.loads(sets().joinpath("datasets.json").read_text(encoding="utf-8"))["datasets"]
    return {
        entry["name"]: Description(
            name=entry["name"],
            num_points=entry["n"],
            columns=tuple(entry["feature_columns"]),
            label_columns=tuple(name for name in entry["label_columns"] if name not in ROW_NUMBERS),
            units=entry["units"],
            topic=entry["topic"],
            source=entry["source"],
            obtained_from=entry["obtained_from"],
            licence=entry["licence"],
            caveats=entry["caveats"],
            file=entry["file"],
            sha256=entry["sha256"],
        )
        for entry in entries
    }


def _labels(table: Table, columns: tuple[str, ...]) -> NDArray[np.str_] | None:
    """One label for each row `[N]`; None if there are no label columns."""
    if not columns:
        return None
    cells = zip(*(words(table, column) for column in columns), strict=True)
    return np.array([".".join(row) for row in cells], dtype=np.str_)
