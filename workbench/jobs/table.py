"""One table for every record of every job: a row for each cell, from the manifests alone."""

import logging
import re
import sqlite3
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from difflib import get_close_matches
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from workbench.engine.devices import precision_note
from workbench.errors import InputError, checks_arguments, one_line, typed
from workbench.frames import frame_of
from workbench.jobs.base import DONE, DamagedCellError, DamagedJobError, Value, nothing_in
from workbench.jobs.index import Summary, summaries_of
from workbench.jobs.names import Stored, StoredJob, jobs_of, named
from workbench.jobs.store import Store
from workbench.provenance import why_stale
from workbench.table import Table

# The columns that come first, in this order.
FIRST = ("job", "kind", "name", "state", "method", "data")

# The columns to print if not all fit, the most important first.
KEPT = (
    "method", "claim", "state", "job", "model_components", "log_joint", "log_likelihood", "status", "verdict", "seed",
    "adjusted_rand_index", "why", "passes", "value",
)  # fmt: skip

# The beginnings of the columns of settings, which tell rows apart and are kept before any result.
SETTINGS = ("model_", "data", "num_points", "prior_", "starts_", "seed")

# The columns to print even where all rows agree: they are what a table is looked at for.
ALWAYS = ("method", "state", "log_joint", "status")

# The most rows that are printed.
MOST_LINES = 40

# Seconds that a condition may take, because a condition can run for ever.
PATIENCE = 20.0

# What is said of the data beside their name.
_OF_DATA = ("columns", "missing", "standardize", "divide_by", "test_fraction", "weights", "known")

# The column of row numbers while a condition is evaluated.
PLACE = "the_place_of_the_row"


def table_of(rows: Sequence[Mapping[str, Value]], note: str = "") -> Table:
    """A table of every column that any row has, with those of `FIRST` first."""
    found = dict.fromkeys(key for row in rows for key in row)
    first = [name for name in FIRST if name in found]
    columns = (*first, *(name for name in found if name not in first))
    return Table(columns, tuple(rows), note=note, words=("why",), most=MOST_LINES, keep=KEPT)


def selected(table: Table, columns: Sequence[str]) -> Table:
    """The table of some columns, in the given order.

    Raises:
        InputError: there is no column of a name.
    """
    unknown = [name for name in columns if name not in table.columns]
    if unknown:
        raise InputError(f"--columns: {typed(unknown)}: no such column; there are {', '.join(table.columns)}")
    return replace(table, columns=tuple(columns), keep=())


def where(table: Table, condition: str) -> Table:
    """The rows that meet a condition in SQL, such as `method = 'em' and status = 'CONVERGED'`.

    Raises:
        InputError: it is not a condition on these columns.
    """
    found = _chosen(table, condition)
    # Whatever the condition does, only rows of this table may come back.
    if not all(isinstance(place, int) and 0 <= place < len(table.rows) for place in found):
        raise _no_condition(table, condition, "it asks for more than rows of this table")
    return replace(table, rows=tuple(table.rows[place] for place in sorted(set(found))))


def varying(table: Table) -> Table:
    """The columns that differ between rows, and those of `ALWAYS` that any row has; settings are kept first."""
    first = table.rows[0] if table.rows else {}
    kept = [
        name
        for name in table.columns
        if (name in ALWAYS and any(row.get(name) is not None for row in table.rows))
        or any(row.get(name) != first.get(name) for row in table.rows)
    ]
    settings = [name for name in kept if name.startswith(SETTINGS)]
    most = list(dict.fromkeys([*KEPT[:3], *settings, *KEPT]))
    return replace(table, columns=tuple(kept), keep=tuple(most))


def with_precision(table: Table) -> Table:
    """The table with a note on the precision of the numbers in its rows, unless it is the usual one."""
    return replace(table, note=" ".join(filter(None, [table.note, precision_of(table.rows)])))


def precision_of(rows: Sequence[Mapping[str, Value]]) -> str:
    """A sentence on the precision of the numbers in rows of records; empty if it is the usual one."""
    return precision_note(*(str(row["dtype"]) for row in rows if row.get("dtype") is not None))


def to_parquet(table: Table, path: Path) -> None:
    """Write a Parquet file.

    Raises:
        InputError: pyarrow is not installed, or the file cannot be written.
    """
    if find_spec("pyarrow") is None:
        raise InputError("--format parquet: needs pyarrow; pip install 'workbench[parquet]'")
    import pyarrow
    import pyarrow.parquet

    columns = {name: [_stored(row.get(name)) for row in table.rows] for name in table.columns}
    try:
        pyarrow.parquet.write_table(pyarrow.table({k: _of_one_type(v) for k, v in columns.items()}), path)
    except OSError as error:
        raise InputError(f"{path}: cannot be written ({error.strerror}); give another --out") from None


