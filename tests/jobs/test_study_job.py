"""Running a study: cells are kept as they finish, taken up again, and never mixed up."""

import json
import shutil
import tomllib
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
import pytest
import tomli_w
from restamped import by_other_code, with_values

import workbench as wb
from workbench.data import catalogue
from workbench.experiment import DataConfig
from workbench.jobs.study import StudyJob, load_study, run_study
from workbench.studies import Findings, Row, Study
from workbench.studies.reading import is_study, parse_study, read_study

EXPERIMENTS = Path(__file__).parents[2] / "experiments"
STUDY_FILES = [file for file in sorted(EXPERIMENTS.glob("*.toml")) if is_study(file)]


class Squares(Study):
    """Squares of whole numbers; the last cell can be made to fail."""

    summary: ClassVar[str] = "squares"
    study: Literal["squares"] = "squares"
    upto: int = 3
    broken: ClassVar[BaseException | None] = None
    measured: ClassVar[list[int]] = []

    def cells(self) -> list[Row]:
        return [{"n": n} for n in range(self.upto)]

    def measure(self, cell: Row, folder: Path) -> list[Row]:
        n = cell["n"]
        assert isinstance(n, int)
        if self.broken is not None and n == self.upto - 1:
            raise self.broken
        self.measured.append(n)
        return [{"square": n * n, "root": None if n == 0 else n**0.5, "many": [n, n]}]


class Measures(Squares):
    """It reads data, in a field of a name of its own."""

    wherever: DataConfig


def keys(study: Study, folder: Path = Path()) -> set[str]:
    return {cell.key for cell in StudyJob(study, folder).cells()}


def cell_of(out: Path, n: int) -> Path:
    """The folder of one cell of `Squares`."""
    cell = StudyJob(Squares()).cells()[n]
    return out / "cells" / cell.key


@pytest.fixture(autouse=True)
def fresh() -> None:
    Squares.measured.clear()
    Squares.broken = None


def test_rows_carry_the_coordinates_of_their_cell(tmp_path: Path) -> None:
    found = run_study(Squares(), out=tmp_path)
    np.testing.assert_array_equal(found.column("n"), [0, 1, 2])
    np.testing.assert_array_equal(found.column("square"), [0, 1, 4])
    assert np.isnan(found.column("root")[0])
    assert found.where(n=2).rows[0]["square"] == 4


def test_a_study_that_was_cut_off_measures_only_what_is_missing(tmp_path: Path) -> None:
    Squares.broken = KeyboardInterrupt()
    with pytest.raises(KeyboardInterrupt):
        run_study(Squares(), out=tmp_path)
    assert load_study(tmp_path, Squares()) is None
    Squares.broken = None
    found = run_study(Squares(), out=tmp_path)
    assert Squares.measured == [0, 1, 2]
    assert load_study(tmp_path, Squares()) == found


@pytest.mark.parametrize("error", [RuntimeError("singular"), TypeError("a mistake"), ZeroDivisionError()])
def test_a_cell_that_raises_is_kept_as_a_failure_and_the_others_are_measured(error: Exception, tmp_path: Path) -> None:
    Squares.broken = error
    found = run_study(Squares(upto=2), out=tmp_path)
    assert Squares.measured == [0]
    assert "cells are left out: 1 of 2 cells: squares (n = 1): " + type(error).__name__ in found.note
    assert load_study(tmp_path, Squares(upto=2)) is None
    assert found.column("n").tolist() == [0]
    Squares.broken = None
    assert run_study(Squares(upto=2), out=tmp_path).lost is not None
    assert Squares.measured == [0]
    assert run_study(Squares(upto=2), out=tmp_path, retry=True).lost is None
    assert Squares.measured == [0, 1]


def test_what_is_stored_is_not_measured_again_unless_forced(tmp_path: Path) -> None:
    run_study(Squares(), out=tmp_path)
    run_study(Squares(), out=tmp_path)
    assert Squares.measured == [0, 1, 2]
    run_study(Squares(), out=tmp_path, force=True)
    assert Squares.measured == [0, 1, 2] * 2


