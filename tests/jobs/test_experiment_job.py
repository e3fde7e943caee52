import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

from workbench.compare import Comparison, table
from workbench.errors import InputError
from workbench.experiment import parse_experiment, read_experiment
from workbench.jobs import experiment as execution
from workbench.jobs import setting
from workbench.jobs.registry import load_results
from workbench.loop.trace import Trace
from workbench.methods import Method
from workbench.mixture import Mixture
from workbench.problem import Problem

# Bookkeeping needs no fit: these run in no time, because stand-ins take the place of all that computes.
VALUES: dict[str, Any] = {
    "restarts": 3,
    "data": {"dataset": "acidity"},
    "model": {"components": 2, "covariance": "tied", "labels": "free"},
    "prior": {"family": "conjugate"},
    "methods": {"em": {}, "ascent": {}, "nuts": {"num_warmup": 5, "num_samples": 6, "num_chains": 2}},
}
EXCEPTIONS = [RuntimeError("no\nmore"), MemoryError(), ZeroDivisionError("by zero"), FloatingPointError("inf")]


@dataclass
class Answers:
    """Stands in for the loop: every row is the start. Counts its calls, and raises what it is told to."""

    problems: dict[str, BaseException] = field(default_factory=dict)
    called: list[str] = field(default_factory=list)

    def __call__(self, method: Method, problem: Problem, starts: Mixture, key: jax.Array, **_: Any) -> Trace:
        self.called.append(method.method)
        if method.method in self.problems:
            raise self.problems[method.method]
        draws = method.schedule().draws
        r, t = len(starts.weights), 1 + max(draws, 1)
        return Trace(
            mixtures=jax.tree.map(lambda leaf: np.repeat(leaf[:, None], t, axis=1), starts),
            log_joint=np.zeros((r, t)),
            log_likelihood=np.zeros((r, t)),
            passes=np.tile(np.arange(t), (r, 1)),
            ok=np.ones((r, t), bool),
            converged=np.ones(r, bool),
            collapsed=np.zeros(r, bool),
            seconds=np.linspace(0, 1, t),
            compile_seconds=0.5,
            score_seconds=0.25,
            draws=draws,
        )


def _unit_starts(method: Method, problem: Problem, *_: Any) -> Mixture:
    """Stands in for the starts: unit scales at the origin, leaves [R, ...]."""
    r, k, d = method.num_restarts(3), problem.components, problem.num_dimensions
    scales = np.ones((r, *problem.covariance.shape(k, d)))
    return Mixture(np.full((r, k), 1 / k), np.zeros((r, k, d)), scales, problem.covariance)


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> Answers:
    stand_in = Answers()
    for name, stands_in in {
        "run": stand_in,
        "starts_of": _unit_starts,
        "mixing_of": lambda *_: None,
        "restart_statuses": lambda *_: [],
    }.items():
        monkeypatch.setattr(setting, name, stands_in)
    monkeypatch.setattr(setting, "checks", lambda *_: {})
    return stand_in


@pytest.fixture
def again(answers: Answers, tmp_path: Path) -> Callable[..., list[str]]:
    """Runs VALUES with changes into one folder; the methods that were really run."""

    def again(*changes: tuple[Sequence[str], Any], **options: Any) -> list[str]:
        values = copy.deepcopy(VALUES)
        for path, value in changes:
            table = values
            for part in path[:-1]:
                table = table.setdefault(part, {})
            table[path[-1]] = value
        answers.called.clear()
        execution.run_experiment(parse_experiment(values, "x"), name="x", out=tmp_path / "out", **options)
        return list(answers.called)

    return again


def _cells(folder: Path) -> set[str]:
    return {path.parent.name for path in folder.glob("out/cells/*/manifest.json")}


ALL = ["em", "ascent", "nuts"]


def test_a_second_run_does_nothing_twice(again):
    assert again() == ALL
    assert again() == []


# What is changed, and which methods it concerns.
CHANGES = [
    ((("seed",), 7), ALL),
    ((("model", "components"), 3), ALL),
    ((("model", "covariance"), "spherical"), ALL),
    ((("model", "labels"), "ordered"), ALL),
    ((("prior", "concentration"), 2.0), ALL),
    ((("starts",), {"rule": "kmeans++"}), ALL),
    ((("data", "divide_by"), 2.0), ALL),
    ((("data", "test_fraction"), 0.2), ALL),
    ((("restarts",), 4), ["em", "ascent"]),
    ((("methods", "em", "tolerance"), 1e-3), ["em"]),
    ((("methods", "ascent", "optimizer"), "adam"), ["ascent"]),
    ((("methods", "nuts", "num_samples"), 7), ["nuts"]),
    ((("methods", "mine"), {"method": "em"}), ["em"]),
    ((("soundness", "tight"), 0.1), []),
    ((("run", "devices"), 1), []),
    ((("seed",), 0), []),
    ((("methods", "em", "max_iterations"), 5000), []),
]


