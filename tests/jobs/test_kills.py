"""Commands that are killed at random moments, again and again, end with the bits of one that was left alone."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tomli_w
from patience import LONG

from workbench.jobs.base import Record
from workbench.jobs.store import Store

SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
Command = tuple[dict[str, Any], list[str]]  # a config, and the words after its file


def commands(tiny: dict[str, Any]) -> dict[str, Command]:
    """Every kind of job, in small; checkpoints are written as often as can be."""
    often = {"run": {"checkpoint_seconds": 0.01}}
    gibbs = {"num_warmup": 50, "num_samples": 100, "num_chains": 2}
    three = {**tiny, **often, "methods": {**tiny["methods"], "gibbs": gibbs}}
    one = {**tiny, **often, "methods": {"em": {"max_iterations": 50}}}
    simulate = {"components": 2, "dimensions": 2, "points": 16, "separation": 2.0}
    subject = {"data": {"simulate": simulate}, "model": {"components": 3}, "rows": [0]}
    subjects = [{"name": name, **subject} for name in ("cloud", "mist")]
    study = {"study": "escape", "subjects": subjects, "widths": 6, "steps": 2, "restarts": 4, "iterations": 30}
    select = {**one, "methods": {"em": {"max_iterations": 50}, "gibbs": gibbs}}
    return {
        "run": (three, ["run"]),
        "sweep": ({**one, "sweep": {"grid": {"seed": [0, 1, 2]}}}, ["run", "--jobs", "2"]),
        "atlas": (one, ["atlas", "--starts", "20"]),
        "select": (select, ["select", "--components", "1:2"]),
        "study": (study, ["run"]),
    }


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """One cache of compiled programs for all, into which every program goes."""
    cache = os.environ.get("JAX_COMPILATION_CACHE_DIR") or str(tmp_path_factory.mktemp("cache"))
    kept = {"JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0", "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1"}
    return {**os.environ, **kept, "JAX_COMPILATION_CACHE_DIR": cache}


@pytest.fixture
def processes() -> Iterator[list[subprocess.Popen[bytes]]]:
    """Those that a test begins; what is left of them is killed."""
    begun: list[subprocess.Popen[bytes]] = []
    yield begun
    for process in begun:
        if process.poll() is None:
            process.kill()
            process.wait()


def records(out: Path) -> dict[str, Record]:
    store = Store(out)
    return {key: store.load(key) for key in store.stored_keys()}


def without_times(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: without_times(inner) for key, inner in value.items() if "seconds" not in key}
    return [without_times(inner) for inner in value] if isinstance(value, list) else value


def same_bits(one: dict[str, Record], other: dict[str, Record]) -> None:
    assert one.keys() == other.keys() and one
    for key, record in one.items():
        assert record.arrays.keys() == other[key].arrays.keys()
        for name, array in record.arrays.items():
            assert array.dtype == other[key].arrays[name].dtype
            np.testing.assert_array_equal(array, other[key].arrays[name], err_msg=f"{key}: {name}")
        mine, theirs = without_times(dict(record.values)), without_times(dict(other[key].values))
        assert json.dumps(mine, sort_keys=True) == json.dumps(theirs, sort_keys=True)


def killed_again_and_again(
    words: list[str], environment: dict[str, str], whole: float, draw: random.Random, begun: list[Any], kills: int
) -> int:
    """Begin a command until it ends by itself; how often it was killed.

    Args:
        words: the command.
        environment: of the process.
        whole: seconds that it takes when it is left alone.
        draw: decides when, and by which signal.
        begun: processes, for whoever cleans up.
        kills: how often it is killed at most.
    """
    for done in range(kills + 1):
        process = subprocess.Popen(words, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        begun.append(process)
        if done < kills:
            # Most of it is imports, where nothing is at stake: late moments are drawn more often.
            try:
                process.wait(whole * draw.uniform(0.3, 1.1))
            except subprocess.TimeoutExpired:
                process.send_signal(draw.choice(SIGNALS))
        said = process.communicate(timeout=LONG)[1].decode()
        # Where an interruption meets imports, Python itself tells of it.
        assert "Traceback" not in said or process.returncode == -signal.SIGINT, said
        if process.returncode == 0:
            return done
        assert process.returncode in (-signal.SIGKILL, -signal.SIGTERM, -signal.SIGINT, 130, 143), said
    raise AssertionError(f"it does not end by itself after {kills} kills: {said}")


def check(name: str, command: Command, folder: Path, environment: dict[str, str], begun: list[Any], kills: int) -> int:
    """Run a command undisturbed, then another time killed at random moments, and hold one against the other."""
    seed = int(os.environ.get("WORKBENCH_KILLS_SEED", random.SystemRandom().randrange(2**32)))
    print(f"{name}: WORKBENCH_KILLS_SEED={seed}")
    config, (verb, *options) = command
    (folder / "mine.toml").write_text(tomli_w.dumps(config), encoding="utf-8")
    words = [sys.executable, "-m", "workbench", verb, str(folder / "mine.toml"), *options, "--quiet"]
    for time_ in ("first", "whole"):
        # The second time everything is compiled.
        out = folder / time_
        started = time.monotonic()
        subprocess.run([*words, "--out", str(out)], env=environment, check=True, timeout=LONG)
        whole = time.monotonic() - started
    same_bits(records(folder / "first"), records(folder / "whole"))
    out = folder / "killed"
    count = killed_again_and_again([*words, "--out", str(out)], environment, whole, random.Random(seed), begun, kills)
    same_bits(records(out), records(folder / "first"))
    # Whatever the last one did not have to do is tidied up by one that has nothing to do.
    subprocess.run([*words, "--out", str(out)], env=environment, check=True, timeout=LONG)
    assert [path.name for path in out.rglob(".*")] == []
    assert sorted(path.name for path in out.iterdir()) == sorted(path.name for path in (folder / "first").iterdir())
    return count


@pytest.mark.slow
@pytest.mark.timeout(12_000)
@pytest.mark.parametrize("name", ["run", "sweep", "atlas", "select", "study"])
def test_a_command_killed_at_random_moments_ends_with_the_same_bits(name, tiny, tmp_path, environment, processes):
    check(name, commands(tiny)[name], tmp_path, environment, processes, 20)


@pytest.mark.slow
@pytest.mark.timeout(4000)
def test_a_run_that_is_killed_a_few_times_ends_with_the_same_bits(tiny, tmp_path, environment, processes):
    check("run", commands(tiny)["run"], tmp_path, environment, processes, 3)
