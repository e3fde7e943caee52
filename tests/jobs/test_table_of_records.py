"""Every record as a row: chosen, told in every form, and safe from whatever a condition holds."""

import csv
import importlib.util
import io
import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as parquet
import pytest
import tomli_w
from click.testing import CliRunner, Result
from restamped import by_other_code

from workbench import frames
from workbench.cli import cli
from workbench.errors import InputError
from workbench.jobs import table as table_module
from workbench.jobs.base import Cell, Failure, Record
from workbench.jobs.store import Store
from workbench.jobs.table import (
    MOST_LINES,
    results,
    rows_of,
    selected,
    table_of,
    table_of_folder,
    to_parquet,
    varying,
    where,
)
from workbench.provenance import Provenance

MADE_BY = Provenance.of(rows_of)
ROWS = (
    {"method": "em", "seed": 0, "log_joint": -1.5, "sound": True},
    {"method": "em", "seed": 1, "log_joint": None, "sound": False},
    {"method": 'o"brien; --', "seed": 2, "log_joint": 1e-12, "sound": None},
)
TABLE = table_of(ROWS)
HOSTILE = [
    "",
    ";",
    "1); DROP TABLE cells; SELECT (1",
    "1); DROP VIEW cells; --",
    "1) UNION SELECT 77 WHERE (1",
    "1) UNION SELECT -1 WHERE (1",
    "1) UNION SELECT 'x' WHERE (1",
    "1) UNION SELECT NULL WHERE (1",
    "1) UNION SELECT 0.5 WHERE (1",
    "1); ATTACH '{file}' AS x; SELECT * FROM cells WHERE (1",
    "1); COPY (SELECT 1) TO '{file}'; SELECT 0 WHERE (1",
    "1); INSTALL httpfs; SELECT 0 WHERE (1",
    "1); SET enable_external_access = true; SELECT 0 WHERE (1",
    "1); PRAGMA query_only = OFF; SELECT 0 WHERE (1",
    "method IN (SELECT * FROM read_csv('/etc/passwd'))",
    "method IN (SELECT content FROM read_text('/etc/passwd'))",
    "method IN (SELECT * FROM '/etc/passwd')",
    "1) UNION SELECT * FROM read_csv('/etc/passwd') WHERE (1",
    "(SELECT readfile('/etc/passwd')) = 1",
    "(SELECT writefile('{file}', 'x')) = 1",
    "load_extension('{file}') = 1",
    "no_such_column = 1",
    "method = ",
    "((1)",
    "\x00",
]


