import contextlib
import dataclasses
import gc
import io
import json
import os
import shutil
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

from workbench import store as store_module
from workbench.compare import Comparison, table
from workbench.diagnostics import Status, checks
from workbench.errors import InputError
from workbench.execution import run_experiment
from workbench.experiment import parse_experiment, read_experiment
from workbench.files import replacing
from workbench.mixture import Mixture
from workbench.problem import Problem
from workbench.store import Store, load_results
from workbench.trace import Trace

Run = tuple[Path, Comparison]
METHODS = ["em", "slope", "nuts"]


@pytest.fixture(scope="module")
def trace(two_groups: Problem, shapes: dict[str, Mixture], trace_of: Callable[..., Trace]) -> Trace:
    return trace_of(two_groups, [[shapes["start"], shapes["good"]]] * 2)


INFO = {"seconds": {"rows": [0.0, 0.5], "compile": 1.0, "score": 0.25}}


def _leaves_equal(one: Any, other: Any) -> bool:
    pairs = zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True)
    return all(np.array_equal(a, b) for a, b in pairs)


def _cell(run: Run, method: str) -> Path:
    (cell,) = run[0].glob(f"{method}-*")
    return cell


def other_code(cell: Path) -> None:
    """Let a stored run say that other code made it."""
    info = json.loads((cell / "info.json").read_text(encoding="utf-8"))
    info["made_by"] |= {"code": "another", "versions": info["made_by"]["versions"] | {"jax": "0.0.1"}}
    (cell / "info.json").write_text(json.dumps(info), encoding="utf-8")


