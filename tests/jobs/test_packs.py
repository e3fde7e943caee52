"""A pack is a results folder in one file: run again it comes out the same, and what is no sound pack is refused."""

import json
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result
from restamped import restamp, with_values
from standins import Steps, begun

from workbench.cli import cli
from workbench.experiment import parse_experiment
from workbench.jobs import packs
from workbench.jobs.experiment import run_experiment
from workbench.jobs.formats import packed, read_arrays
from workbench.jobs.running import run_job
from workbench.jobs.store import Store
from workbench.jobs.study import StudyJob

pytestmark = pytest.mark.usefixtures("steps_registered")


def command(*words: object) -> Result:
    return CliRunner().invoke(cli, [str(word) for word in words], prog_name="workbench", catch_exceptions=False)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Results of a study, the last cell of which fails."""
    out = tmp_path / "results" / "mine"
    run_job(StudyJob(Steps(log=str(tmp_path / "log"), upto=3, broken=2)), Store(out))
    (out / "report.html").write_text("page")
    (out / "cells" / ".x.lock").touch()
    return out


@pytest.fixture
def pack(folder: Path, tmp_path: Path) -> Path:
    assert command("export", folder, "--out", tmp_path / "mine.zip").exit_code == 0
    return tmp_path / "mine.zip"


def rewritten(pack: Path, change: Callable[[dict[str, bytes], dict[str, Any]], object]) -> Path:
    """The pack with its files and what it says of itself changed."""
    with zipfile.ZipFile(pack) as opened:
        files = {name: opened.read(name) for name in opened.namelist()}
    about = json.loads(files.pop("pack.json"))
    change(files, about)
    with zipfile.ZipFile(pack, "w") as written:
        written.writestr("pack.json", json.dumps(about))
        for name, content in files.items():
            written.writestr(name, content)
    return pack


def refused(pack: Path, said: str) -> None:
    result = command("verify", pack)
    assert (result.exit_code, result.stdout) == (2, ""), result.output
    assert result.stderr.startswith(f"Error: {pack}: ") and result.stderr.count("\n") == 1
    assert said in result.stderr


def test_a_pack_holds_everything_and_what_made_it(folder, pack):
    with zipfile.ZipFile(pack) as opened:
        names = set(opened.namelist())
        about = json.loads(opened.read("pack.json"))
    there = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert names == there - {"cells/.x.lock"} | {"pack.json"}
    assert set(about["files"]) == names - {"pack.json"}
    assert about["environment"]["packages"]["numpy"] == np.__version__


def test_run_again_it_comes_out_the_same_and_leaves_nothing(pack, tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path / "tmp"))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "tmp"))
    (tmp_path / "tmp").mkdir()
    before = len(begun(tmp_path / "log"))
    result = command("verify", pack)
    assert result.exit_code == 0, result.output
    assert "3 of 3 cells come out as they were packed." in result.stdout
    assert sorted(begun(tmp_path / "log")[before:]) == [0, 1, 2]
    assert list((tmp_path / "tmp").iterdir()) == []


@pytest.mark.parametrize("restored", [False, True])
def test_a_value_changed_with_every_digest_is_found_by_running_it_again(folder, tmp_path, restored):
    (cell,) = [p for p in folder.glob("cells/steps-*") if '"n": 1' in (p / "manifest.json").read_text()]
    with_values(cell, lambda values: values["rows"][0].update(square=1.0 if restored else 1.01))
    command("export", folder, "--out", tmp_path / "mine.zip")
    result = command("verify", tmp_path / "mine.zip")
    assert result.exit_code == (0 if restored else 1)
    if not restored:
        assert "apart" in result.stdout and "square" in result.stdout
        assert "2 of 3 cells come out as they were packed." in result.stdout
        assert command("verify", tmp_path / "mine.zip", "--tolerance", "0.1").exit_code == 0
        assert command("verify", tmp_path / "mine.zip", "--quiet").stdout.count("\n") == 3  # headings, a rule, the cell


@pytest.mark.parametrize("part", ["array", "row"])
def test_a_number_of_an_experiment_changed_with_every_digest_is_found(tiny, tmp_path, part):
    values = {**tiny, "methods": {"em": tiny["methods"]["em"]}}
    run_experiment(parse_experiment(values, "tiny"), name="tiny", out=tmp_path / "tiny")
    (cell,) = (tmp_path / "tiny").glob("cells/em-*")
    if part == "array":
        arrays = read_arrays((cell / "arrays.npz").read_bytes())
        (cell / "arrays.npz").write_bytes(packed(arrays | {"means": arrays["means"] * 1.001}))
    restamp(cell, lambda manifest: manifest["row"].update({"log_joint": 1.0} if part == "row" else {}))
    assert command("export", tmp_path / "tiny", "--out", tmp_path / "tiny.zip").exit_code == 0
    result = command("verify", tmp_path / "tiny.zip")
    assert result.exit_code == 1, result.output
    assert "apart" in result.stdout and ("means" if part == "array" else "log_joint") in result.stdout


def test_a_changed_byte_is_refused(pack):
    def change(files: dict[str, bytes], about: dict[str, Any]) -> None:
        name = next(name for name in files if name.endswith("values.json"))
        files[name] = files[name].replace(b"square", b"squire")

    refused(rewritten(pack, change), "is not what was packed")


@pytest.mark.parametrize("place", range(0, 4000, 200))
def test_a_byte_changed_anywhere_in_the_file_is_one_message_or_no_change(pack, place):
    content = bytearray(pack.read_bytes())
    content[place % len(content)] ^= 0x55
    pack.write_bytes(bytes(content))
    result = command("verify", pack)
    assert result.exit_code in (0, 2)
    assert result.exit_code == 0 or (result.stdout == "" and result.stderr.startswith(f"Error: {pack}: "))


NAMES = ["../out", "cells/../../out", "/tmp/out", "", ".", "cells", "cells/", "elsewhere/x", "report.html/x", "jobs/.."]


@pytest.mark.parametrize("name", NAMES)
def test_a_name_that_leads_out_of_the_folder_is_refused_and_nothing_is_written(pack, tmp_path, name):
    def change(files: dict[str, bytes], about: dict[str, Any]) -> None:
        files |= {name: b"x"} if name else {}
        about["files"][name] = "0" * 64

    there = set(tmp_path.rglob("*"))
    refused(rewritten(pack, change), "")
    assert set(tmp_path.rglob("*")) == there
    assert not Path("/tmp/out").exists()


def test_what_would_unpack_to_too_much_is_refused_before_it_is_read(pack, monkeypatch):
    monkeypatch.setattr(packs, "MOST_BYTES", 1000)
    refused(pack, "it would unpack to more than")


@pytest.mark.parametrize("about", [None, [], {}, {"format": 2}, {"format": 2, "files": 3}, {"format": 99, "files": {}}])
def test_what_says_nothing_of_itself_is_refused(pack, about):
    with zipfile.ZipFile(pack, "w") as written:
        written.writestr("pack.json" if about is not None else "other", json.dumps(about))
    refused(pack, "")


@pytest.mark.parametrize("content", [None, b"", b"no zip", b"PK\x03\x04"])
def test_what_is_no_zip_is_refused(tmp_path, content):
    if content is not None:
        (tmp_path / "x.zip").write_bytes(content)
    refused(tmp_path / "x.zip", "no such file" if content is None else "is no sound pack")


def test_a_folder_in_place_of_a_pack_is_refused(tmp_path):
    refused(tmp_path, "is no sound pack")


def test_a_pack_without_a_job_has_nothing_to_run_and_says_so(folder, tmp_path):
    shutil.rmtree(folder / "jobs")
    command("export", folder, "--out", tmp_path / "mine.zip")
    result = command("verify", tmp_path / "mine.zip")
    assert result.exit_code == 2
    assert "keeps no job" in result.stderr


def test_damaged_results_and_places_that_cannot_be_written_are_refused(folder, tmp_path):
    assert command("export", tmp_path, "--out", tmp_path / "x.zip").exit_code == 2
    (tmp_path / "file").write_text("")
    assert "cannot be written" in command("export", folder, "--out", tmp_path / "file" / "x.zip").stderr
    next(folder.glob("cells/*/values.json")).write_text("{}")
    result = command("export", folder, "--out", tmp_path / "x.zip")
    assert (result.exit_code, (tmp_path / "x.zip").exists()) == (2, False)
