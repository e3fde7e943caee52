"""Checkpoints: an interrupted run continues from its checkpoint, and ends with the same bits."""

from collections.abc import Callable
from pathlib import Path

import jax
import numpy as np
import pytest

from workbench.compare.comparison import starts_of
from workbench.loop import run as loop
from workbench.loop.pool import Checkpoint
from workbench.loop.run import run
from workbench.loop.trace import Trace
from workbench.methods import EM, NUTS, GradientAscent, Method
from workbench.mixture import Mixture
from workbench.problem import Problem
from workbench.starts import RandomPoints

METHOD: dict[str, Method] = {
    "em": EM(),
    "ascent": GradientAscent(),
    "nuts": NUTS(num_warmup=20, num_samples=100, num_chains=2, max_tree_depth=4),
}
# More restarts than a batch holds, so that some wait while others are on their way.
R = 19
KEY = jax.random.key(5)


class CutOff(Exception):
    """Stands in for a killed process."""


@pytest.fixture(scope="module")
def problem(problem_of: Callable[..., Problem]) -> Problem:
    return problem_of("diagonal", "conjugate")


def starts(method: Method, problem: Problem) -> Mixture:
    return starts_of(method, problem, RandomPoints(), R, 0)


def cut_off(method: Method, problem: Problem, path: Path, calls: int) -> int:
    """Run with a checkpoint at every call, and end it after some; how many rows were recorded then."""
    told: list[int] = []

    def progress(done: int, total: int) -> None:
        told.append(done)
        if len(told) == calls:
            raise CutOff

    with pytest.raises(CutOff):
        run(method, problem, starts(method, problem), KEY, checkpoint=Checkpoint(path, 0.0), progress=progress)
    return told[-1]


def assert_same_bits(one: Trace, other: Trace) -> None:
    for field in ("mixtures", "log_joint", "log_likelihood", "passes", "ok", "converged", "collapsed"):
        pairs = zip(jax.tree.leaves(getattr(one, field)), jax.tree.leaves(getattr(other, field)), strict=True)
        assert all(np.array_equal(a, b) for a, b in pairs)


@pytest.mark.parametrize("name", [pytest.param(n, marks=pytest.mark.slow if n == "nuts" else ()) for n in METHOD])
def test_a_run_that_was_cut_off_ends_with_the_bits_of_one_that_was_not(
    name: str, problem: Problem, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    method, path = METHOD[name], tmp_path / "checkpoint.npz"
    whole_told: list[int] = []
    told: list[int] = []
    whole = run(method, problem, starts(method, problem), KEY, progress=lambda done, _: whole_told.append(done))
    with monkeypatch.context() as patch:
        # Calls of one step after the first, so that the run is cut off in its midst.
        patch.setattr(loop, "SLICE", 1e-9)
        kept = cut_off(method, problem, path, 20)
    resumed = run(
        method,
        problem,
        starts(method, problem),
        KEY,
        checkpoint=Checkpoint(path),
        progress=lambda done, _: told.append(done),
    )
    assert_same_bits(resumed, whole)
    # It did not begin anew.
    assert told[0] >= kept > whole_told[0]


def test_seconds_go_on_from_the_checkpoint(problem: Problem, tmp_path: Path) -> None:
    method, path = METHOD["em"], tmp_path / "checkpoint.npz"
    cut_off(method, problem, path, 2)
    with np.load(path) as stored:
        spent = max(float(a) for a in stored.values() if a.shape == () and a.dtype == float)
    resumed = run(method, problem, starts(method, problem), KEY, checkpoint=Checkpoint(path))
    assert spent > 0 and resumed.seconds[-1] > spent


@pytest.mark.parametrize("damage", ["truncated", "empty", "text", "missing", "of another key", "of another method"])
def test_a_checkpoint_that_does_not_fit_is_as_good_as_none(damage: str, problem: Problem, tmp_path: Path) -> None:
    method, path = METHOD["em"], tmp_path / "checkpoint.npz"
    whole = run(method, problem, starts(method, problem), KEY)
    cut_off(method, problem, path, 2)
    match damage:
        case "truncated":
            path.write_bytes(path.read_bytes()[:-100])
        case "empty":
            path.write_bytes(b"")
        case "text":
            path.write_text("not an archive")
        case "missing":
            path.unlink()
    config: Method = EM(tolerance=1e-9) if damage == "of another method" else method
    key = jax.random.key(6) if damage == "of another key" else KEY
    found = run(config, problem, starts(method, problem), key, checkpoint=Checkpoint(path))
    if config is method:
        # EM draws nothing, so that its key changes nothing.
        assert_same_bits(found, whole)
    else:
        assert np.sum(found.passes[:, -1]) < np.sum(whole.passes[:, -1])


def test_a_checkpoint_is_written_only_where_the_last_is_old_enough(problem: Problem, tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.npz"
    run(METHOD["em"], problem, starts(METHOD["em"], problem), KEY, checkpoint=Checkpoint(path, 3600.0))
    assert not path.exists()
