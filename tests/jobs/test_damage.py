"""Whatever becomes of a results folder is one line that names the file and what to do; what is sound stays usable."""

import errno
import json
import os
import shutil
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tomli_w
from click.testing import CliRunner, Result

from workbench import files
from workbench.cli import cli

LOOKING = ("status", "table", "compare", "report", "plot")


def command(*words: object) -> Result:
    return CliRunner().invoke(cli, [str(word) for word in words], prog_name="workbench", catch_exceptions=False)


@pytest.fixture(scope="module")
def ran(tiny: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of `mine.toml` and of its results."""
    folder = tmp_path_factory.mktemp("damage")
    methods = {"em": {"max_iterations": 20}, "em2": {"method": "em", "max_iterations": 10}}
    (folder / "mine.toml").write_text(tomli_w.dumps({**tiny, "methods": methods}), encoding="utf-8")
    assert command("run", folder / "mine.toml", "--out", folder / "out", "--quiet").exit_code == 0
    return folder


@pytest.fixture
def out(ran: Path, tmp_path: Path) -> Path:
    return shutil.copytree(ran / "out", tmp_path / "out")


def again(ran: Path, out: Path) -> Result:
    return command("run", ran / "mine.toml", "--out", out)


def one_message(result: Result, *said: str) -> None:
    assert result.exit_code == 2, result.output
    assert result.stderr.startswith("Error: ") and result.stderr.count("\n") == 1, result.stderr
    assert result.stderr[:-1].isprintable()
    assert all(each in result.stderr for each in said), result.stderr


def as_file(place: Path) -> None:
    shutil.rmtree(place)
    place.write_text("x")


def as_folder(place: Path) -> None:
    place.unlink()
    (place / "mine").mkdir(parents=True)


PLACES: dict[str, Callable[[Path], None]] = {"report.html": as_folder, "figures": as_file, "pages": as_file}


@pytest.mark.parametrize("place", PLACES)
def test_what_is_in_the_way_of_a_page_is_named_and_no_cell_suffers(ran: Path, out: Path, place: str) -> None:
    before = {path: path.read_bytes() for path in (out / "cells").rglob("*") if path.is_file()}
    PLACES[place](out / place)
    for result in (again(ran, out), command("plot", out), command("report", out)):
        one_message(result, str(out / place))
    assert command("compare", out).exit_code == 0
    assert {path: path.read_bytes() for path in (out / "cells").rglob("*") if path.is_file()} == before


@pytest.mark.parametrize("place", ["cells", "jobs", "data"])
def test_a_file_in_place_of_a_folder_is_one_message(ran: Path, out: Path, place: str) -> None:
    as_file(out / place)
    one_message(again(ran, out), str(out))
    for words in LOOKING:
        result = command(words, out)
        assert result.exit_code in (0, 2) and result.stderr.count("\n") <= 3, (words, result.output)


def test_results_that_are_a_file_or_too_long_a_name_are_refused(ran: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    one_message(again(ran, tmp_path / "file"), str(tmp_path / "file"), "--out")
    one_message(again(ran, tmp_path / ("n" * 300)), "--out")
    assert (tmp_path / "file").read_text() == "x"


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EDQUOT, errno.EACCES])
def test_a_disk_that_takes_nothing_is_one_message_and_the_same_command_goes_on(
    ran: Path, out: Path, number: int, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    def full(*paths: object) -> None:
        raise OSError(number, os.strerror(number), str(paths[-1]))

    if number != errno.ENOSPC:
        request.getfixturevalue("light")  # one of them meets the page, too
    (cell,) = out.glob("cells/em-*")
    shutil.rmtree(cell)
    with monkeypatch.context() as patch:
        patch.setattr(files.os, "replace", full)
        result = again(ran, out)
    assert result.exit_code in (1, 2) and "Traceback" not in result.output
    assert os.strerror(number) in result.output
    assert not cell.exists()
    assert again(ran, out).exit_code == 0 and cell.is_dir()


def test_a_name_of_control_characters_is_written_out(ran: Path, tmp_path: Path) -> None:
    odd = tmp_path / "red\x1b[31m\nname"
    odd.mkdir()
    for words in LOOKING:
        result = command(words, odd)
        assert result.exit_code == 2
        assert "\x1b" not in result.stderr


@pytest.fixture
def deny(monkeypatch: pytest.MonkeyPatch) -> Callable[[Path], None]:
    """Takes the permission to read a file or a folder away; the user who runs tests may be allowed everything."""

    def deny(place: Path) -> None:
        for owner, name in ((Path, "open"), (os, "stat"), (os, "scandir")):
            usual = getattr(owner, name)

            def denied(path: Any, *more: Any, usual: Any = usual, name: str = name, **options: Any) -> Any:
                given = Path(os.fsdecode(path)) if isinstance(path, str | bytes | Path) else None
                if given is not None and (place in given.parents or (given == place and name != "stat")):
                    raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(given))
                return usual(path, *more, **options)

            monkeypatch.setattr(owner, name, denied)

    return deny


def as_pipe(place: Path) -> None:
    place.unlink()
    os.mkfifo(place)


@pytest.mark.usefixtures("light")
@pytest.mark.timeout(60)  # reading a pipe would block
@pytest.mark.parametrize("part", ["manifest.json", "values.json", "arrays.npz", "config.toml"])
def test_a_pipe_in_a_cell_is_damage_that_a_run_mends(part: str, ran: Path, out: Path) -> None:
    (place,) = out.glob(f"cells/em-*/{part}")
    as_pipe(place)
    assert json.loads(command("status", out, "--format", "json").stdout)[0]["damaged"] == 1
    assert again(ran, out).exit_code == 0 and place.is_file()


@pytest.mark.usefixtures("light")
@pytest.mark.timeout(60)
@pytest.mark.parametrize("spoil", [as_pipe, as_folder])
@pytest.mark.parametrize("part", ["jobs/*.toml", "data/*.npz"])
def test_what_stands_for_a_job_or_points_is_named_by_its_own_path(
    part: str, spoil: Callable[[Path], None], ran: Path, out: Path
) -> None:
    (place,) = out.glob(part)
    spoil(place)
    for words in LOOKING:
        assert command(words, out).exit_code in (0, 2)
    one_message(again(ran, out), f"{place}: is no file that can be replaced", "move it away")
    assert not place.is_file()


UNREADABLE = ("cells/em-*/manifest.json", "cells/em-*/values.json", "cells/em-*", "jobs", "jobs/*.toml", "data/*.npz")


@pytest.mark.usefixtures("light")
@pytest.mark.parametrize("part", UNREADABLE)
def test_what_cannot_be_read_is_named_and_nothing_is_replaced_or_said_to_be_damaged(
    part: str, ran: Path, out: Path, deny: Callable[[Path], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    (place,) = out.glob(part)
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    looking = ("compare", "report", "status")
    deny(place)
    for result in (again(ran, out), *(command(words, out) for words in looking)):
        one_message(result, str(place), "cannot be read (Permission denied); give yourself permission")
        assert "damaged" not in result.stderr
    if part.startswith("cells"):
        assert command("clean", out, "--damaged").exit_code == 2
    monkeypatch.undo()
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before


def bomb(file: Path) -> None:
    """Four GiB of zeros, as the header of the archive says; a few bytes on disk."""
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x.npy", b"0" * 1000)
    content = bytearray(file.read_bytes())
    # In the directory at the end, the size of the only member.
    place = content.rindex(b"PK\x01\x02") + 24
    content[place : place + 4] = struct.pack("<I", 2**32 - 2)
    file.write_bytes(bytes(content))


@pytest.mark.parametrize("part", ["data/*.npz", "cells/em-*/arrays.npz"])
def test_arrays_of_gibibytes_are_refused_by_their_header(out: Path, part: str, monkeypatch: pytest.MonkeyPatch) -> None:
    (file,) = out.glob(part)
    bomb(file)
    monkeypatch.setattr("workbench.jobs.formats.READ_AT_MOST", 2**31)
    result = command("compare", out)
    if part.startswith("data"):
        one_message(result, str(file), "it would unpack to 4 GiB", "run the experiment again")
    else:
        assert result.exit_code == 0
        assert "arrays.npz was changed after it was written" in result.stdout


@pytest.mark.usefixtures("light")
@pytest.mark.parametrize("name", ["manifest.json", "values.json"])
def test_json_nested_a_thousand_deep_and_more_is_damage(ran: Path, out: Path, name: str) -> None:
    (file,) = out.glob(f"cells/em-*/{name}")
    file.write_text("[" * 1000 + "]" * 1000)
    assert json.loads(command("status", out, "--format", "json").stdout)[0]["damaged"] == 1
    shown = command("compare", out)
    assert shown.exit_code == 0 and "em2" in shown.stdout and "damaged" in shown.stdout
    mended = again(ran, out)
    assert mended.exit_code == 0
    assert json.loads(command("status", out, "--format", "json").stdout)[0]["done"] == 2


@pytest.fixture
def two(ran: Path, out: Path, tiny: dict[str, Any]) -> tuple[Path, Path]:
    """A folder with the results of two experiments on other points, and the points of the first, damaged."""
    (first,) = out.glob("data/*.npz")
    other = ran / "other.toml"
    other.write_text(tomli_w.dumps({**tiny, "seed": 9, "methods": {"em": {"max_iterations": 5}}}), encoding="utf-8")
    assert command("run", other, "--out", out, "--quiet").exit_code == 0
    assert len(list(out.glob("data/*.npz"))) == 2
    first.write_bytes(first.read_bytes()[:100])
    return out, first


@pytest.mark.usefixtures("light")
@pytest.mark.parametrize("words", ["compare", "report", "estimates"])
def test_damaged_points_are_named_and_the_other_jobs_are_shown(
    words: str, two: tuple[Path, Path], caplog: pytest.LogCaptureFixture
) -> None:
    out, first = two
    result = command(words, out)
    assert result.exit_code == 0, result.output
    assert [each for each in caplog.messages if str(first) in each and "again (the points of 'mine')" in each]
    assert ("other" in result.stdout) if words != "report" else len(result.stdout.splitlines()) > 2


@pytest.mark.usefixtures("light")
def test_a_damaged_copy_of_a_file_that_is_there_is_named_and_the_file_is_read(
    tiny: dict[str, Any], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    rows = "\n".join(f"{i % 7},{i % 5 + 3 * (i % 2)}" for i in range(40))
    (tmp_path / "own.csv").write_text(f"a,b\n{rows}\n", encoding="utf-8")
    values = {**tiny, "data": {"file": "own.csv"}, "methods": {"em": {"max_iterations": 5}}}
    (tmp_path / "own.toml").write_text(tomli_w.dumps(values), encoding="utf-8")
    out = tmp_path / "out"
    assert command("run", tmp_path / "own.toml", "--out", out, "--quiet").exit_code == 0
    sound = {words: command(words, out).stdout for words in ("compare", "estimates", "status")}
    (copy,) = out.glob("data/*.npz")
    copy.write_bytes(copy.read_bytes()[:100])
    for words, usual in sound.items():
        caplog.clear()
        result = command(words, out)
        assert result.exit_code == 0 and result.stdout == usual
        assert f"{copy}: is damaged" in caplog.text + result.stderr
        assert ("own.csv is read in its place" in caplog.text) is (words != "status")
    (tmp_path / "own.csv").write_text(f"a,b\n{rows}\n1,2\n", encoding="utf-8")
    one_message(command("compare", out), f"{copy}: is damaged", "run the experiment again")


@pytest.mark.usefixtures("light")
def test_a_run_writes_damaged_points_again(ran: Path, two: tuple[Path, Path]) -> None:
    out, first = two
    assert again(ran, out).exit_code == 0
    shown = command("compare", out)
    assert shown.exit_code == 0 and "mine" in shown.stdout and "other" in shown.stdout
    content = first.read_bytes()
    assert again(ran, out).exit_code == 0 and first.read_bytes() == content
