"""Whatever writes a file follows links and leaves pipes, devices and folders alone; none of these is read."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

import workbench as wb
from workbench.cli import cli
from workbench.files import replacing

pytestmark = pytest.mark.timeout(60)  # reading a pipe would block

MIXTURE = wb.Mixture.from_covariances([1.0], [[0.0, 0.0]], [np.eye(2)])
TRACES = wb.compare(wb.Problem(np.random.default_rng(1).normal(size=(30, 2)), 1), {"em": {"max_iterations": 2}})


def write(path: Path) -> None:
    with replacing(path) as temporary:
        temporary.write_text("new")


WRITERS: list[Callable[[Path], Any]] = [write, MIXTURE.save, lambda path: wb.save_comparison(TRACES, path)]


@pytest.mark.parametrize("writer", WRITERS)
@pytest.mark.parametrize("kind", ["pipe", "link to a pipe", "folder", "device"])
def test_what_is_no_file_is_never_replaced(kind: str, writer: Callable[[Path], Any], tmp_path: Path) -> None:
    place = tmp_path / "own.npz"
    if kind == "folder":
        place.mkdir()
    elif kind == "pipe":
        os.mkfifo(place)
    elif kind == "device":
        place.symlink_to(os.devnull)
    else:
        os.mkfifo(tmp_path / "pipe")
        place.symlink_to(tmp_path / "pipe")
    before = [(each.name, each.lstat().st_ino) for each in sorted(tmp_path.iterdir())]
    with pytest.raises(wb.InputError, match=r"own\.npz: is no file that can be replaced; give another name"):
        writer(place)
    assert [(each.name, each.lstat().st_ino) for each in sorted(tmp_path.iterdir())] == before


@pytest.mark.parametrize("writer", WRITERS)
def test_through_a_link_the_file_behind_it_is_replaced(writer: Callable[[Path], Any], tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "real").write_text("old")
    (tmp_path / "link.npz").symlink_to("in/real")
    writer(tmp_path / "link.npz")
    assert (tmp_path / "link.npz").is_symlink() and (tmp_path / "in" / "real").read_bytes() != b"old"
    assert [each.name for each in (tmp_path / "in").iterdir()] == ["real"]


READERS: list[Callable[[Path], Any]] = [wb.read_experiment, wb.read_study, wb.load_comparison, wb.Mixture.load]


@pytest.mark.parametrize("device", [False, True])
@pytest.mark.parametrize("reader", READERS)
def test_a_pipe_or_a_device_is_not_read(reader: Callable[[Path], Any], device: bool, tmp_path: Path) -> None:
    place = tmp_path / "own.toml"
    # The null device stands for one that never ends, which would take all memory where this fails.
    place.symlink_to(os.devnull) if device else os.mkfifo(place)
    with pytest.raises(wb.InputError, match=r"own\.toml: (cannot be read \(it is no regular file\)|is no file);"):
        reader(place)


@pytest.mark.parametrize("words", ["run", "validate", "claims", "verify", "select --components 1:2", "errors"])
def test_commands_read_no_pipe(words: str, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    name, *more = words.split()
    result = CliRunner().invoke(cli, [name, str(tmp_path / "pipe"), *more], prog_name="workbench")
    assert result.exit_code == 2 and result.stderr.count("\n") == 1
    assert "it is no regular file" in result.stderr