@pytest.mark.parametrize(("change", "concerned"), CHANGES, ids=[f"{'.'.join(c[0])}={c[1]}" for c, _ in CHANGES])
def test_a_change_runs_only_what_it_concerns_and_keeps_the_old(again, tmp_path, change, concerned):
    again()
    before = _cells(tmp_path)
    assert again(change) == concerned
    assert _cells(tmp_path) >= before
    assert len(_cells(tmp_path)) == len(before) + len(concerned)
    # Back to where it was: nothing is missing.
    assert again() == []


def test_force_runs_again_what_is_stored_in_its_place(again, tmp_path):
    again()
    before = _cells(tmp_path)
    assert again(force=True) == ALL
    assert _cells(tmp_path) == before


def test_only_the_chosen_methods_run_in_the_order_of_the_experiment(again):
    assert again(only=["nuts", "em"]) == ["em", "nuts"]
    assert again() == ["ascent"]


@pytest.mark.parametrize("only", [[], ["adam"], ["em", "adam"]])
def test_an_unknown_method_is_refused_before_any_runs(again, tmp_path, only):
    with pytest.raises(InputError, match=r"--methods: .*not in the experiment; it has em, ascent, nuts"):
        again(only=only)
    assert not (tmp_path / "out").exists()


def test_a_method_that_cannot_solve_the_problem_is_refused_before_any_runs(again, answers, tmp_path):
    with pytest.raises(InputError, match="NUTS needs a proper prior"):
        again((("prior",), {"family": "flat"}))
    assert answers.called == []
    assert not (tmp_path / "out").exists()
    # Left out, it is not asked.
    assert again((("prior",), {"family": "flat"}), only=["em"]) == ["em"]


def test_a_sampler_of_unstated_labels_is_refused_with_both_remedies_and_climbers_need_none(again, answers, tmp_path):
    says = r'model\.labels: must be stated where a method samples \(nuts\); give "free" .* or "ordered" '
    with pytest.raises(InputError, match=says):
        again((("model", "labels"), None))
    assert answers.called == []
    assert not (tmp_path / "out").exists()
    assert again((("model", "labels"), None), only=["em", "ascent"]) == ["em", "ascent"]


@pytest.mark.parametrize("error", EXCEPTIONS, ids=lambda e: type(e).__name__)
def test_a_method_that_raises_is_reported_and_the_others_are_kept(answers, tmp_path, error):
    answers.problems = {"ascent": error}
    found = execution.run_experiment(parse_experiment(VALUES, "x"), out=tmp_path / "out")
    assert list(found) == ["em", "nuts"]
    assert list(found.failures) == ["ascent"]
    assert found.failures["ascent"].startswith(type(error).__name__)
    assert "\n" not in found.failures["ascent"]
    # A failure of the machine is no result, and is not kept.
    kept = {"em", "nuts"} if isinstance(error, MemoryError) else {"em", "ascent", "nuts"}
    assert {cell.partition("-")[0] for cell in _cells(tmp_path)} == kept
    answers.problems, answers.called = {}, []
    again = execution.run_experiment(parse_experiment(VALUES, "x"), out=tmp_path / "out")
    if not isinstance(error, MemoryError):
        assert answers.called == []
        assert again.failures["ascent"] == f"{found.failures['ascent']} (in an earlier run; --retry tries it again)"
        # On request it is tried again, and only that.
        again = execution.run_experiment(parse_experiment(VALUES, "x"), out=tmp_path / "out", retry=True)
    assert answers.called == ["ascent"]
    assert list(again) == ["em", "ascent", "nuts"]


def test_a_mistake_in_the_program_is_not_taken_for_a_failing_method(answers, tmp_path):
    answers.problems = {"em": TypeError("a bug")}
    with pytest.raises(TypeError, match="a bug"):
        execution.run_experiment(parse_experiment(VALUES, "x"), out=tmp_path / "out")


def test_an_interruption_keeps_what_has_finished(again, answers, tmp_path):
    answers.problems = {"ascent": KeyboardInterrupt()}
    with pytest.raises(KeyboardInterrupt):
        again()
    assert {cell.partition("-")[0] for cell in _cells(tmp_path)} == {"em"}
    assert [list(c) for c in load_results(tmp_path / "out")] == [["em"]]
    answers.problems = {}
    assert again() == ["ascent", "nuts"]


