"""The facts of a module's text are the same whether they are parsed or kept."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

import workbench
from workbench import syntax
from workbench.syntax import Kept, keep_in, parsed, read_text, save_kept

TEXTS = [file.read_bytes() for file in sorted(Path(workbench.__file__).parent.rglob("*.py"))]


@pytest.fixture(autouse=True)
def nothing_kept() -> Iterator[None]:
    yield
    keep_in(None)


def test_kept_facts_are_those_that_are_parsed(tmp_path: Path) -> None:
    kept = Kept(tmp_path / "new" / "syntax.json")
    for text in TEXTS:
        kept.put(text, parsed(text))
    kept.save()
    again = Kept(kept.file)
    assert [again.get(text) for text in TEXTS] == [parsed(text) for text in TEXTS]
    assert again.get(b"x = 1") is None


@pytest.mark.parametrize("change", ["", "{", "[]", '{"facts": 3}', '{"made_by": "other code", "facts": {}}'])
def test_a_damaged_file_or_one_of_other_code_is_as_none(tmp_path: Path, change: str) -> None:
    (tmp_path / "syntax.json").write_text(change)
    assert Kept(tmp_path / "syntax.json").get(TEXTS[0]) is None


@pytest.mark.parametrize("facts", [3, [], ["digest", 3, {}], ["digest", [[0]], {}], ["digest", [], []]])
def test_damaged_facts_are_as_none(tmp_path: Path, facts: object) -> None:
    kept = Kept(tmp_path / "syntax.json")
    kept.put(TEXTS[0], parsed(TEXTS[0]))
    kept.save()
    stored = json.loads(kept.file.read_text())
    stored["facts"] = dict.fromkeys(stored["facts"], facts)
    kept.file.write_text(json.dumps(stored))
    assert Kept(kept.file).get(TEXTS[0]) is None


def test_two_processes_keep_the_facts_of_both(tmp_path: Path) -> None:
    one, other = Kept(tmp_path / "syntax.json"), Kept(tmp_path / "syntax.json")
    for kept, text in ((one, b"a = 1"), (other, b"b = 1")):
        kept.put(text, parsed(text))
        kept.save()
    assert all(Kept(one.file).get(text) == parsed(text) for text in (b"a = 1", b"b = 1"))


def test_a_text_is_not_parsed_again_once_it_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keep_in(tmp_path / "syntax.json")
    found = read_text(b"only_here = 1")
    save_kept()
    read_text.cache_clear()
    keep_in(tmp_path / "syntax.json")
    monkeypatch.setattr(syntax, "parsed", lambda text: pytest.fail("parsed again"))
    assert read_text(b"only_here = 1") == found


def test_a_folder_that_cannot_be_written_to_is_no_failure(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    keep_in(tmp_path / "file" / "syntax.json")
    read_text(b"only_there = 1")
    save_kept()
