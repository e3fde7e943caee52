"""Who runs the cells changes nothing that they find, and a worker that dies takes nothing with it."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tomli_w
from click.testing import CliRunner
from patience import LONG
from standins import Steps, begun

from workbench.cli import cli
from workbench.jobs import executors
from workbench.jobs.base import Record
from workbench.jobs.executors import Workers
from workbench.jobs.running import run_job
from workbench.jobs.store import Store
from workbench.jobs.study import StudyJob
from workbench.jobs.sweep import SweepJob

pytestmark = pytest.mark.usefixtures("steps_registered")

# A cluster of Dask takes a quarter of a minute to come up where processors are busy.
EXECUTORS = ["loky", pytest.param("dask", marks=pytest.mark.slow)]
TESTS = Path(__file__).parents[1]
# A pool's processes and threads outlive a test: in a process of its own they end with it.
PROGRAM = """
import json, logging, sys
from standins import Steps
from workbench.jobs.executors import Workers
from workbench.jobs.running import run_job
from workbench.jobs.store import Store
from workbench.jobs.study import StudyJob
from workbench.jobs.sweep import SweepJob
if __name__ == "__main__":
    logging.disable(logging.WARNING)
    settings, out, executor, jobs = json.loads(sys.argv[1]), *sys.argv[2:4], int(sys.argv[4])
    job = SweepJob("mine", settings) if "sweep" in settings else StudyJob(Steps(**settings))
    outcomes = run_job(job, Store(out), executor=Workers(executor, jobs))
    print(json.dumps([outcome.failure for outcome in outcomes]))
"""


def run(settings: dict[str, Any], out: Path, executor: str, jobs: int = 2) -> list[str | None]:
    """Why each cell failed, by workers."""
    words = [sys.executable, "-c", PROGRAM, json.dumps(settings), out, executor, str(jobs)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(TESTS), str(TESTS.parent)]), "JAX_ENABLE_X64": "1"}
    done = subprocess.run(words, capture_output=True, text=True, env=environment, check=False, timeout=LONG)
    assert done.returncode == 0, done.stderr
    return list(json.loads(done.stdout.splitlines()[-1]))


def records(out: Path) -> dict[str, Record]:
    store = Store(out)
    return {key: store.load(key) for key in store.stored_keys()}


def steps(log: Path, **settings: Any) -> Steps:
    return Steps(log=str(log), **settings)


@pytest.fixture(scope="module")
def sweep(tiny: dict[str, Any]) -> dict[str, Any]:
    methods = {"em": {"max_iterations": 20}}
    return {**tiny, "methods": methods, "sweep": {"grid": {"seed": [0, 1, 2]}}}


@pytest.fixture(scope="module")
def alone(sweep: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Record]:
    """What one process finds."""
    out = tmp_path_factory.mktemp("alone")
    run_job(SweepJob("mine", sweep), Store(out))
    return records(out)


@pytest.mark.parametrize("executor", EXECUTORS)
def test_workers_find_what_one_process_finds(executor, sweep, alone, tmp_path):
    assert run(sweep, tmp_path / "out", executor) == [None] * 3
    found = records(tmp_path / "out")
    assert found.keys() == alone.keys() and len(found) == 3
    for key, record in found.items():
        assert record.arrays.keys() == alone[key].arrays.keys()
        for name, array in record.arrays.items():
            # Sums over rows may be cut otherwise where devices are fewer: rounding, and no more.
            np.testing.assert_allclose(array, alone[key].arrays[name], rtol=1e-12, atol=1e-12)
        assert record.values["statuses"] == alone[key].values["statuses"]


@pytest.mark.parametrize("executor", EXECUTORS)
def test_a_worker_that_dies_loses_nothing_and_a_cell_that_fails_is_kept_as_one_that_fails_here(executor, tmp_path):
    study = steps(tmp_path / "log", fatal=1, deaths=1, broken=2)
    assert run(study.resolved(), tmp_path / "out", executor) == [None, None, "RuntimeError: no", None]
    counts = begun(study.log)
    assert counts.count(1) == 2
    store = Store(tmp_path / "out")
    outcomes = run_job(StudyJob(study), store)
    assert [outcome.before for outcome in outcomes] == [False, False, True, False]
    found = [store.load(outcome.cell.key) for outcome in outcomes if not outcome.failure]
    squares = sorted(row["square"] for record in found for row in record.values["rows"])
    assert squares == sorted([n * n for n in (0, 1, 3)] + [-n for n in (0, 1, 3)])
    assert begun(study.log) == counts


# Each loss of a worker costs the imports of others.
@pytest.mark.slow
@pytest.mark.parametrize("fatal", [0, 3])
@pytest.mark.parametrize("executor", ["loky", "dask"])
def test_a_cell_that_always_takes_its_worker_with_it_fails_and_the_others_are_done(executor, fatal, tmp_path):
    # The others take longer than the one that dies, and would be lost with it.
    study = steps(tmp_path / "log", fatal=fatal, deaths=99, pause=0.05)
    found = run(study.resolved(), tmp_path / "out", executor)
    assert found == ["the process that ran it was lost" if n == fatal else None for n in range(4)]
    assert sorted(record.row["rows"] for record in records(tmp_path / "out").values()) == [2] * 3


def test_a_worker_that_keeps_its_programs_is_kept(tmp_path):
    # loky looks at a worker's memory once a second, and ends one that has grown by .3 GB.
    study = steps(tmp_path / "log", upto=4, keeps=200, pause=1.1)
    assert run(study.resolved(), tmp_path / "out", "loky", jobs=1) == [None] * 4
    rows = [row for record in records(tmp_path / "out").values() for row in record.values["rows"]]
    assert len({row["process"] for row in rows}) == 1 and len(rows) == 4


@pytest.mark.slow
def test_slurm_s_library_runs_cells_in_processes_of_this_machine(tmp_path):
    study = steps(tmp_path / "log", upto=2)
    assert run(study.resolved(), tmp_path / "out", "slurm") == [None] * 2
    assert sorted(begun(study.log)) == [0, 1]


@pytest.mark.parametrize(("executor", "package"), [("dask", "distributed"), ("slurm", "submitit")])
def test_an_executor_that_is_not_installed_is_one_clear_message(executor, package, tiny, tmp_path, monkeypatch):
    found = importlib.util.find_spec
    monkeypatch.setattr(executors, "find_spec", lambda name: None if name == package else found(name))
    (tmp_path / "mine.toml").write_text(tomli_w.dumps(tiny), encoding="utf-8")
    words = ["run", tmp_path / "mine.toml", "--out", tmp_path / "out", "--executor", executor]
    result = CliRunner().invoke(cli, list(map(str, words)), prog_name="workbench", catch_exceptions=False)
    assert (result.exit_code, result.stdout) == (2, "")
    message = f"Error: --executor {executor}: needs {package}; pip install 'workbench[{executor}]'\n"
    assert result.stderr == message
    assert not (tmp_path / "out").exists()


def test_workers_that_are_none_are_refused():
    for wrong in (Workers("threads"), Workers("loky", 0)):
        with pytest.raises(ValueError, match=r"--executor: unknown 'threads'|--jobs: must be at least 1"):
            wrong.check()