@checks_arguments
def results(folder: Path | str) -> Any:
    """Every cell of a results folder as a frame of pandas, polars or Arrow, the first that is installed.

    Args:
        folder: a results folder, or one that holds some.

    Raises:
        InputError: there is no such folder, or none of these packages is installed.
    """
    found = table_of_folder(Path(folder))
    return frame_of({name: [row.get(name) for row in found.rows] for name in found.columns}, "results")


def table_of_folder(folder: Path, job: str | None = None) -> Table:
    """Every cell of a results folder, or of all results folders in it, or of one job.

    Args:
        folder: a results folder, or one that holds some.
        job: the name or the id of a job, or a part of it.

    Raises:
        InputError: there is no such folder or job, or no cell in it.
    """
    stores = list(stores_in(folder))
    jobs = [Stored(each.id, each.name, (i, each.record)) for i, store in enumerate(stores) for each in _jobs(store)]
    chosen = [each.results for each in named(jobs, job, folder)]
    rows = []
    for i, store in enumerate(stores):
        there = store.stored_keys()
        # Cells whose job is lost are cells all the same.
        data: dict[str, dict[str, Value]] = {key: {} for key in there} if job is None else {}
        for own, record in chosen:
            about = _data_of(record) if own == i else {}
            data |= {key: data.get(key, {}) | about for key in record["cells"] if own == i}
        keys = [key for key in there if key in data]
        rows += [{**row, **data[key]} for key, row in zip(keys, _rows(store, keys, checked=False), strict=True)]
    if not rows:
        raise InputError(f"{folder}: {nothing_in(folder)}")
    return table_of(_in_order(rows))


def _jobs(store: Store) -> list[StoredJob]:
    """The sound jobs of a folder, of which there may be none."""
    try:
        return jobs_of(store)
    except DamagedJobError as error:
        logging.getLogger("workbench").warning("%s", error)
        return []


def _data_of(job: Mapping[str, Any]) -> dict[str, Value]:
    """What a job's experiment says of its data, as columns; cells themselves know a digest of the points."""
    data = job["config"].get("experiment", {}).get("data", {})
    return {f"data_{key}": str(v) if isinstance(v, list) else v for key, v in data.items() if key in _OF_DATA}


def _in_order(rows: list[dict[str, Value]]) -> list[dict[str, Value]]:
    """Rows sorted by job, kind and setting; in a column of numbers and words, numbers come first."""

    def setting(row: Mapping[str, Value]) -> tuple[Any, ...]:
        values = tuple(row.values())
        return values[:3] + values[4:]  # without the state

    def ranked(row: Mapping[str, Value]) -> list[tuple[int, Any]]:
        return [(0, value) if isinstance(value, int | float) else (1, str(value)) for value in setting(row)]

    try:
        return sorted(rows, key=setting)
    except TypeError:
        return sorted(rows, key=ranked)


def stores_in(folder: Path) -> Iterator[Store]:
    """The results folder, or the results folders in it.

    Raises:
        InputError: there is no such folder.
    """
    if not folder.is_dir():
        raise InputError(f"{folder}: {nothing_in(folder)}")
    places = [folder] if (folder / "cells").is_dir() else sorted(p.parent for p in folder.glob("*/cells") if p.is_dir())
    yield from map(Store, places)


def checked_rows_of(store: Store, keys: Sequence[str]) -> Table:
    """As `rows_of`, but every file of a cell is read, and a cell with a changed file is damaged."""
    return table_of(_rows(store, keys, checked=True))


def rows_of(store: Store, keys: Sequence[str]) -> Table:
    """A row for each of some cells, from its manifest: its state, its setting, and its results."""
    return table_of(_rows(store, keys, checked=False))