@pytest.fixture(params=["duckdb", "sqlite"])
def engine(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Both of the engines that answer conditions."""
    without(monkeypatch, *(["duckdb"] if request.param == "sqlite" else []))
    return str(request.param)


def without(monkeypatch: pytest.MonkeyPatch, *packages: str) -> None:
    """As if these were not installed."""
    found = importlib.util.find_spec
    for module in (table_module, frames):
        monkeypatch.setattr(module, "find_spec", lambda name: None if name in packages else found(name))


def cell(name: str, seed: int) -> Cell:
    return Cell(name, {"seed": seed, "name": name}, MADE_BY, {"method": name, "seed": seed})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two done cells, a failed one, a stale one, and one that was changed."""
    out = tmp_path / "results" / "mine"
    store = Store(out)
    for seed in range(4):
        made = cell("em", seed)
        store.save("study", made, Record({"rows": []}, {"x": np.arange(3.0)}, {"log_joint": -1.0 - seed}), 0.5)
    store.save_failure("study", cell("gibbs", 4), Failure("RuntimeError: no", "Traceback"), 0.1)
    by_other_code(store.place(cell("em", 2).key), jax="0.0.1")
    (store.place(cell("em", 3).key) / "arrays.npz").write_bytes(b"")
    record = {"format": 2, "kind": "study", "name": "mine", "config": {}}
    keys = [cell("em", seed).key for seed in range(4)] + [cell("gibbs", 4).key, cell("em", 5).key]
    (out / "jobs").mkdir()
    (out / "jobs" / "study-1.toml").write_text(tomli_w.dumps(record | {"cells": keys}))
    return out


def command(*words: object) -> Result:
    return CliRunner().invoke(cli, [str(word) for word in words], prog_name="workbench", catch_exceptions=False)


class TestConditions:
    @pytest.mark.parametrize(
        ("condition", "seeds"),
        [
            ("method = 'em'", [0, 1]),
            ("seed >= 1 AND sound IS NOT NULL", [1]),
            ("log_joint IS NULL", [1]),
            ("log_joint < 0 OR method LIKE 'o%'", [0, 2]),
            ("sound", [0]),
            ("1 = 0", []),
            ("method = 'o\"brien; --'", [2]),
            ("seed = 0 -- the first", [0]),
            ("seed IN (SELECT max(seed) FROM cells)", [2]),
        ],
    )
    def test_both_engines_choose_the_same_rows_in_order(self, engine, condition, seeds):
        assert [row["seed"] for row in where(TABLE, condition).rows] == seeds

    @pytest.mark.parametrize("condition", HOSTILE)
    def test_what_is_no_condition_is_one_message(self, engine, condition, tmp_path):
        file = tmp_path / "file"
        with pytest.raises(InputError) as caught:
            where(TABLE, condition.format(file=file))
        message = str(caught.value)
        assert message.startswith("--where ") and "\n" not in message
        assert message.endswith("give a condition in SQL on the columns that `workbench table --format csv` shows")
        assert "root:" not in message.partition(": ")[2].replace("'/etc/passwd'", "")
        assert not file.exists()

    def test_a_condition_without_end_is_ended(self, engine, monkeypatch):
        monkeypatch.setattr(table_module, "PATIENCE", 0.3)
        endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n"
        with pytest.raises(InputError, match=r"^--where .* it takes more than 0 seconds; give a condition in SQL"):
            where(TABLE, f"seed = ({endless})")

    def test_rows_that_a_union_adds_are_rows_of_the_table_or_none(self, engine):
        found = where(TABLE, f"seed = 2) UNION SELECT {table_module.PLACE} FROM cells WHERE (seed = 0")
        assert [row["seed"] for row in found.rows] == [0, 2]

    def test_a_column_of_numbers_and_text_is_compared_as_text(self, engine):
        found = where(table_of([{"a": 1}, {"a": "x"}]), "a = 'x'")
        assert [row["a"] for row in found.rows] == ["x"]

    def test_names_of_columns_are_quoted(self, engine):
        hostile = 'a") ; DROP TABLE cells; --'
        assert len(where(table_of([{hostile: 1, "b": 2}]), "b = 2")) == 1


class TestForms:
    def test_csv_reads_back(self):
        lines = list(csv.DictReader(io.StringIO(TABLE.to_csv())))
        assert [line["method"] for line in lines] == [row["method"] for row in ROWS]
        assert [line["log_joint"] for line in lines] == ["-1.5", "", "1e-12"]

    def test_json_reads_back(self):
        assert json.loads(TABLE.to_json()) == [dict(row) for row in ROWS]

    def test_parquet_reads_back(self, tmp_path):
        to_parquet(TABLE, tmp_path / "x.parquet")
        read = parquet.read_table(tmp_path / "x.parquet").to_pylist()
        assert read == [dict(row) for row in ROWS]

    def test_a_condition_that_no_row_meets_leaves_no_row(self, folder):
        result = command("table", folder, "--where", "seed = -1")
        assert result.exit_code == 0 and result.stdout == "no row\n"

    @pytest.mark.parametrize("form", ["table", "json", "csv"])
    def test_every_format_is_written_to_a_file(self, folder, tmp_path, form):
        usual, file = command("table", folder, "--format", form).stdout, tmp_path / "records"
        result = command("table", folder, "--format", form, "--out", file)
        assert (result.exit_code, result.stdout) == (0, f"{file}\n") and file.read_text() == usual
        assert "give another name" in command("table", folder, "--format", form, "--out", tmp_path).stderr

    def test_parquet_says_what_it_needs_and_where_it_cannot_write(self, tmp_path, monkeypatch):
        with pytest.raises(InputError, match=r"nowhere.*cannot be written"):
            to_parquet(TABLE, tmp_path / "nowhere" / "x.parquet")
        without(monkeypatch, "pyarrow")
        with pytest.raises(InputError, match=r"needs pyarrow; pip install 'workbench\[parquet\]'"):
            to_parquet(TABLE, tmp_path / "x.parquet")

    def test_html_is_escaped(self):
        page = table_of([{"<b>": "<script>"}]).to_html()
        assert "<script>" not in page and "<b>" not in page

    def test_print_is_cut_and_says_how_much_is_left(self):
        lines = str(table_of([{"n": n} for n in range(MOST_LINES + 3)])).splitlines()
        assert len(lines) == MOST_LINES + 3
        assert lines[-1] == "... and 3 rows more"

    def test_columns_are_those_asked_for_in_their_order(self):
        assert selected(TABLE, ["seed", "method"]).to_csv().splitlines()[0] == "seed,method"
        with pytest.raises(InputError, match=r"--columns: sed: no such column; there are method, seed"):
            selected(TABLE, ["sed"])

    def test_columns_that_are_the_same_everywhere_are_left_out_of_print(self):
        assert varying(table_of([{"state": "done", "a": 1, "b": 1}, {"state": "done", "a": 1, "b": 2}])).columns == (
            "state",
            "b",
        )

    def test_every_cell_is_a_row_of_a_frame(self, folder, monkeypatch):
        without(monkeypatch, "pandas", "polars")
        found = [row["seed"] for row in table_of_folder(folder).rows]
        assert results(folder).column("seed").to_pylist() == found
        assert sorted(results(folder).column("state").to_pylist()) == ["done", "done", "done", "failed", "stale"]
        without(monkeypatch, "pandas", "polars", "pyarrow")
        with pytest.raises(InputError, match="needs pandas, polars or pyarrow"):
            results(folder)


class TestCommands:
    def test_a_row_says_where_its_cell_stands(self, folder):
        result = command("table", folder, "--format", "json")
        rows = {row["seed"]: row for row in json.loads(result.stdout)}
        assert {seed: row["state"] for seed, row in rows.items()} == {
            0: "done", 1: "done", 2: "stale", 3: "done", 4: "failed",
        }  # fmt: skip
        assert rows[4]["why"] == "RuntimeError: no"
        assert rows[2]["why"] == "workbench 0.1.0, jax 0.0.1"
        assert rows[0]["log_joint"] == -1.0

    def test_options_choose_rows_columns_and_forms(self, folder):
        result = command("table", folder, "--where", "log_joint < -1", "--columns", "seed,log_joint", "--format", "csv")
        assert result.stdout.splitlines()[0] == "seed,log_joint"
        assert sorted(result.stdout.splitlines()[1:]) == ["1,-2.0", "2,-3.0", "3,-4.0"]

    def test_all_results_folders_in_one_are_shown_together(self, folder):
        assert (
            command("table", folder.parent, "--format", "csv").stdout
            == command("table", folder, "--format", "csv").stdout
        )

    def test_parquet_needs_a_file_and_is_whole(self, folder, tmp_path):
        assert command("table", folder, "--format", "parquet").exit_code == 2
        assert command("table", folder, "--format", "parquet", "--out", tmp_path / "x.parquet").exit_code == 0
        read = parquet.read_table(tmp_path / "x.parquet").to_pylist()
        assert read == json.loads(command("table", folder, "--format", "json").stdout)

    @pytest.mark.parametrize("condition", ["1) UNION SELECT 77 WHERE (1", "1); DROP TABLE cells; SELECT (1", "x = "])
    def test_a_hostile_condition_ends_with_status_2_and_one_message(self, folder, condition):
        result = command("table", folder, "--where", condition)
        assert (result.exit_code, result.stdout) == (2, "")
        assert result.stderr.startswith("Error: --where ") and result.stderr.count("\n") == 1

    @pytest.mark.parametrize("place", ["nowhere", "empty"])
    def test_a_folder_without_cells_is_refused(self, tmp_path, place):
        (tmp_path / "empty").mkdir()
        result = command("table", tmp_path / place)
        assert result.exit_code == 2
        assert "give a folder that `workbench run` wrote" in result.stderr
