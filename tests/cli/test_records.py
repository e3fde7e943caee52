"""`workbench status` counts where the cells of every job stand."""

import csv
import io
import json
from pathlib import Path

import numpy as np
import pytest
import tomli_w
from click.testing import CliRunner, Result
from restamped import by_other_code

from workbench.cli import cli
from workbench.jobs.base import Cell, Failure, Record, digest_of_values
from workbench.jobs.store import Store
from workbench.jobs.table import rows_of
from workbench.provenance import Provenance

MADE_BY = Provenance.of(rows_of)
CELLS = [Cell("em", {"seed": seed}, MADE_BY, {"seed": seed}) for seed in range(7)]


def command(*words: object) -> Result:
    return CliRunner().invoke(cli, [str(word) for word in words], prog_name="workbench", catch_exceptions=False)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Of one job, a cell in each state, but two that were changed; and a second job of one cell that is done."""
    out = tmp_path / "results" / "mine"
    store = Store(out)
    for cell in CELLS[:5]:
        store.save("study", cell, Record({"rows": []}, {"x": np.arange(3.0)}), 0.5)
    store.save_failure("study", CELLS[5], Failure("RuntimeError: no", "Traceback"), 0.1)
    by_other_code(store.place(CELLS[2].key), jax="0.0.1")
    (store.place(CELLS[3].key) / "arrays.npz").write_bytes(b"")
    (store.place(CELLS[4].key) / "manifest.json").write_text("{}")
    (out / "jobs").mkdir()
    for name, cells in (("mine", CELLS[1:]), ("other", CELLS[:1])):
        record = {"format": 2, "kind": "study", "name": name, "config": {}, "cells": [cell.key for cell in cells]}
        whole = record | {"digest": digest_of_values(record)}
        (out / "jobs" / f"study-{name}.toml").write_text(tomli_w.dumps(whole))
    return out


def test_cells_are_counted_by_their_state(folder):
    result = command("status", folder, "--format", "json")
    assert result.exit_code == 0
    counted = {row["name"]: row for row in json.loads(result.stdout)}
    states = ("cells", "done", "stale", "failed", "damaged", "missing")
    assert [counted["mine"][state] for state in states] == [6, 1, 1, 1, 2, 1]
    assert [counted["other"][state] for state in states] == [1, 1, 0, 0, 0, 0]


def test_every_reason_is_told_below(folder):
    lines = command("status", folder).stdout.splitlines()
    assert "1 x RuntimeError: no" in lines
    assert "1 x workbench 0.1.0, jax 0.0.1" in lines
    assert sum("arrays.npz was changed after it was written" in line for line in lines) == 1


def test_folders_in_one_are_counted_together_and_csv_says_the_same(folder):
    told = json.loads(command("status", folder.parent, "--format", "json").stdout)
    read = list(csv.DictReader(io.StringIO(command("status", folder.parent, "--format", "csv").stdout)))
    assert read == [{name: str(value) for name, value in row.items()} for row in told]


@pytest.mark.parametrize("place", ["nowhere", "empty"])
def test_a_folder_without_jobs_is_refused(tmp_path, place):
    (tmp_path / "empty").mkdir()
    result = command("status", tmp_path / place)
    assert (result.exit_code, result.stdout) == (2, "")
    assert "give a folder that `workbench run` wrote" in result.stderr


@pytest.mark.parametrize("words", ["compare", "estimates", "plot", "report", "export", "posterior"])
def test_a_command_on_one_folder_names_those_in_a_folder_of_folders(folder, words):
    result = command(words, folder.parent)
    said = f"{folder.parent}: holds folders of results, of which this command takes one; it has mine"
    assert result.exit_code == 2 and said in result.stderr, result.stderr


@pytest.mark.parametrize("words", ["status", "table", "compare", "estimates", "plot", "report"])
def test_a_file_in_place_of_a_folder_is_called_a_file(tmp_path, words):
    (tmp_path / "g.csv").write_text("a\n1\n")
    assert "g.csv: is a file; give a folder" in command(words, tmp_path / "g.csv").stderr


def test_a_damaged_job_is_named_and_the_others_are_told(folder, caplog):
    (folder / "jobs" / "study-mine.toml").write_text("cells = 3")
    result = command("status", folder, "--format", "json")
    assert result.exit_code == 0
    assert [row["name"] for row in json.loads(result.stdout)] == ["other"]
    assert "study-mine.toml: is damaged" in caplog.text
    edited = folder / "jobs" / "study-other.toml"
    edited.write_text(edited.read_text().replace('name = "other"', 'name = "another"'))
    result = command("status", folder)
    assert (result.exit_code, result.stdout) == (2, "")
    assert "is damaged (" in result.stderr


def test_a_folder_whose_only_job_is_damaged_hides_no_other_folder(folder):
    beside = folder.parent / "beside"
    (beside / "jobs").mkdir(parents=True)
    (beside / "cells").mkdir()
    (beside / "jobs" / "study-mine.toml").write_text("x")
    result = command("status", folder.parent, "--format", "json")
    assert result.exit_code == 0
    assert {row["name"] for row in json.loads(result.stdout)} == {"mine", "other"}
    assert f"Warning: {beside / 'jobs' / 'study-mine.toml'}: is damaged" in result.stderr