def _rows(store: Store, keys: Sequence[str], *, checked: bool) -> list[dict[str, Value]]:
    job = store.folder.resolve().name
    stale: dict[int, str | None] = {}
    rows: list[dict[str, Value]] = []
    for key, found in zip(keys, summaries_of(store, keys, checked=checked), strict=True):
        if found is None:
            rows.append({"job": job, "name": key, "state": "missing", "key": key})
            continue
        if isinstance(found, DamagedCellError):
            rows.append({"job": job, "name": key, "state": "damaged", "key": key, "why": str(found)})
            continue
        made_by = id(found["made_by"])
        if made_by not in stale:
            stale[made_by] = why_stale(found["made_by"])
        state, why = _standing(found, stale[made_by])
        row: dict[str, Value] = {
            "job": job,
            "kind": str(found["kind"]),
            "name": str(found["name"]),
            "state": state,
            **found["coordinates"],
            **found["row"],
            "seconds": found["seconds"],
            "key": key,
        }
        rows.append(row if why is None else row | {"why": str(why)})
    return rows


def _standing(found: Summary, stale: str | None) -> tuple[str, Value]:
    """The state of a cell, and the reason if it is not done."""
    if found["status"] != DONE:
        return "failed", found.get("failure", {}).get("message")
    if "damaged" in found:
        return "damaged", found["damaged"]
    return ("done" if stale is None else "stale"), stale


def _chosen(table: Table, condition: str) -> list[Any]:
    """The numbers of the rows that meet a condition, by duckdb if it is installed, otherwise by sqlite."""
    if find_spec("duckdb") is not None and find_spec("pyarrow") is not None:
        return _by_duckdb(table, condition)
    connection = sqlite3.connect(":memory:")
    quoted = ", ".join(f'"{name.replace(chr(34), chr(34) * 2)}"' for name in table.columns)
    try:
        connection.execute(f"CREATE TABLE cells ({PLACE}, {quoted})")
        marks = ", ".join("?" * (len(table.columns) + 1))
        lines = [[i, *(_stored(row.get(name)) for name in table.columns)] for i, row in enumerate(table.rows)]
        connection.executemany(f"INSERT INTO cells VALUES ({marks})", lines)
        connection.commit()
        connection.execute("PRAGMA query_only = ON")
        end = time.monotonic() + PATIENCE
        connection.set_progress_handler(lambda: time.monotonic() > end, 100_000)
        found = connection.execute(_asked(condition)).fetchall()
    except (sqlite3.Error, sqlite3.Warning) as error:  # a second statement is a warning until Python 3.12
        raise _no_condition(table, condition, str(error)) from None
    finally:
        connection.close()
    return [row[0] for row in found]


def _asked(condition: str) -> str:
    return f"SELECT {PLACE} FROM cells WHERE ({condition}\n)"


def _by_duckdb(table: Table, condition: str) -> list[Any]:
    import duckdb
    import pyarrow

    columns = {name: _of_one_type([_stored(row.get(name)) for row in table.rows]) for name in table.columns}
    cells = pyarrow.table({PLACE: list(range(len(table.rows))), **columns})
    with duckdb.connect(config={"enable_external_access": False}) as connection:
        try:
            connection.register("cells", cells)
            if len(connection.extract_statements(_asked(condition))) != 1:
                raise _no_condition(table, condition, "it is more than one statement")
            late = threading.Timer(PATIENCE, connection.interrupt)
            late.start()
            try:
                found = connection.execute(_asked(condition)).fetchall()
            finally:
                late.cancel()
        except duckdb.Error as error:
            raise _no_condition(table, condition, str(error)) from None
    return [row[0] for row in found]


def _no_condition(table: Table, condition: str, why: object) -> InputError:
    words = dict.fromkeys(re.findall(r"[A-Za-z_][\w.]*", re.sub(r"'[^']*'", "", condition)))
    hints = []
    for word in words:
        near = get_close_matches(word.replace(".", "_"), table.columns, n=1)
        if word not in table.columns and any(word in row.values() for row in table.rows):
            hints.append(f"text stands in single quotes: '{word}'")
        elif word not in table.columns and near:
            hints.append(f"{word}: did you mean {near[0]}?")
    if "interrupt" in str(why).lower():
        hints = [f"it takes more than {PATIENCE:.0f} seconds"]
    said = "; ".join(hints) or one_line(str(why).partition("\n")[0], 200)
    return InputError(
        f"--where {one_line(condition, 80)}: {said}; give a condition in SQL on the columns that "
        "`workbench table --format csv` shows"
    )


def _of_one_type(values: list[Any]) -> list[Any]:
    """Values of one type, which is text if numbers and text are mixed."""
    kinds = {str if isinstance(value, str) else float for value in values if value is not None}
    return [None if value is None else str(value) for value in values] if len(kinds) > 1 else values


def _stored(value: Value) -> Any:
    return int(value) if isinstance(value, bool) else value
