"""Maintenance of results folders: cells are removed by their state, and folders are merged and compared."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from workbench.errors import InputError, one_line, shown
from workbench.files import replace_folder, replacing
from workbench.jobs.base import DONE, DamagedCellError, Record, Value, readable
from workbench.jobs.store import MANIFEST, Store
from workbench.jobs.table import checked_rows_of, stores_in, table_of, varying
from workbench.provenance import NOT_IMPORTED
from workbench.table import Table, text_of

# Numbers of two machines differ by rounding, and those of iterative methods by as much as their tolerance allows.
RELATIVE = 1e-6

# Columns of a row that are results, not settings.
NOT_SET = (
    "job", "kind", "name", "state", "status", "key", "why", "seconds", "log_joint", "log_likelihood", "passes",
    "step_seconds", "compile_seconds", "adjusted_rand_index", "restarts_run", "draws", "rows",
    "verdict", "value", "unit", "low", "high",
)  # fmt: skip

# Columns of durations, which differ from run to run.
TIMES = ("seconds", "step_seconds", "compile_seconds")


def clean(folder: Path, states: Sequence[str], *, dry: bool = False) -> Table:
    """Remove the cells in some states from a results folder, or from all results folders in it.

    A cell that a user's own module made is left if that module is not imported, because nothing says that it is stale.

    Args:
        folder: a results folder, or a folder of results folders.
        states: some of "failed", "stale" and "damaged".
        dry: whether to remove nothing and only return what would be removed.

    Returns:
        The rows of the removed cells.

    Raises:
        InputError: there is no such folder, or a cell cannot be removed.
    """
    removed = []
    for store in stores_in(folder):
        for row in checked_rows_of(store, store.stored_keys()).rows:
            if row["state"] in states and not str(row.get("why", "")).endswith(NOT_IMPORTED):
                removed.append(row)
                if not dry:
                    try:
                        store.remove(str(row["key"]))
                    except OSError as error:
                        place = store.place(str(row["key"]))
                        raise InputError(f"{place}: cannot be removed ({error.strerror})") from None
    return table_of(removed)


@dataclass(frozen=True)
class Merged:
    """The outcome for the cells of a folder that was merged into another."""

    copied: int
    there: int  # the other folder had a cell as good
    left: tuple[str, ...]  # reasons of the damaged cells that were left out


def merge(source: Path, target: Path) -> Merged:
    """Copy into a results folder the cells of another one that it lacks.

    A cell that both have is not replaced, unless it is damaged, failed or stale in the target and not in the source.
    Damaged cells of the source are left out.

    Raises:
        InputError: there is no such folder, or the target cannot be written.
    """
    if not (source / "cells").is_dir():
        raise InputError(f"{source}: holds no cells; give a folder that `workbench run` wrote")
    own, other = Store(target), Store(source)
    copied, there, left = 0, 0, []
    try:
        # Points first: a cell whose points are missing could not be shown.
        for file in sorted([*source.glob("data/*.npz"), *source.glob("jobs/*.toml")]):
            place = target / file.relative_to(source)
            if file.is_file() and not place.is_file():
                with readable(file):
                    content = file.read_bytes()
                with replacing(place) as temporary:
                    temporary.write_bytes(content)
        for key in other.stored_keys():
            try:
                manifest = other.manifest(key)
                if manifest is not None and manifest["status"] == DONE:
                    other.contents(key)
            except DamagedCellError as error:
                left.append(str(error))
                continue
            if _standing(own, key) >= _standing(other, key):
                there += 1
                continue
            files = {name: (other.place(key) / name).read_bytes() for name in (manifest or {}).get("files", ())}
            files[MANIFEST] = (other.place(key) / MANIFEST).read_bytes()
            replace_folder(own.place(key), files)
            copied += 1
    except OSError as error:
        raise InputError(f"{target}: cannot be written ({error.strerror}); give another folder") from None
    return Merged(copied, there, tuple(left))


def _standing(store: Store, key: str) -> int:
    """The rank of a cell by its state: missing or damaged, failed, stale, done."""
    (row,) = checked_rows_of(store, [key]).rows
    return ("missing", "damaged", "failed", "stale", "done").index(str(row["state"]).replace("damaged", "missing"))


@dataclass(frozen=True)
class Difference:
    """The differences between two folders."""

    only_first: tuple[str, ...]  # keys, with the settings in which such cells differ
    only_second: tuple[str, ...]
    changed: tuple[str, ...]  # one line for each number, setting or version that differs
    beyond: int  # numbers beyond the tolerance, and cells that only one of them has
    same: int  # cells without any difference

    def __str__(self) -> str:
        lines = [*(f"only in the first: {line}" for line in self.only_first)]
        lines += [f"only in the second: {line}" for line in self.only_second]
        said = f"{self.same} cells are the same; {self.beyond} differences are beyond the tolerance."
        return "\n".join([*lines, *self.changed, said])


def difference(first: Path, second: Path, *, tolerance: float = RELATIVE) -> Difference:
    """The differences between two results folders: jobs, cells, versions and numbers.

    Args:
        first: a results folder.
        second: another.
        tolerance: relative, for numbers; durations are not compared.

    Raises:
        InputError: one of them is not a results folder.
    """
    for folder in (first, second):
        if not (folder / "cells").is_dir():
            raise InputError(f"{folder}: holds no cells; give a folder that `workbench run` wrote")
    one, two = Store(first), Store(second)
    keys_one, keys_two = set(one.stored_keys()), set(two.stored_keys())
    changed = list(_differing_jobs(one, two))
    beyond, same = len(keys_one ^ keys_two), 0
    for key in sorted(keys_one & keys_two):
        lines, counted = _differing_cells(one, two, key, tolerance)
        changed += [f"{key}: {line}" for line in lines]
        beyond += counted
        same += not lines
    only_one, only_two = sorted(keys_one - keys_two), sorted(keys_two - keys_one)
    alone = {
        key: checked_rows_of(store, [key]).rows[0] for store, keys in ((one, only_one), (two, only_two)) for key in keys
    }
    settings = _settings(alone)
    named_one, named_two = (tuple(settings[key] for key in keys) for keys in (only_one, only_two))
    return Difference(named_one, named_two, tuple(changed), beyond, same)


def _settings(rows: Mapping[str, Mapping[str, Value]]) -> dict[str, str]:
    """Keys with the settings in which their cells differ."""
    known = varying(table_of(list(rows.values())))
    varied = [name for name in known.columns if name not in NOT_SET]
    return {
        key: f"{key} ({', '.join(f'{name} = {text_of(row[name])}' for name in varied if name in row)})"
        for key, row in rows.items()
    }


def _differing_jobs(one: Store, two: Store) -> Iterator[str]:
    """Settings that differ between jobs of one kind and name."""
    known = {(job["kind"], job["name"]): job["config"] for _, job in two.jobs()}
    for _, job in one.jobs():
        other = known.get((job["kind"], job["name"]))
        if other is None or other == job["config"]:
            continue
        mine, theirs = dict(_flat(job["config"])), dict(_flat(other))
        for key in sorted({*mine, *theirs}):
            if mine.get(key) != theirs.get(key):
                yield f"{job['name']}: {key}: {shown(mine.get(key), 40)} and {shown(theirs.get(key), 40)}"


def _differing_cells(one: Store, two: Store, key: str, tolerance: float) -> tuple[list[str], int]:
    """Lines on the differences of a cell that both have, and how many of them are beyond the tolerance."""
    try:
        mine, theirs = one.manifest(key), two.manifest(key)
        assert mine is not None and theirs is not None
        if mine["status"] != theirs["status"]:
            return [f"{mine['status']} and {theirs['status']}"], 1
        if mine["status"] != DONE:
            return [], 0
        numbers = differing_records(one.load(key), two.load(key), tolerance)
    except DamagedCellError as error:
        return [str(error)], 1
    versions = {**mine["made"]["versions"]}
    others = {**theirs["made"]["versions"]}
    remarks = [f"{name} {versions.get(name)} and {others.get(name)}" for name in sorted({*versions, *others})
            if versions.get(name) != others.get(name)]  # fmt: skip
    if mine["made_by"].get("code") != theirs["made_by"].get("code"):
        remarks.append("made by different code")
    return numbers + remarks, len(numbers)


def differing_records(mine: Record, theirs: Record, tolerance: float) -> list[str]:
    """A line for each number of two records that differs by more than the relative tolerance, except durations."""
    lines = [*differing_rows(mine.row, theirs.row, tolerance)]
    lines += differing_values(plain(mine.values), plain(theirs.values), tolerance)
    return list(dict.fromkeys(lines + differing_arrays(mine.arrays, theirs.arrays, tolerance)))


def plain(value: Any) -> Any:
    """Values without durations, and without digests of other records, which depend on durations."""
    if isinstance(value, Mapping):
        kept = {str(name): inner for name, inner in value.items() if name != "digest" and "seconds" not in str(name)}
        return {name: plain(inner) for name, inner in kept.items()}
    return [plain(inner) for inner in value] if isinstance(value, list) else value


def differing_values(mine: Any, theirs: Any, tolerance: float, where: str = "") -> list[str]:
    """Lines on values of JSON that differ by more than the tolerance."""
    if isinstance(mine, Mapping) and isinstance(theirs, Mapping):
        names = dict.fromkeys([*mine, *theirs])
        return [
            line
            for name in names
            for line in differing_values(mine.get(name), theirs.get(name), tolerance, f"{where}.{name}")
        ]
    if isinstance(mine, list) and isinstance(theirs, list) and len(mine) == len(theirs):
        pairs = enumerate(zip(mine, theirs, strict=True))
        return [line for i, (a, b) in pairs for line in differing_values(a, b, tolerance, f"{where}[{i}]")]
    return list(differing_rows({where.lstrip("."): mine}, {where.lstrip("."): theirs}, tolerance))


def differing_rows(mine: Mapping[str, Value], theirs: Mapping[str, Value], tolerance: float) -> Iterator[str]:
    """A line for each value of two rows that differs, numbers by more than the relative tolerance."""
    for name in dict.fromkeys([*mine, *theirs]):
        a, b = mine.get(name), theirs.get(name)
        if name in TIMES or a == b:
            continue
        both = isinstance(a, int | float) and isinstance(b, int | float)
        if not (both and np.isclose(float(a or 0), float(b or 0), rtol=tolerance, atol=0.0)):
            yield f"{name}: {one_line(str(a), 40)} and {one_line(str(b), 40)}"


def differing_arrays(mine: Mapping[str, np.ndarray], theirs: Mapping[str, np.ndarray], tolerance: float) -> list[str]:
    """A line for each array of two records that differs by more than the tolerance times its largest entry."""
    lines = []
    for name in sorted({*mine, *theirs}):
        a, b = mine.get(name), theirs.get(name)
        if a is None or b is None or a.shape != b.shape:
            shapes = [None if each is None else each.shape for each in (a, b)]
            lines.append(f"{name}: shapes {shapes[0]} and {shapes[1]}")
        elif a.dtype.kind in "fc" and a.size:
            largest = float(np.max(np.abs(a[np.isfinite(a)]), initial=0.0))
            unequal = ~((a == b) | (np.isnan(a) & np.isnan(b)))
            with np.errstate(invalid="ignore"):
                worst = float(np.max(np.where(unequal, np.abs(a - b), 0.0), initial=0.0))
            if not worst <= tolerance * largest:
                lines.append(f"{name}: apart by {worst:.3g}, of {largest:.3g}")
        elif not np.array_equal(a, b):
            lines.append(f"{name}: {int(np.sum(a != b))} of {a.size} entries differ")
    return lines


def _flat(value: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _flat(inner, f"{prefix}.{key}" if prefix else str(key))
    else:
        yield prefix, value
