"""Several processes run one job into one folder: each cell once, whole or not at all, and free when its holder ends."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from patience import LONG
from standins import Steps, begun

from workbench.cli import cli
from workbench.files import replacing
from workbench.jobs import running
from workbench.jobs.base import FAILED
from workbench.jobs.running import Outcome, Reuse, run_job
from workbench.jobs.store import Store
from workbench.jobs.study import StudyJob, load_study

pytestmark = pytest.mark.usefixtures("steps_registered")

Begin = Callable[[Steps], subprocess.Popen[str]]
TESTS = Path(__file__).parents[1]
PROGRAM = """
import json, sys, time
from pathlib import Path
from standins import Steps
from workbench.jobs.running import run_job
from workbench.jobs.store import Store
from workbench.jobs.study import StudyJob
settings, out, gate = json.loads(sys.argv[1]), sys.argv[2], Path(sys.argv[3])
job, store = StudyJob(Steps(**settings)), Store(out)
job.cells()
print("ready", flush=True)
while not gate.exists():
    time.sleep(0.002)
found = job.result(store, run_job(job, store))
print(json.dumps({"rows": found.rows, "note": found.note}))
"""


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": os.pathsep.join([str(TESTS), str(TESTS.parent)]), "JAX_ENABLE_X64": "1"}


@pytest.fixture
def begin(out: Path, gate: Path) -> Iterator[Begin]:
    """Begins a process that runs a study once the gate is there; it has come so far when this returns."""
    out.parent.mkdir(parents=True)
    with ExitStack() as processes:

        def begun_with(study: Steps) -> subprocess.Popen[str]:
            words = [sys.executable, "-c", PROGRAM, json.dumps(study.resolved()), str(out), str(gate)]
            pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
            process = processes.enter_context(subprocess.Popen(words, text=True, env=environment(), **pipes))
            processes.callback(process.kill)
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            return process

        yield begun_with


def ended(process: subprocess.Popen[str]) -> dict[str, Any]:
    told, said = process.communicate(timeout=LONG)
    assert process.returncode == 0, said
    return {**json.loads(told), "said": said}


def run(study: Steps, out: Path, **reuse: bool) -> list[Outcome]:
    return run_job(StudyJob(study), Store(out), reuse=Reuse(**reuse))


def hidden(out: Path) -> list[str]:
    return [path.name for path in out.rglob(".*")]


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "log"


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "results" / "mine"


@pytest.fixture
def gate(tmp_path: Path) -> Path:
    return tmp_path / "gate"


def test_two_processes_run_each_cell_once_and_a_reader_sees_whole_cells_only(log, out, gate, begin):
    study = Steps(upto=10, log=str(log), pause=0.2)
    processes = [begin(study) for _ in range(2)]
    gate.touch()
    store, seen = Store(out), []
    keys = {cell.key for cell in StudyJob(study).cells()}
    while any(process.poll() is None for process in processes):
        there = store.stored_keys()
        seen.append(len(there))
        for key in there:
            # All that a reader can look at is what was written, from the first moment on.
            manifest, contents = store.contents(key)
            assert manifest["status"] == "done" and set(contents) == {"values.json"}
            assert len(store.load(key).values["rows"]) == 2
        assert set(there) <= keys
        time.sleep(0.01)
    one, other = map(ended, processes)
    assert sorted(begun(log)) == list(range(10))
    assert one["rows"] == other["rows"] and len(one["rows"]) == 20
    assert one["note"] == other["note"] == ""
    assert seen == sorted(seen) and len(set(seen)) > 2
    assert hidden(out) == []
    shown = CliRunner().invoke(cli, ["table", str(out), "--format", "json"], catch_exceptions=False)
    assert sorted(row["n"] for row in json.loads(shown.stdout)) == list(range(10))


def test_a_cell_that_another_process_holds_is_waited_for_and_not_run_again(log, out, gate, begin):
    study = Steps(upto=1, log=str(log), pause=1.5)
    process = begin(study)
    gate.touch()
    while not begun(log):
        time.sleep(0.01)
    found = run(study, out)
    assert [outcome.failure for outcome in found] == [None]
    ended(process)
    assert begun(log) == [0]


def test_a_process_that_is_killed_in_a_cell_leaves_it_free_and_the_next_run_does_it(log, out, gate, begin):
    study = Steps(upto=2, log=str(log), fatal=1, deaths=1)
    process = begin(study)
    gate.touch()
    process.communicate(timeout=LONG)
    assert process.returncode == -signal.SIGKILL
    assert len(Store(out).stored_keys()) == 1
    found = run(study, out)
    assert [outcome.failure for outcome in found] == [None, None]
    assert begun(log) == [0, 1, 1]
    assert hidden(out) == []


def test_a_process_that_waits_for_a_killed_one_takes_its_cell(log, out, gate, begin):
    study = Steps(upto=1, log=str(log), pause=1.0, fatal=0, deaths=1)
    process = begin(study)
    gate.touch()
    while not begun(log):
        time.sleep(0.01)
    assert [outcome.failure for outcome in run(study, out)] == [None]
    process.communicate(timeout=LONG)
    assert process.returncode == -signal.SIGKILL
    assert begun(log) == [0, 0]


def test_a_failing_cell_ends_no_job_and_is_kept(log, out):
    study = Steps(log=str(log), broken=1)
    found = run(study, out)
    assert [outcome.failure for outcome in found] == [None, "RuntimeError: no", None, None]
    manifest = Store(out).manifest(found[1].cell.key)
    assert manifest is not None
    assert manifest["status"] == FAILED
    assert "measure" in manifest["failure"]["traceback"]
    again = run(study, out)
    assert [outcome.before for outcome in again] == [False, True, False, False]
    assert begun(log) == [0, 1, 2, 3]
    run(study, out, retry=True)
    assert begun(log) == [0, 1, 2, 3, 1]


@pytest.mark.parametrize("error", ["OSError", "MemoryError"])
def test_what_the_machine_lacked_is_not_kept_and_tried_again(log, out, error):
    study = Steps(log=str(log), broken=1, error=error)
    found = run(study, out)
    why = f"{error}: no; it is not stored, and the same command tries it again"
    assert [outcome.failure for outcome in found] == [None, why, None, None]
    assert len(Store(out).stored_keys()) == 3
    assert load_study(out, study) is None
    again = run(study, out)
    assert (again[1].failure, again[1].before) == (why, False)
    assert begun(log) == [0, 1, 2, 3, 1]


def test_a_cell_that_failed_elsewhere_meanwhile_is_not_run_again(log, out, monkeypatch):
    study = Steps(upto=1, log=str(log), broken=0)
    look = running._sort

    def looked_before(*words: Any) -> Any:
        found = look(*words)
        # Another process has it between this one's look and its claim.
        monkeypatch.setattr(running, "_sort", look)
        assert run(study, out)[0].failure == "RuntimeError: no"
        return found

    monkeypatch.setattr(running, "_sort", looked_before)
    (outcome,) = run(study, out)
    assert outcome.failure == "RuntimeError: no"
    assert begun(log) == [0]


def test_what_a_killed_process_left_beside_cells_is_removed_by_the_next(log, out):
    study = Steps(log=str(log))
    run(study, out)
    store, key = Store(out), StudyJob(study).cells()[0].key
    # Killed after its record was written, and before its lock and its checkpoint were deleted.
    store.checkpoint_place(key).write_bytes(b"x")
    store.place(key).with_name(f".{key}.lock").touch()
    run(study, out)
    assert hidden(out) == []
    assert begun(log) == [0, 1, 2, 3]


def test_the_checkpoint_of_a_cell_that_is_to_go_on_is_kept(log, out):
    study = Steps(upto=1, log=str(log), broken=0, error="OSError")
    store, key = Store(out), StudyJob(study).cells()[0].key
    run(study, out)
    store.checkpoint_place(key).write_bytes(b"x")
    run(study, out)
    assert hidden(out) == [store.checkpoint_place(key).name]


def test_a_file_that_a_killed_process_was_writing_is_removed_and_one_of_a_living_is_left(log, out):
    study = Steps(upto=1, log=str(log))
    run(study, out)
    program = (
        "import os, signal, sys\n"
        "from pathlib import Path\n"
        "from workbench.files import replacing\n"
        "with replacing(Path(sys.argv[1])) as temporary:\n"
        "    temporary.write_text('half')\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    for place in ("report.html", "pages/a.html", "figures/a/b.png", "cells/x"):
        (out / place).parent.mkdir(parents=True, exist_ok=True)
    done = subprocess.run([sys.executable, "-c", program, out / "report.html"], env=environment(), check=False)
    assert done.returncode == -signal.SIGKILL
    (left,) = hidden(out)
    for place in ("pages", "figures/a", "cells"):
        shutil.copyfile(out / left, out / place / left)
    with replacing(out / "pages" / "mine.html") as temporary:
        temporary.write_text("half")
        run(study, out)
        assert hidden(out) == [temporary.name]
    assert hidden(out) == []