def test_a_run_that_other_code_made_is_named_run_again_or_kept_and_marked(
    tiny_run: Run, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = shutil.copytree(tiny_run[0], tmp_path / "copy")
    (cell,) = folder.glob("em-*")
    experiment = read_experiment(cell / "config.toml")
    other_code(cell)
    (loaded,) = load_results(folder)
    assert loaded.stale == {"em": "workbench 0.1.0, jax 0.0.1"}
    assert "the run of em is STALE: other code made it (workbench 0.1.0, jax 0.0.1)" in str(table(loaded))
    ran: list[str] = []

    def watch(name: str) -> None:
        ran.append(name)

    kept = run_experiment(experiment, out=folder, keep_stale=True, watch=watch)
    assert (kept.stale, ran) == (loaded.stale, [])
    again = run_experiment(experiment, out=folder, watch=watch)
    assert (again.stale, ran) == ({}, ["em"])
    assert _leaves_equal(again["em"].mixtures, tiny_run[1]["em"].mixtures)
    assert load_results(folder)[0].stale == {}
    said = "1 of 1 stored runs were made by other code (workbench 0.1.0, jax 0.0.1)"
    assert caplog.messages == [f"{said}: kept as they are", f"{said}: run again"]


class TestWhatIsThere:
    """In the folder of a finished run of three methods."""

    def test_each_run_has_its_folder_and_the_data_are_kept_once(self, tiny_run):
        folder = tiny_run[0]
        assert {p.name.partition("-")[0] for p in folder.iterdir()} == {*METHODS, "data", "experiments"}
        for method in METHODS:
            assert {p.name for p in _cell(tiny_run, method).iterdir()} == {"config.toml", "trace.npz", "info.json"}
        assert len(list((folder / "data").iterdir())) == len(list((folder / "experiments").iterdir())) == 1

    def test_what_is_loaded_is_what_ran(self, tiny_run):
        folder, ran = tiny_run
        (loaded,) = load_results(folder)
        assert list(loaded) == list(ran) == METHODS
        assert all(_leaves_equal(loaded[name], ran[name]) for name in ran)
        assert {loaded[name].draws for name in METHODS} == {0, 20}
        assert table(loaded).to_json() == table(ran).to_json()
        assert (loaded.name, loaded.columns, loaded.units) == (ran.name, ran.columns, ran.units)

    def test_what_is_known_of_the_data_is_loaded_too(self, tiny_run):
        folder, ran = tiny_run
        (loaded,) = load_results(folder)
        assert np.array_equal(loaded.problem.x, ran.problem.x)
        assert np.array_equal(loaded.reference.heldout, ran.reference.heldout)
        assert np.array_equal(loaded.reference.labels, ran.reference.labels)
        assert all(map(np.array_equal, loaded.reference.truth, ran.reference.truth))

    @pytest.mark.parametrize("method", METHODS)
    def test_a_config_is_an_experiment_that_gives_the_same_run(self, tiny_run, tmp_path, method):
        cell = _cell(tiny_run, method)
        experiment = read_experiment(cell / "config.toml")
        assert list(experiment.methods) == [method]
        # Found in the same place: every setting that makes a difference is there.
        shutil.copytree(tiny_run[0], tmp_path / "copy")
        again = run_experiment(experiment, out=tmp_path / "copy", watch=lambda name: pytest.fail(f"{name} ran"))
        assert _leaves_equal(again[method], tiny_run[1][method])
        assert tomllib.loads((cell / "config.toml").read_text(encoding="utf-8")) == experiment.resolved()

    @pytest.mark.parametrize("method", METHODS)
    def test_info_says_how_the_run_was_made_and_what_became_of_it(self, tiny_run, method):
        info = json.loads((_cell(tiny_run, method) / "info.json").read_text(encoding="utf-8"))
        trace = tiny_run[1][method]
        assert set(info["versions"]) >= {"workbench", "jax", "jaxlib", "numpyro", "numpy", "scipy", "optax"}
        assert set(info["device"]) == {"platform", "kind", "count"}
        assert info["dtype"] == "float64"
        assert (info["experiment"], info["method"], info["format"]) == ("tiny", method, 1)
        assert (info["num_points"], info["num_dimensions"]) == (48, 1)
        assert set(info["hyperparameters"]) == set(tiny_run[1].problem.hyperparameters)
        assert [entry["restart"] for entry in info["statuses"]] == [0, 1]
        assert all(entry["status"] in Status.__members__ and entry["message"] for entry in info["statuses"])
        assert sum(info["status_counts"].values()) == trace.num_restarts
        assert info["passes"] == trace.passes[:, -1].sum()
        seconds = info["seconds"]
        assert set(seconds) == {"compile", "step", "score", "rows"}
        assert len(seconds["rows"]) == trace.num_rows
        assert seconds["step"] == seconds["rows"][-1] > 0
        assert seconds["compile"] > 0

    @pytest.mark.parametrize("method", METHODS)
    def test_info_holds_named_checks_of_a_healthy_run(self, tiny_run, method):
        info = json.loads((_cell(tiny_run, method) / "info.json").read_text(encoding="utf-8"))
        trace, problem = tiny_run[1][method], tiny_run[1].problem
        starts = trace.at(np.arange(2), np.zeros(2, int))
        assert set(info["checks"]) == set(checks(trace, problem, starts))
        # Twenty steps of warm-up may leave a step size at which a transition diverges.
        assert {name for name, kept in info["checks"].items() if not kept} <= (
            {"promise_was_kept"} if method == "nuts" else set()
        )

    def test_no_temporary_file_is_left(self, tiny_run):
        assert list(tiny_run[0].rglob(".*")) == []


class TestWriting:
    def test_a_trace_written_is_the_trace_read(self, tmp_path, trace, two_groups):
        store = Store(tmp_path / "new" / "folder")
        cell = store.folder / "em-1"
        store.save_run(cell, {"seed": 1}, trace, INFO)
        assert store.is_complete(cell)
        assert _leaves_equal(store.load_trace(cell, two_groups), trace)

    @pytest.mark.parametrize("name", ["dropped", "log_evidence", "energy"])
    def test_what_only_some_runs_have_is_read_where_it_was_written(self, tmp_path, trace, two_groups, name):
        store = Store(tmp_path)
        values = trace.log_joint if name == "energy" else np.array([0, 1])
        some = dataclasses.replace(trace, **{name: values})
        for cell, kept in ((tmp_path / "em-1", trace), (tmp_path / "em-2", some)):
            store.save_run(cell, {}, kept, INFO)
            np.testing.assert_equal(getattr(store.load_trace(cell, two_groups), name), getattr(kept, name))

    def test_saving_again_replaces_the_whole_run(self, tmp_path, trace):
        store, cell = Store(tmp_path), tmp_path / "em-1"
        cell.mkdir()
        (cell / "left over").write_text("x")
        store.save_run(cell, {}, trace, INFO)
        assert {p.name for p in cell.iterdir()} == {"config.toml", "trace.npz", "info.json"}

    @pytest.mark.parametrize("error", [OSError("disk full"), KeyboardInterrupt()], ids=["error", "interrupt"])
    @pytest.mark.parametrize("place", ["_save_arrays", "sync", "os.replace"])
    @pytest.mark.parametrize("before", [False, True], ids=["first", "again"])
    def test_an_interrupted_write_leaves_a_whole_run_or_none(
        self, tmp_path, trace, two_groups, monkeypatch, error, place, before
    ):
        def fail(*args: object) -> None:
            raise error

        store, cell = Store(tmp_path), tmp_path / "em-1"
        if before:
            store.save_run(cell, {}, trace, INFO)
        owner = os if place == "os.replace" else store_module
        monkeypatch.setattr(owner, place.rpartition(".")[2], fail)
        with pytest.raises(type(error)):
            store.save_run(cell, {}, trace, INFO)
        monkeypatch.undo()
        assert {p.name for p in tmp_path.iterdir()} <= {"em-1"}
        assert not cell.exists() or store.is_complete(cell)
        if store.is_complete(cell):
            assert _leaves_equal(store.load_trace(cell, two_groups), trace)

    def test_an_interrupted_replacement_keeps_the_old_run(self, tmp_path, trace, monkeypatch):
        store, cell = Store(tmp_path), tmp_path / "em-1"
        store.save_run(cell, {}, trace, INFO)
        monkeypatch.setattr(os, "replace", lambda *_: pytest.fail("interrupted"))
        with pytest.raises(pytest.fail.Exception):
            store.save_run(cell, {}, trace, INFO)
        assert store.is_complete(cell)

    def test_a_file_is_written_whole_or_not_at_all(self, tmp_path):
        path = tmp_path / "new" / "x.txt"

        def write(text: str, error: Exception | None = None) -> None:
            with replacing(path) as temporary:
                temporary.write_text(text)
                if error is not None:
                    raise error

        with pytest.raises(OSError, match="disk full"):
            write("ha", OSError("disk full"))
        assert list(path.parent.iterdir()) == []
        write("whole")
        with pytest.raises(OSError, match="disk full"):
            write("ha", OSError("disk full"))
        assert [p.read_text() for p in path.parent.iterdir()] == ["whole"]

    def test_info_that_json_cannot_hold_is_refused_and_leaves_nothing(self, tmp_path, trace):
        with pytest.raises(ValueError, match="JSON"):
            Store(tmp_path).save_run(tmp_path / "em-1", {}, trace, {"x": float("nan")})
        assert list(tmp_path.iterdir()) == []


# What NumPy leaves open says so whenever it is collected: here, and not in a later test. One test below is about it.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
class TestDamage:
    @pytest.fixture(autouse=True)
    def collected(self) -> Iterator[None]:
        yield
        gc.collect()

    @pytest.fixture
    def cell(self, tmp_path: Path, trace: Trace) -> Path:
        Store(tmp_path).save_run(tmp_path / "em-1", {}, trace, INFO)
        return tmp_path / "em-1"

    def _refused(self, cell: Path, problem: Problem) -> None:
        with pytest.raises(InputError) as caught:
            Store(cell.parent).load_trace(cell, problem)
        assert str(caught.value).startswith(f"{cell}: the run is damaged")
        assert "delete the folder and run it again" in str(caught.value)

    @pytest.mark.parametrize("kept", [0, 10, 500])
    def test_a_trace_cut_short_is_refused_with_the_remedy(self, cell, two_groups, kept):
        file = cell / "trace.npz"
        file.write_bytes(file.read_bytes()[:kept])
        self._refused(cell, two_groups)

    def test_a_damaged_file_is_not_left_open(self, cell, two_groups):
        file = cell / "trace.npz"
        file.write_bytes(file.read_bytes()[:500])
        self._refused(cell, two_groups)
        opened = [o for o in gc.get_objects() if isinstance(o, io.BufferedReader) and not o.closed]
        assert str(file) not in [str(o.name) for o in opened]

    def test_a_missing_file_or_array_is_refused_with_the_remedy(self, cell, two_groups):
        np.savez(cell / "trace.npz", weights=np.ones(2))
        self._refused(cell, two_groups)
        (cell / "trace.npz").unlink()
        self._refused(cell, two_groups)

    def test_no_flipped_byte_of_a_trace_goes_unnoticed_or_ends_in_a_traceback(self, cell, two_groups, trace):
        file = cell / "trace.npz"
        whole = file.read_bytes()
        for place in range(0, len(whole), 7):
            file.write_bytes(whole[:place] + bytes([whole[place] ^ 0xFF]) + whole[place + 1 :])
            with contextlib.suppress(InputError):
                # A byte that says nothing of the content (a time stamp) may change.
                assert _leaves_equal(Store(cell.parent).load_trace(cell, two_groups), trace)

    @pytest.mark.parametrize("name", ["weights", "means", "scales", "log_joint", "passes", "ok", "converged"])
    def test_an_array_that_does_not_fit_the_others_is_refused_with_the_remedy(self, cell, two_groups, name):
        with np.load(cell / "trace.npz") as stored:
            arrays = dict(stored)
        np.savez(cell / "trace.npz", **arrays | {name: arrays[name][:1]})
        self._refused(cell, two_groups)

    @pytest.mark.parametrize("text", ["", "{", "{}", '{"seconds": {}}', '{"seconds": {"rows": "x"}}'])
    def test_a_damaged_manifest_is_refused_with_the_remedy(self, cell, two_groups, text):
        (cell / "info.json").write_text(text)
        self._refused(cell, two_groups)

    @pytest.mark.parametrize("text", ["null", "[]", '{"seconds": null}'])
    def test_a_manifest_of_another_shape_is_refused_with_the_remedy(self, cell, two_groups, text):
        (cell / "info.json").write_text(text)
        self._refused(cell, two_groups)

    @pytest.mark.parametrize("name", ["nowhere", "file", "empty"])
    def test_a_folder_without_runs_is_refused_with_the_remedy(self, tmp_path, name):
        (tmp_path / "file").write_text("x")
        (tmp_path / "empty").mkdir()
        with pytest.raises(InputError, match="give a folder that `workbench run` wrote"):
            load_results(tmp_path / name)

    @pytest.mark.parametrize("part", ["data/*.npz", "experiments/*.toml"])
    @pytest.mark.parametrize("content", [b"", b"\xff\xfe\x00", None])
    def test_damaged_data_or_experiments_are_refused_with_the_remedy(self, tmp_path, tiny_run, part, content):
        shutil.copytree(tiny_run[0], tmp_path / "copy")
        (file,) = (tmp_path / "copy").glob(part)
        if content is None:
            file.unlink()
        else:
            file.write_bytes(content)
        with pytest.raises(InputError, match=r"run the experiment again|no finished runs"):
            load_results(tmp_path / "copy")


class TestIdentity:
    def _cell(self, values: dict[str, Any], name: str = "em", digest: str = "d") -> str:
        return Store(Path("r")).cell(parse_experiment(values, "x"), name, digest).name

    def test_a_cell_is_named_after_its_method_and_does_not_depend_on_the_order_of_keys(self, tiny):
        assert self._cell(tiny).startswith("em-")
        assert self._cell(tiny) == self._cell(dict(reversed(tiny.items())))

    def test_a_default_that_is_written_out_is_the_same_cell(self, tiny):
        left_out = {key: value for key, value in tiny.items() if key != "starts"}
        assert self._cell(left_out) == self._cell({**tiny, "seed": 0, "starts": {"rule": "alternating"}})

    def test_other_data_or_another_name_is_another_cell(self, tiny):
        methods = {"em": tiny["methods"]["em"], "em2": {"method": "em", **tiny["methods"]["em"]}}
        both = {**tiny, "methods": methods}
        assert self._cell(tiny) != self._cell(tiny, digest="e")
        assert self._cell(both, "em").partition("-")[2] != self._cell(both, "em2").partition("-")[2]


def test_experiments_of_one_folder_are_told_apart_by_what_differs(tiny, tmp_path):
    values = {**tiny, "methods": {"em": tiny["methods"]["em"]}}
    for seed in (3, 4):
        run_experiment(parse_experiment({**values, "seed": seed}, "x"), name="tiny", out=tmp_path)
    assert [c.name for c in load_results(tmp_path)] == ["tiny (seed = 3)", "tiny (seed = 4)"]


class TestLargeFiles:
    """Points beyond the limit stay in their file: the store keeps where it is and what it held."""

    @pytest.fixture
    def run(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path, Comparison]:
        monkeypatch.setattr(store_module, "COPIED_AT_MOST", 0)
        file = tmp_path / "points.csv"
        x = np.random.default_rng(0).normal(size=(40, 1)) + np.repeat([[-3.0], [3.0]], 20, axis=0)
        np.savetxt(file, x, header="a", comments="")
        values = {"restarts": 1, "data": {"file": "points.csv"}, "model": {"components": 2}, "methods": {"em": {}}}
        out = tmp_path / "results"
        return file, out, run_experiment(parse_experiment(values, "test"), out=out, folder=tmp_path)

    def test_the_file_is_read_again_and_not_copied(self, run):
        _, out, ran = run
        assert not (out / "data").exists()
        (loaded,) = load_results(out)
        assert table(loaded).to_json() == table(ran).to_json()
        assert np.array_equal(loaded.problem.x, ran.problem.x)

    def test_a_file_that_has_changed_is_refused(self, run):
        file, out, _ = run
        file.write_text(file.read_text(encoding="utf-8").replace("-", ""), encoding="utf-8")
        with pytest.raises(InputError, match=r"points\.csv: is not what the runs of .* are of"):
            load_results(out)
