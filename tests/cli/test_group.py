"""The command in a process of its own: what it prints, and how it ends."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import click
import pytest
import tomli_w
from click.testing import CliRunner

import workbench
from workbench.cli import cli
from workbench.cli.group import FILES
from workbench.compare import Comparison
from workbench.errors import VALUE


@pytest.fixture
def config(tmp_path: Path, tiny: dict[str, Any]) -> Path:
    path = tmp_path / "mine.toml"
    path.write_text(tomli_w.dumps({**tiny, "methods": {"em": {}}}), encoding="utf-8")
    return path


def _python(*words: object, **kwargs: Any) -> subprocess.CompletedProcess[str]:
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONWARNINGS"}
    words = (sys.executable, "-m", "workbench", *map(str, words))
    return subprocess.run(words, capture_output=True, text=True, env=environment, check=False, **kwargs)


def test_python_m_workbench_is_the_command():
    done = _python("--version")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"workbench, version {workbench.__version__}\n"


def test_bad_input_from_a_shell_is_one_message_without_a_traceback(config):
    done = _python("run", config.name, "--set", "model.covariance=ful", cwd=config.parent)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        "Error: mine.toml: model.covariance: unknown 'ful' (did you mean 'full'? allowed: full, tied, diagonal,"
        " spherical)\n"
    )


def test_a_process_that_is_asked_to_end_says_what_is_kept(config, tmp_path):
    # Ends itself where the first method would run, as `kill` would.
    program = (
        "import os, signal, sys\n"
        "from workbench.jobs import setting as execution\n"
        "from workbench.cli import main\n"
        "execution.run = lambda *args, **kwargs: os.kill(os.getpid(), signal.SIGTERM)\n"
        f"sys.argv = ['workbench', 'run', {str(config)!r}, '--out', {str(tmp_path / 'out')!r}]\n"
        "main()"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (128 + signal.SIGTERM, "")
    assert done.stderr == "Error: terminated; finished runs are kept, and the same command goes on\n"


def test_a_warning_of_a_library_is_one_line_and_is_said_once() -> None:
    script = """
import atexit, sys, warnings
from workbench.cli.group import main

def warn():
    for text in ("first\\nsecond", "Glyph 39640 missing from font(s) A.", "Glyph 128512 missing from font(s) A."):
        for _ in range(2):
            warnings.warn(text, RuntimeWarning)

atexit.register(warn)
sys.argv = ["workbench", "--version"]
main()
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    boxes = "the font of the figures lacks some characters of the names, and shows boxes in their place"
    assert done.stderr.splitlines() == ["Warning: first second", f"Warning: {boxes}"]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (
            ["fit", "a.toml", "--out", ""],
            "Invalid value for '--out': is empty; give a folder",
        ),
        (["errors", "a.toml", "--replicates", "5"], "Invalid value for '--replicates'"),
        (["fit"], "Missing argument 'FILE'; `workbench fit --help` shows what it takes"),
        (["fit", "a.toml", "--bogus"], "No such option"),
        (["bogus"], "No such command 'bogus'; `workbench --help` shows what it takes"),
        (["fti"], "No such command 'fti'. Did you mean 'fit'?; `workbench --help` shows what it takes"),
        (["fit", "a\nb.toml"], "a b.toml: "),
        (["init", "a\nb.csv"], "a b.csv: "),
        (["status", "a\nb"], "a b: "),
    ],
)
def test_every_error_is_one_line(words: list[str], told: str) -> None:
    result = CliRunner().invoke(cli, words, prog_name="workbench", catch_exceptions=False)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith(f"Error: {told}") and result.stderr.count("\n") == 1


LONG = "q" * 5000


@pytest.mark.parametrize("name", FILES)
def test_what_is_typed_is_cut_alike_in_every_message(
    name: str, config: Path, tiny_run: tuple[Path, Comparison], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(config.parent)
    command = cli.get_command(click.Context(cli), name)
    assert command is not None
    arguments = [each for each in command.params if isinstance(each, click.Argument)]
    for typed in command.params:
        if isinstance(typed, click.Option) and typed.is_flag:
            continue
        # Every other argument is what it is for.
        usual = {"file": str(config), "folder": str(tiny_run[0])}
        words = [LONG if each is typed else usual.get(str(each.name), str(tiny_run[0])) for each in arguments]
        words += [typed.opts[0], LONG] if isinstance(typed, click.Option) else []
        result = CliRunner().invoke(cli, [name, *words], prog_name="workbench", catch_exceptions=False)
        assert result.exit_code in (0, 2), typed.name  # an option may be of no use beside the others
        assert (result.stdout + result.stderr).count("q") <= 3 * VALUE, (typed.name, result.stderr)


def test_names_between_commas_are_cut_together(config: Path, tmp_path: Path) -> None:
    many = ",".join(f"name{i}" for i in range(1000))
    for words in (["run", "--methods", many], ["select", "--covariance", many], ["select", "--components", many]):
        result = CliRunner().invoke(cli, [words[0], str(config), *words[1:], "--out", str(tmp_path / "out")])
        assert result.exit_code == 2
        assert len(result.stderr) < 400, result.stderr