def test_a_run_that_is_cut_off_leaves_a_checkpoint_that_the_next_one_takes_up_and_clears(
    again, answers, tmp_path, monkeypatch
):
    found = []

    def cut_off(*args, checkpoint, **options):
        found.append(checkpoint.path.is_file())
        checkpoint.path.write_bytes(b"progress")
        return answers(*args, **options)

    monkeypatch.setattr(setting, "run", cut_off)
    answers.problems = {"em": KeyboardInterrupt()}
    for force in (False, True):
        with pytest.raises(KeyboardInterrupt):
            again(only=["em"], force=force)
    answers.problems = {}
    again(only=["em"])
    # None at first; one that `force` puts aside; one that is taken up, and cleared away.
    assert found == [False, False, True]
    assert not list((tmp_path / "out").rglob(".*"))


def test_each_method_that_runs_is_watched_and_no_other(again):
    seen: list[str] = []
    again(only=["em"])
    again(watch=lambda name: seen.append(name))
    assert seen == ["ascent", "nuts"]


class TestOwnData:
    @pytest.fixture
    def csv(self, tmp_path: Path) -> Path:
        path = tmp_path / "data" / "mine.csv"
        path.parent.mkdir()
        self.write(path, 0)
        return path

    @staticmethod
    def write(path: Path, seed: int) -> None:
        values = np.random.default_rng(seed).normal(size=155)
        kinds = np.where(values > 0, "high", "low")
        lines = [f"{v:.6f},{k}" for v, k in zip(values, kinds, strict=True)]
        path.write_text("\n".join(["size,kind", *lines]) + "\n", encoding="utf-8")

    @pytest.fixture
    def own(self, answers: Answers, csv: Path, tmp_path: Path) -> Callable[[], Comparison]:
        values = {**VALUES, "data": {"file": "data/mine.csv", "label": "kind"}, "methods": {"em": {}}}
        experiment = parse_experiment(values, "x")
        return lambda: execution.run_experiment(experiment, name="own", out=tmp_path / "out", folder=csv.parents[1])

    def test_a_file_is_found_from_the_folder_of_the_config(self, own, answers):
        found = own()
        assert found.columns == ("size",)
        assert set(found.reference.labels) == {"high", "low"}
        own()
        assert answers.called == ["em"]

    def test_changed_content_is_a_new_run_and_the_old_one_is_kept(self, own, csv, answers, tmp_path):
        own()
        self.write(csv, 1)
        own()
        assert answers.called == ["em", "em"]
        assert len(_cells(tmp_path)) == 2
        self.write(csv, 0)
        own()
        assert len(answers.called) == 2

    def test_results_of_changed_content_have_names_that_tell_them_apart(self, own, csv, tmp_path):
        own()
        self.write(csv, 1)
        own()
        assert len({c.name for c in load_results(tmp_path / "out")}) == 2

    def test_results_can_be_compared_after_the_file_is_gone(self, own, csv, tmp_path):
        before = own()
        csv.unlink()
        (after,) = load_results(tmp_path / "out")
        assert table(after).to_json() == table(before).to_json()

    def test_the_config_that_is_stored_finds_the_file(self, own, tmp_path):
        own()
        (config,) = (tmp_path / "out").glob("cells/*/config.toml")
        train, _ = read_experiment(config).data.load(0, config.parent)
        assert train.columns == ("size",)

    def test_a_missing_file_is_named_under_its_key(self, own, csv):
        csv.unlink()
        with pytest.raises(InputError, match=r"^data\.file: .*mine\.csv: no such file"):
            own()


def test_the_same_config_twice_gives_the_same_bytes_and_the_stored_trace_is_the_one_that_ran(tiny, tmp_path):
    # The methods of the tiny experiment with the loop itself, in two folders.
    experiment = parse_experiment({**tiny, "seed": 3}, "tiny")
    first, second = (execution.run_experiment(experiment, out=tmp_path / str(i)) for i in range(2))
    for name in ("em", "slope"):
        (one,), (other,) = ([*(tmp_path / str(i)).glob(f"cells/{name}-*/arrays.npz")] for i in range(2))
        assert one.read_bytes() == other.read_bytes()
        assert one.parent.name == other.parent.name
    stored = execution.run_experiment(experiment, out=tmp_path / "0")
    for name, trace in first.items():
        leaves = zip(jax.tree.leaves(trace), jax.tree.leaves(stored[name]), strict=True)
        assert all(np.array_equal(a, b) for a, b in leaves)
        # `seconds` and what is timed are the only parts that differ between equal runs.
        timeless = {"seconds": trace.seconds, "compile_seconds": 0.0, "score_seconds": 0.0}
        same = zip(*(jax.tree.leaves(replace(c[name], **timeless)) for c in (first, second)), strict=True)
        assert all(np.array_equal(a, b) for a, b in same)
