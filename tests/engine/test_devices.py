"""Rows divided among devices and hosts give the same answers, and the loss of a host ends with a clear message."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from functools import cache
from json import loads
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sharded
import tomli_w
from patience import LONG

from workbench.engine import hosts
from workbench.engine.devices import mesh_of
from workbench.errors import InputError
from workbench.mixture import COVARIANCES
from workbench.problem import Problem

WORKBENCH = [sys.executable, "-m", "workbench"]
OPTIMISERS = ("em", "ascent")
# Many restarts on so few rows that the rows are not shared, and on somewhat more rows.
RESTARTS = ("restarts of few", "restarts of many")
EVERYTHING = (*COVARIANCES, sharded.WEIGHTED, sharded.KNOWN, *OPTIMISERS, *RESTARTS)
# Each is compiled for one device, for four and for two hosts: these are run every day.
DAILY = ("full", "tied", sharded.WEIGHTED, sharded.KNOWN, "em", "restarts of few")


def by_day(names: Sequence[str]) -> list[Any]:
    return [pytest.param(name, marks=() if name in DAILY else pytest.mark.slow) for name in names]


def begun(command: list[str], **environment: str) -> subprocess.Popen[str]:
    """Start a process in whose environment JAX has one device unless `environment` says otherwise."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("JAX_")}
    return subprocess.Popen(
        command,
        env=kept | {"JAX_NUM_CPU_DEVICES": "1", **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def ended(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    """Wait for a process. Returns its exit status, standard output and standard error."""
    try:
        output, errors = process.communicate(timeout=LONG)
    finally:
        process.kill()
    return process.returncode, output, errors


def begun_together(command: list[str], number: int) -> list[subprocess.Popen[str]]:
    """Start `number` hosts that connect through the loopback address at a free port."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    meeting = {"JAX_COORDINATOR_ADDRESS": address, "JAX_COORDINATOR_BIND_ADDRESS": address}
    return [begun(command, JAX_PROCESS_ID=str(index), **meeting) for index in range(number)]


def program(number: int, *methods: str) -> list[str]:
    return [sys.executable, sharded.__file__, str(number), *methods]


@cache
def answers_of_one(daily: bool) -> dict[str, Any]:
    return sharded.answers(1, [name for name in EVERYTHING if (name in DAILY) == daily])


@cache
def answers_of_four(daily: bool) -> dict[str, Any]:
    return on_four_devices(*(name for name in EVERYTHING if (name in DAILY) == daily))


@pytest.fixture
def alone(name: str) -> dict[str, Any]:
    return answers_of_one(name in DAILY)


@pytest.fixture
def four_devices(name: str) -> dict[str, Any]:
    return answers_of_four(name in DAILY)


def on_four_devices(*methods: str) -> dict[str, Any]:
    status, output, errors = ended(begun(program(1, *methods), JAX_NUM_CPU_DEVICES="4"))
    assert status == 0, errors
    answers: dict[str, Any] = loads(output)
    return answers


@cache
def answers_of_two_hosts(name: str) -> list[dict[str, Any]]:
    processes = begun_together(program(2, name), 2)
    found = [ended(process) for process in processes]
    assert [status for status, _, _ in found] == [0, 0], found
    return [loads(output) for _, output, _ in found]


def assert_same(found: Any, expected: Any) -> None:
    """Assert equality up to the order of sums: 1e-16 for each of N terms, amplified by ten steps of ascent."""
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-9, atol=1e-9 * np.max(np.abs(other)))


@pytest.mark.parametrize("name", by_day(EVERYTHING))
def test_four_devices_answer_as_one(name: str, four_devices: dict[str, Any], alone: dict[str, Any]) -> None:
    assert four_devices["devices"] == 4
    assert_same(four_devices[name], alone[name])


@pytest.mark.parametrize("name", by_day(OPTIMISERS))
def test_two_hosts_answer_as_one(name: str, alone: dict[str, Any]) -> None:
    two_hosts = answers_of_two_hosts(name)
    assert two_hosts[0]["devices"] == 2
    assert_same(two_hosts[0][name], alone[name])


@pytest.mark.parametrize("name", by_day(RESTARTS))
def test_devices_that_share_restarts_advance_each_by_as_many_steps(
    name: str, four_devices: dict[str, Any], alone: dict[str, Any]
) -> None:
    assert four_devices[f"steps of {name}"] == alone[f"steps of {name}"]


@pytest.mark.parametrize("name", by_day([*OPTIMISERS, *RESTARTS]))
def test_a_method_compiles_once_on_several_devices_too(name: str, four_devices: dict[str, Any]) -> None:
    assert four_devices[f"programs of {name}"] == 1


@pytest.mark.slow
def test_the_first_draws_of_nuts_on_four_devices_are_those_on_one() -> None:
    # Later draws differ, because trajectories are chaotic.
    assert_same(on_four_devices("nuts")["nuts"], sharded.answers(1, ["nuts"])["nuts"])


@pytest.mark.slow
def test_chains_that_devices_share_trace_their_posterior_once() -> None:
    assert on_four_devices("traces")["traces"] == 1


@pytest.mark.slow
def test_gibbs_on_four_devices_comes_to_the_draws_on_one() -> None:
    # The chunks differ, so the first allocations differ. Once the allocations are certain, the same keys give the same
    # parameters.
    alone, shared = sharded.answers(1, ["gibbs"])["gibbs"], on_four_devices("gibbs")["gibbs"]
    last = [[np.asarray(part)[0, -100:] for part in found] for found in (shared, alone)]
    assert_same(*last)
    assert not np.allclose(np.asarray(shared[0])[0, :30], np.asarray(alone[0])[0, :30], rtol=1e-9)


def test_the_first_host_tells_the_others() -> None:
    first = {"number": 0, "array": [True, True, True], "error": "field: refused by 0"}
    assert [host["heard"] for host in answers_of_two_hosts("em")] == [first, first]


def test_one_host_is_the_first_and_hears_itself(tmp_path: Path) -> None:
    assert hosts.leads() and not hosts.several()
    assert hosts.from_first_host(3) == 3
    with hosts.folder_on_first_host(tmp_path) as folder:
        assert folder == tmp_path
    with pytest.raises(InputError, match="field: refused by 0"):
        hosts.on_first_host(refuse)


def refuse() -> None:
    raise InputError("field: refused by 0")


def test_more_devices_than_there_are_is_an_error_that_says_how_to_start_them() -> None:
    x = np.random.default_rng(0).normal(size=(50, 2))
    with pytest.raises(InputError, match=r"devices: 99 of \d+ cpu devices; give 1 to \d+, .*JAX_NUM_CPU_DEVICES"):
        Problem(x, 2, devices=99)


def test_one_device_is_no_mesh() -> None:
    assert mesh_of(1) is None


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """A config of EM that never converges and writes checkpoints often, so that it can be killed in the middle."""
    values = {
        "restarts": 1,
        "run": {"checkpoint_seconds": 0.1},
        "data": {"simulate": {"components": 3, "dimensions": 2, "points": 3000, "separation": 1.0}},
        "model": {"components": 3},
        "methods": {"em": {"max_iterations": 20_000, "tolerance": 0.0}},
    }
    path = tmp_path / "x.toml"
    path.write_text(tomli_w.dumps(values), encoding="utf-8")
    return path


def test_devices_asked_for_are_started_unless_the_environment_says_how_many(config: Path) -> None:
    ask = "from workbench.engine.devices import ask_for_devices; ask_for_devices(3); "
    count = ask + "import jax; print(jax.device_count())"
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("JAX_", "XLA_"))}
    free = subprocess.run([sys.executable, "-c", count], env=environment, capture_output=True, text=True, timeout=LONG)
    assert free.stdout == "3\n"
    # Where the environment says one, three are not started.
    status, output, errors = ended(begun([*WORKBENCH, "run", str(config), "--set", "run.devices=3"]))
    assert (status, output) == (2, "")
    assert "devices: 3 of 1 cpu devices" in errors


def test_hosts_that_do_not_know_where_to_meet_are_told_what_to_set(
    config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    status, output, errors = ended(begun([*WORKBENCH, "run", str(config), "--set", "run.hosts=2"]))
    assert (status, output) == (2, "")
    assert "run.hosts: 2 hosts cannot meet" in errors
    assert "JAX_COORDINATOR_ADDRESS=host:port" in errors
    monkeypatch.setenv("JAX_PROCESS_ID", "2")
    with (
        pytest.raises(InputError, match=r"JAX_PROCESS_ID: must be 0 to 1 for run\.hosts = 2, got '2'"),
        hosts.joined(2),
    ):
        pass


@pytest.mark.slow
@pytest.mark.parametrize("victim", [0, 1])
def test_a_lost_host_ends_the_other_and_the_run_goes_on_from_its_checkpoint(
    victim: int, config: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    command = [*WORKBENCH, "run", str(config), "--out", str(out), "--quiet"]
    processes = begun_together([*command, "--set", "run.hosts=2"], 2)
    try:
        wait_for_rows(out, processes)
    finally:
        os.kill(processes[victim].pid, signal.SIGKILL)
    # A closed connection is noticed at once, a silent host only after `hosts.HEARTBEAT` seconds.
    status, output, errors = ended(processes[1 - victim])
    assert ended(processes[victim])[0] == -signal.SIGKILL
    assert (status, output) == (hosts.LOST, "")
    last = errors.strip().splitlines()[-1]
    assert last.startswith("Error: a host was lost") and "goes on from the last checkpoint" in last

    progress = recorded(out)
    assert progress is not None
    status, _, errors = ended(begun(command))
    assert status == 0, errors
    (trace,) = out.glob("cells/em-*/arrays.npz")
    with np.load(trace) as stored:
        # Equal to the last bit: these are the rows that the two hosts wrote. One device would round sums differently.
        np.testing.assert_array_equal(stored["weights"][:, : progress.shape[1]], progress)
        assert stored["weights"].shape[1] > progress.shape[1]
    assert recorded(out) is None


def wait_for_rows(out: Path, processes: list[subprocess.Popen[str]]) -> None:
    """Wait until a checkpoint holds some rows."""
    deadline = time.monotonic() + LONG
    while time.monotonic() < deadline:
        assert all(process.poll() is None for process in processes), "a host ended before it was killed"
        rows = recorded(out)
        if rows is not None and rows.shape[1] > 5:
            return
        time.sleep(0.05)
    raise AssertionError("no checkpoint was written")


def recorded(out: Path) -> np.ndarray | None:
    """The weights in the rows of a checkpoint, up to the last row written; None if there is no checkpoint. [R, T, K]"""
    for path in out.glob("cells/.em-*.checkpoint.npz"):
        with np.load(path) as stored:
            rows = next(a for a in stored.values() if a.ndim == 3 and a.shape[0] == 1 and a.shape[-1] == 3)
        return rows[:, : int(np.max(np.nonzero(rows[0, :, 0])[0])) + 1]
    return None