def test_another_setting_is_other_cells(tmp_path: Path) -> None:
    assert not keys(Squares(upto=2)) & keys(Squares(upto=3))
    assert not keys(Squares(seed=1)) & keys(Squares(seed=2))
    run_study(Squares(upto=2), out=tmp_path)
    run_study(Squares(upto=3), out=tmp_path)
    assert Squares.measured == [0, 1, 0, 1, 2]


def test_a_damaged_cell_is_measured_again(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    run_study(Squares(), out=tmp_path)
    file = cell_of(tmp_path, 1) / "values.json"
    file.write_text(file.read_text()[:20])
    run_study(Squares(), out=tmp_path)
    assert Squares.measured == [0, 1, 2, 1]
    assert "values.json was changed after it was written" in caplog.text
    assert "run again" in caplog.text
    assert json.loads(file.read_text())["rows"] == [{"n": 1, "square": 1, "root": 1.0, "many": [1, 1]}]


def test_cells_that_other_code_made_are_measured_again_or_kept_and_marked(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run_study(Squares(), out=tmp_path)
    by_other_code(cell_of(tmp_path, 1))
    with_values(cell_of(tmp_path, 1), lambda values: values["rows"][0].update(square=77))
    kept = run_study(Squares(), out=tmp_path, keep_stale=True)
    assert Squares.measured == [0, 1, 2]
    assert kept.column("square")[1] == 77
    assert "rows are STALE: other code made them (1 of 3 cells, workbench 0.1.0)" in str(kept.table)
    assert "STALE" in str(kept.where(n=0).table)
    assert caplog.messages == ["1 of 3 stored cells were made by other code (workbench 0.1.0): kept as they are"]
    mended = run_study(Squares(), out=tmp_path)
    assert Squares.measured == [0, 1, 2, 1]
    assert mended.column("square")[1] == 1
    assert mended.stale is None
    assert caplog.messages[1:] == ["1 of 3 stored cells were made by other code (workbench 0.1.0): run again"]


def test_a_data_file_in_any_field_is_part_of_what_a_study_is(tmp_path: Path) -> None:
    study = Measures.model_validate({"wherever": {"file": "points.csv"}})
    (tmp_path / "points.csv").write_text("x\n1\n2\n3\n")
    before = keys(study, tmp_path)
    assert keys(study, tmp_path) == before
    (tmp_path / "points.csv").write_text("x\n101\n102\n103\n")
    assert not keys(study, tmp_path) & before


def test_a_cell_nested_beyond_all_depth_is_measured_again(tmp_path: Path) -> None:
    run_study(Squares(), out=tmp_path)
    (cell_of(tmp_path, 1) / "manifest.json").write_text("[" * 100_000)
    run_study(Squares(), out=tmp_path)
    assert Squares.measured == [0, 1, 2, 1]


def test_a_bundled_data_set_is_part_of_what_a_study_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study = Measures.model_validate({"wherever": {"dataset": "galaxies"}})
    before = keys(study, tmp_path)
    shutil.copytree(str(catalogue.sets()), tmp_path / "sets")
    file = tmp_path / "sets" / "galaxies.csv"
    file.write_text(file.read_text().replace("20795", "30000"))
    monkeypatch.setattr(catalogue, "sets", lambda: tmp_path / "sets")
    assert not keys(study, tmp_path) & before


def test_progress_counts_cells(tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    run_study(Squares(), out=tmp_path, watch=lambda name: lambda done, total: seen.append((done, total)))
    assert seen == [(0, 3), (1, 3), (2, 3), (3, 3)]


def test_a_folder_that_cannot_be_written_is_one_clear_message(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(wb.InputError, match=r"cannot be written .*--out"):
        run_study(Squares(), out=tmp_path / "file")


def test_the_table_shows_single_values_and_dashes() -> None:
    found = Findings(Squares(), [{"n": 0, "square": 0, "root": None, "many": [0]}])
    assert found.table.heads == ["n", "square", "root"]
    assert found.table.lines() == [["0", "0", "–"]]


@pytest.mark.parametrize("file", STUDY_FILES, ids=lambda file: file.stem)
def test_what_a_study_stores_of_its_config_is_read_again(file: Path) -> None:
    study = read_study(file)
    assert parse_study(tomllib.loads(tomli_w.dumps(study.resolved())), "x") == study
