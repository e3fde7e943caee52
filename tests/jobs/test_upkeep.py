"""Results folders kept in order: what is asked for is removed, what is missing is copied, and what differs is told."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result
from restamped import by_other_code, restamp, with_values
from standins import Steps

from workbench.cli import cli
from workbench.jobs.base import Cell, Failure, Record
from workbench.jobs.formats import packed
from workbench.jobs.running import run_job
from workbench.jobs.store import Store
from workbench.jobs.study import StudyJob
from workbench.jobs.table import checked_rows_of, rows_of
from workbench.provenance import Provenance

pytestmark = pytest.mark.usefixtures("steps_registered")

MADE_BY = Provenance.of(rows_of)
STATES = ("done", "failed", "stale", "damaged", "changed")
CELLS = {name: Cell(name, {"state": name}, MADE_BY, {"state_of": name}) for name in STATES}


def command(*words: object) -> Result:
    return CliRunner().invoke(cli, [str(word) for word in words], prog_name="workbench", catch_exceptions=False)


def fill(folder: Path, *states: str) -> Store:
    """A results folder with a cell in each of some states; of `changed` the manifest is sound and an array is not."""
    store = Store(folder)
    for state in states:
        cell = CELLS[state]
        if state == "failed":
            store.save_failure("study", cell, Failure("RuntimeError: no", "Traceback"), 0.1)
            continue
        store.save("study", cell, Record({"rows": []}, {"x": np.arange(3.0)}, {"log_joint": -1.0}), 0.5)
        place = store.place(cell.key)
        if state == "stale":
            by_other_code(place, jax="0.0.1")
        if state == "damaged":
            (place / "manifest.json").write_text("{}")
        if state == "changed":
            (place / "arrays.npz").write_bytes(b"")
    return store


def states(store: Store) -> dict[str, str]:
    rows = checked_rows_of(store, store.stored_keys()).rows
    return {str(row["key"]).rpartition("-")[0]: str(row["state"]) for row in rows}


class TestClean:
    @pytest.mark.parametrize(
        ("options", "gone"),
        [
            (["--failed"], {"failed"}),
            (["--stale"], {"stale"}),
            (["--damaged"], {"damaged", "changed"}),
            (["--failed", "--stale"], {"failed", "stale"}),
        ],
    )
    def test_what_is_asked_for_is_removed_and_nothing_else(self, tmp_path, options, gone):
        store = fill(tmp_path / "mine", *STATES)
        dry = command("clean", tmp_path / "mine", "--dry-run", *options)
        assert f"{len(gone)} cells would be removed." in dry.stdout
        assert states(store).keys() == set(STATES)
        result = command("clean", tmp_path / "mine", *options)
        assert (result.exit_code, f"{len(gone)} cells are removed." in result.stdout) == (0, True)
        assert states(store).keys() == set(STATES) - gone
        assert list((tmp_path / "mine" / "cells").glob(".*")) == []

    def test_every_results_folder_in_one_is_cleaned(self, tmp_path):
        stores = [fill(tmp_path / name, "done", "failed") for name in ("one", "two")]
        assert "2 cells are removed." in command("clean", tmp_path, "--failed").stdout
        assert [list(states(store)) for store in stores] == [["done"]] * 2

    def test_nothing_asked_for_is_refused(self, tmp_path):
        fill(tmp_path, "failed")
        result = command("clean", tmp_path)
        assert (result.exit_code, result.stdout) == (2, "")
        assert "give at least one of --failed, --stale and --damaged" in result.stderr
        assert command("clean", tmp_path / "nowhere", "--failed").exit_code == 2


class TestMerge:
    def test_what_is_missing_is_copied_to_the_byte_and_what_is_damaged_is_left_out(self, tmp_path):
        source, target = fill(tmp_path / "a", *STATES), Store(tmp_path / "b")
        result = command("merge", tmp_path / "a", tmp_path / "b")
        assert result.exit_code == 0
        assert "3 cells copied, 0 there already, 2 damaged and left out." in result.stdout
        assert result.stderr.count("left out: ") == 2
        assert states(target) == {"done": "done", "failed": "failed", "stale": "stale"}
        for key in target.stored_keys():
            for file in source.place(key).iterdir():
                assert (target.place(key) / file.name).read_bytes() == file.read_bytes()

    @pytest.mark.parametrize("worse", ["failed", "stale", "damaged", "changed"])
    def test_what_is_sound_takes_the_place_of_what_is_not_and_never_the_other_way(self, tmp_path, worse):
        good, bad = fill(tmp_path / "a", worse), fill(tmp_path / "b", worse)
        key = CELLS[worse].key
        shutil.rmtree(good.place(key))
        good.save("study", CELLS[worse], Record({"rows": []}, {"x": np.arange(3.0)}, {"log_joint": -7.0}), 0.5)
        command("merge", tmp_path / "b", tmp_path / "a")
        assert states(good) == {worse: "done"}
        assert "1 cells copied" in command("merge", tmp_path / "a", tmp_path / "b").stdout
        assert states(bad) == {worse: "done"}
        assert bad.load(key).row["log_joint"] == -7.0

    def test_what_both_have_stays_as_it_is(self, tmp_path):
        fill(tmp_path / "a", "done")
        target = fill(tmp_path / "b", "done")
        restamp(target.place(CELLS["done"].key), lambda manifest: manifest["row"].update(log_joint=5.0))
        assert "0 cells copied, 1 there already" in command("merge", tmp_path / "a", tmp_path / "b").stdout
        assert target.load(CELLS["done"].key).row["log_joint"] == 5.0

    def test_jobs_of_both_are_shown_after_it(self, tmp_path):
        for name, upto in (("a", 2), ("b", 3)):
            run_job(StudyJob(Steps(log=str(tmp_path / "log"), upto=upto)), Store(tmp_path / name))
        assert command("merge", tmp_path / "a", tmp_path / "b").exit_code == 0
        assert len(Store(tmp_path / "b").jobs()) == 2
        assert len(Store(tmp_path / "b").stored_keys()) == 5
        assert command("plot", tmp_path / "b").exit_code == 0

    def test_what_is_no_results_folder_is_refused(self, tmp_path):
        result = command("merge", tmp_path, tmp_path / "b")
        assert (result.exit_code, result.stdout) == (2, "")
        assert "holds no cells; give a folder that `workbench run` wrote" in result.stderr


class TestDiff:
    @pytest.fixture
    def pair(self, tmp_path: Path) -> tuple[Path, Path]:
        """Two folders of one study, two of whose numbers are a row's, an array's or a value's."""
        for name in ("a", "b"):
            store = fill(tmp_path / name, "done", "failed")
            cell = Cell("many", {"state": "many"}, MADE_BY)
            store.save("study", cell, Record({"rows": [{"v": 2.0, "seconds": 1.0}, {"v": 3.0}]}, row={"rows": 2}), 0.5)
        return tmp_path / "a", tmp_path / "b"

    def _change(self, folder: Path, part: str, factor: float) -> None:
        store = Store(folder)
        done, (many,) = store.place(CELLS["done"].key), folder.glob("cells/many-*")
        if part == "row":
            restamp(done, lambda manifest: manifest["row"].update(log_joint=-1.0 * factor))
        if part == "array":
            (done / "arrays.npz").write_bytes(packed({"x": np.arange(3.0) * factor}))
            restamp(done, lambda manifest: None)
        if part == "value":
            with_values(many, lambda values: values["rows"][0].update(v=2.0 * factor))
        if part == "seconds":
            with_values(many, lambda values: values["rows"][0].update(seconds=factor))

    def test_the_same_is_the_same(self, pair):
        result = command("diff", *pair)
        assert result.exit_code == 0
        assert result.stdout == "3 cells are the same; 0 differences are beyond the tolerance.\n"

    @pytest.mark.parametrize("part", ["row", "array", "value"])
    def test_a_number_is_told_beyond_the_tolerance_and_not_within(self, pair, part):
        self._change(pair[1], part, 1 + 1e-4)
        beyond, within = command("diff", *pair), command("diff", *pair, "--tolerance", "1e-3")
        assert (beyond.exit_code, within.exit_code) == (1, 0)
        assert "2 cells are the same; 1 differences are beyond the tolerance." in beyond.stdout
        assert {"row": "log_joint: -1.0 and -1.0001", "array": "x: apart by 0.0002", "value": "rows[0].v: 2.0"}[
            part
        ] in beyond.stdout

    def test_what_took_time_is_not_compared(self, pair):
        self._change(pair[1], "seconds", 99.0)
        assert command("diff", *pair).exit_code == 0

    @pytest.mark.parametrize("change", ["gone", "failed", "damaged"])
    def test_a_cell_that_one_folder_has_not_counts(self, pair, change):
        store = Store(pair[1])
        key = CELLS["done"].key
        if change == "damaged":
            (store.place(key) / "arrays.npz").write_bytes(b"")
        else:
            store.remove(key)
        if change == "failed":
            store.save_failure("study", CELLS["done"], Failure("RuntimeError: no", ""), 0.1)
        result = command("diff", *pair)
        assert result.exit_code == 1
        said = {"gone": f"only in the first: {key}", "failed": "done and failed", "damaged": "is damaged"}
        assert said[change] in result.stdout

    def test_other_code_and_versions_are_told_and_do_not_count(self, pair):
        by_other_code(Store(pair[1]).place(CELLS["done"].key))
        result = command("diff", *pair)
        assert result.exit_code == 0
        assert "made by different code" in result.stdout

    def test_settings_of_one_job_are_told(self, tmp_path):
        for name, upto in (("a", 2), ("b", 3)):
            settings: dict[str, Any] = {"log": str(tmp_path / "log"), "upto": upto}
            run_job(StudyJob(Steps(**settings)), Store(tmp_path / name))
        result = command("diff", tmp_path / "a", tmp_path / "b")
        assert result.exit_code == 1
        assert "steps: study.upto: 2 and 3" in result.stdout

    def test_what_is_no_results_folder_is_refused(self, tmp_path):
        result = command("diff", tmp_path, tmp_path)
        assert (result.exit_code, result.stdout) == (2, "")
