"""An index of many cells serves nothing that is not so, and whatever becomes of it costs time and no more."""

import json
import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from restamped import restamp

from workbench.engine.keys import named_key
from workbench.jobs import index, table
from workbench.jobs.base import Cell, Failure, Record, Value
from workbench.jobs.index import NAME
from workbench.jobs.store import Store
from workbench.jobs.table import checked_rows_of, rows_of
from workbench.provenance import Provenance

MADE_BY = Provenance.of(named_key)
CELLS = [Cell(f"cell{i}", {"number": i}, MADE_BY, {"number": i}) for i in range(5)]
KEYS = [cell.key for cell in CELLS]

Rows = tuple[Mapping[str, Value], ...]


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    """Five cells, of which one failed; they are many, and written long enough ago."""
    monkeypatch.setattr(index, "MANY", 2)
    monkeypatch.setattr(index, "APART", -(10**18))
    store = Store(tmp_path / "results")
    for i, cell in enumerate(CELLS[1:]):
        store.save("study", cell, Record({"i": i}, {"x": np.arange(i + 1.0)}, {"found": float(i)}), 0.5)
    store.save_failure("study", CELLS[0], Failure("RuntimeError: no", "Traceback"), 0.1)
    return store


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The cells whose manifests are read."""
    read: list[str] = []
    manifest = Store.manifest

    def noted(self: Store, key: str) -> dict[str, Any] | None:
        read.append(key)
        return manifest(self, key)

    monkeypatch.setattr(Store, "manifest", noted)
    return read


def rows(store: Store) -> Rows:
    return checked_rows_of(store, KEYS).rows


def unindexed(store: Store) -> Rows:
    """What the cells say, whatever an index does."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(index, "MANY", 10**6)
        return rows(store)


def test_what_is_indexed_is_not_read_again_and_says_the_same(store: Store, opened: list[str]) -> None:
    first = rows(store)
    assert set(opened) == set(KEYS)
    opened.clear()
    assert rows(store) == first
    assert rows_of(store, KEYS).rows == first
    assert opened == []
    assert first == unindexed(store)
    assert [row["state"] for row in first] == ["failed", *["done"] * 4]


def test_what_was_written_a_moment_ago_is_read_again(
    store: Store, opened: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()
    monkeypatch.setattr(index, "MANY", 2)
    rows(store)
    assert json.loads((store.folder / NAME).read_text().partition("\n")[2])[1] == {}


def test_a_manifest_alone_does_not_say_that_the_other_files_are_sound(store: Store) -> None:
    (store.place(KEYS[2]) / "values.json").write_text("{}")
    assert rows_of(store, KEYS).rows[2]["state"] == "done"
    assert rows(store)[2]["state"] == "damaged"


def _same_size_and_time(file: Path) -> None:
    """The last byte changed, behind the clock's back as far as one can."""
    before = file.stat()
    content = file.read_bytes()
    file.write_bytes(content[:-2] + bytes([content[-2] ^ 1]) + content[-1:])
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))


def _replaced(file: Path) -> None:
    """Another file in its place, as old."""
    other = file.with_name("other")
    shutil.copy2(file, other)
    _same_size_and_time(other)
    os.replace(other, file)


CHANGES: dict[str, Callable[[Store, str], object]] = {
    "a byte of the values": lambda store, key: _same_size_and_time(store.place(key) / "values.json"),
    "a byte of the arrays": lambda store, key: _same_size_and_time(store.place(key) / "arrays.npz"),
    "a byte of the manifest": lambda store, key: _same_size_and_time(store.place(key) / "manifest.json"),
    "another file": lambda store, key: _replaced(store.place(key) / "values.json"),
    "no arrays": lambda store, key: (store.place(key) / "arrays.npz").unlink(),
    "no manifest": lambda store, key: (store.place(key) / "manifest.json").unlink(),
    "no cell": lambda store, key: store.remove(key),
    "made by other code": lambda store, key: restamp(
        store.place(key), lambda manifest: manifest["made_by"].update(code="other")
    ),
    "run again": lambda store, key: store.save("study", CELLS[KEYS.index(key)], Record({}, {}, {"found": 9.0}), 0.5),
    "failed": lambda store, key: store.save_failure("study", CELLS[KEYS.index(key)], Failure("no", ""), 0.5),
}


@pytest.mark.parametrize("change", CHANGES)
def test_no_change_of_a_cell_goes_unnoticed(change: str, store: Store) -> None:
    before = rows(store)
    CHANGES[change](store, KEYS[3])
    after = rows(store)
    assert after == unindexed(store)
    assert after[3] != before[3]
    assert [*after[:3], after[4]] == [*before[:3], before[4]]
    assert rows(store) == after


def test_whether_a_cell_is_stale_is_asked_of_the_present_code(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    assert {row["state"] for row in rows(store)[1:]} == {"done"}
    monkeypatch.setattr(table, "why_stale", lambda stored: "workbench 0.0.1")
    assert [row["state"] for row in rows(store)] == ["failed", *["stale"] * 4]


def test_an_index_that_other_code_wrote_is_not_read(
    store: Store, opened: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    rows(store)
    opened.clear()
    monkeypatch.setattr(index, "code_digest", lambda modules: "other")
    rows(store)
    assert set(opened) == set(KEYS)


@pytest.mark.parametrize("content", [b"", b"\xff\xfe", b"{}", b"x\n[[], {}]", b"[" * 10**5, None])
def test_a_damaged_index_is_none(content: bytes | None, store: Store) -> None:
    first = rows(store)
    file = store.folder / NAME
    if content is None:
        text = file.read_text()
        file.write_text(text.replace('"found":3.0', '"found":4.0'))
        assert file.read_text() != text
    else:
        file.write_bytes(content)
    assert rows(store) == first


def test_where_no_index_can_be_written_the_cells_are_read(store: Store, opened: list[str]) -> None:
    (store.folder / NAME).mkdir()
    assert rows(store) == rows(store) == unindexed(store)
    assert [path.name for path in store.folder.iterdir() if path.name.startswith(".")] == [NAME]


def test_of_some_cells_alone_the_others_stay_indexed_and_those_that_are_gone_do_not(
    store: Store, opened: list[str]
) -> None:
    rows(store)
    store.remove(KEYS[4])
    _same_size_and_time(store.place(KEYS[0]) / "manifest.json")
    checked_rows_of(store, KEYS[:2])
    opened.clear()
    rows(store)
    assert set(opened) == {KEYS[0], KEYS[4]}
    known = json.loads((store.folder / NAME).read_text().partition("\n")[2])[1]
    assert KEYS[4] not in known


@pytest.mark.parametrize(
    "content", ["[[],[1]]", '[[],{"a":[1]}]', '[[],{"a":[0,1,{"made_by":7}]}]', '[[],{"a":[0,1,{}]}]']
)
def test_an_index_of_another_shape_is_none(store: Store, content: str) -> None:
    """With the right stamp, as only a forger or a mistake of ours writes it."""
    expected = unindexed(store)
    stamp = index.Index(store)._stamp(content)
    (store.folder / NAME).write_text(f"{stamp}\n{content}", encoding="utf-8")
    assert rows(store) == expected


def test_an_index_that_is_a_pipe_is_none(store: Store) -> None:
    expected = unindexed(store)
    os.mkfifo(store.folder / NAME)
    assert rows(store) == expected
