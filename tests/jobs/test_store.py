import contextlib
import dataclasses
import gc
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from patience import LONG
from restamped import by_other_code, restamp

from workbench import files
from workbench.compare import Comparison, table
from workbench.diagnostics import Status, checks
from workbench.errors import InputError
from workbench.experiment import parse_experiment, read_experiment
from workbench.files import replacing
from workbench.jobs import formats
from workbench.jobs import formats as arrays_module
from workbench.jobs.base import DONE, FAILED, Cell, DamagedCellError, Failure, Record
from workbench.jobs.experiment import run_experiment
from workbench.jobs.registry import load_results
from workbench.jobs.setting import Setting, arrays_of, trace_of
from workbench.jobs.store import WORTH_WAITING, Store
from workbench.loop.run import run
from workbench.loop.trace import Trace
from workbench.mixture import Mixture
from workbench.problem import Problem
from workbench.provenance import Provenance

Run = tuple[Path, Comparison]
METHODS = ["em", "slope", "nuts"]
FILES = {"config.toml", "arrays.npz", "values.json", "manifest.json"}
SECONDS = {"rows": [0.0, 0.5], "compile": 1.0, "score": 0.25}
MADE_BY = Provenance.of(run)


@pytest.fixture(scope="module")
def trace(two_groups: Problem, shapes: dict[str, Mixture], trace_of: Callable[..., Trace]) -> Trace:
    return trace_of(two_groups, [[shapes["start"], shapes["good"]]] * 2)


def _leaves_equal(one: Any, other: Any) -> bool:
    pairs = zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True)
    return all(np.array_equal(a, b) for a, b in pairs)


def _cell(run: Run, method: str) -> Path:
    (cell,) = run[0].glob(f"cells/{method}-*")
    return cell


def test_a_run_that_other_code_made_is_named_run_again_or_kept_and_marked(
    tiny_run: Run, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = shutil.copytree(tiny_run[0], tmp_path / "copy")
    (cell,) = folder.glob("cells/em-*")
    experiment = read_experiment(cell / "config.toml")
    by_other_code(cell, jax="0.0.1")
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
        assert {p.name for p in folder.iterdir()} == {"cells", "data", "jobs"}
        assert {p.name.partition("-")[0] for p in (folder / "cells").iterdir()} == set(METHODS)
        for method in METHODS:
            assert {p.name for p in _cell(tiny_run, method).iterdir()} == FILES
        assert len(list((folder / "data").iterdir())) == len(list((folder / "jobs").iterdir())) == 1

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
    def test_a_record_says_how_the_run_was_made_and_what_became_of_it(self, tiny_run, method):
        manifest = json.loads((_cell(tiny_run, method) / "manifest.json").read_text(encoding="utf-8"))
        info = json.loads((_cell(tiny_run, method) / "values.json").read_text(encoding="utf-8"))
        trace, made = tiny_run[1][method], manifest["made"]
        assert set(made["versions"]) >= {"workbench", "jax", "jaxlib", "numpyro", "numpy", "scipy", "optax"}
        assert set(made["device"]) == {"platform", "kind", "count"}
        assert made["dtype"] == "float64"
        assert (manifest["kind"], manifest["name"], manifest["format"]) == ("experiment", method, 2)
        assert set(manifest["files"]) == FILES - {"manifest.json"}
        assert manifest["row"]["passes"] == info["passes"]
        best = trace.log_joint[trace.best_place(tiny_run[1].problem, tiny_run[1].rule)]
        assert manifest["row"]["log_joint"] == best
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
    def test_a_record_holds_named_checks_of_a_healthy_run(self, tiny_run, method):
        info = json.loads((_cell(tiny_run, method) / "values.json").read_text(encoding="utf-8"))
        trace, problem = tiny_run[1][method], tiny_run[1].problem
        starts = trace.at(np.arange(2), np.zeros(2, int))
        assert set(info["checks"]) == set(checks(trace, problem, starts))
        # Twenty steps of warm-up may leave a step size at which a transition diverges.
        assert {name for name, kept in info["checks"].items() if not kept} <= (
            {"promise_was_kept"} if method == "nuts" else set()
        )

    def test_no_temporary_file_is_left(self, tiny_run):
        assert list(tiny_run[0].rglob(".*")) == []


def record_of(trace: Trace) -> Record:
    """A record of a trace, without what is said of it."""
    return Record({"seconds": SECONDS}, arrays_of(trace), {"status": "CONVERGED"})


def cell_named(name: str) -> Cell:
    return Cell(name, {"name": name}, MADE_BY)


EM = cell_named("em")


class TestWriting:
    @pytest.fixture
    def store(self, tmp_path: Path) -> Store:
        return Store(tmp_path / "new" / "folder")

    def test_a_trace_written_is_the_trace_read(self, store, trace, two_groups):
        store.save("experiment", EM, record_of(trace), 1.5)
        assert store.look(EM).status == DONE
        assert _leaves_equal(trace_of(store.load(EM.key), two_groups), trace)

    @pytest.mark.parametrize("name", ["dropped", "log_evidence", "energy"])
    def test_what_only_some_runs_have_is_read_where_it_was_written(self, store, trace, two_groups, name):
        values = trace.log_joint if name == "energy" else np.array([0, 1])
        some = dataclasses.replace(trace, **{name: values})
        for cell, kept in ((EM, trace), (cell_named("other"), some)):
            store.save("experiment", cell, record_of(kept), 0.0)
            np.testing.assert_equal(getattr(trace_of(store.load(cell.key), two_groups), name), getattr(kept, name))

    def test_saving_again_replaces_the_whole_cell(self, store, trace):
        store.place(EM.key).mkdir(parents=True)
        (store.place(EM.key) / "left over").write_text("x")
        store.save("experiment", EM, record_of(trace), 0.0)
        assert {p.name for p in store.place(EM.key).iterdir()} == FILES - {"config.toml"}

    @pytest.mark.parametrize("error", [OSError("disk full"), KeyboardInterrupt()], ids=["error", "interrupt"])
    @pytest.mark.parametrize("place", ["sync", "os.replace"])
    @pytest.mark.parametrize("before", [False, True], ids=["first", "again"])
    def test_an_interrupted_write_leaves_a_whole_cell_or_none(
        self, store, trace, two_groups, monkeypatch, error, place, before
    ):
        def fail(*args: object) -> None:
            raise error

        if before:
            store.save("experiment", EM, record_of(trace), WORTH_WAITING)
        monkeypatch.setattr(os if place == "os.replace" else files, place.rpartition(".")[2], fail)
        with pytest.raises(type(error)):
            store.save("experiment", EM, record_of(trace), WORTH_WAITING)
        monkeypatch.undo()
        assert {p.name for p in (store.folder / "cells").iterdir()} <= {EM.key}
        if before or store.look(EM) is not None:
            assert _leaves_equal(trace_of(store.load(EM.key), two_groups), trace)

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

    def test_values_that_json_cannot_hold_are_refused_and_leave_nothing(self, store):
        with pytest.raises(ValueError, match="JSON"):
            store.save("experiment", EM, Record({"x": float("nan")}), 0.0)
        assert not (store.folder / "cells").exists()

    def test_a_failure_is_kept_with_its_reason_and_has_no_record(self, store):
        store.save_failure("study", EM, Failure.of(RuntimeError("no\nmore"), "Traceback"), 0.0)
        kept = store.look(EM)
        assert (kept.status, kept.failure) == (FAILED, "RuntimeError: no")
        with pytest.raises(DamagedCellError, match="it failed"):
            store.load(EM.key)


class TestClaims:
    """What two processes do with one cell."""

    def test_a_cell_that_is_held_is_not_had_and_one_that_is_freed_is(self, tmp_path):
        one, other = Store(tmp_path), Store(tmp_path)
        with one.claimed(EM.key, wait=False) as held:
            assert held
            with other.claimed(EM.key, wait=False) as held_too:
                assert not held_too
        with other.claimed(EM.key, wait=False) as held:
            assert held
        assert list((tmp_path / "cells").iterdir()) == []

    def test_the_system_frees_what_a_killed_process_held(self, tmp_path):
        program = (
            "import os, signal, sys\n"
            "from workbench.jobs.store import Store\n"
            f"with Store({str(tmp_path)!r}).claimed({EM.key!r}, wait=False) as held:\n"
            "    assert held\n"
            "    os.kill(os.getpid(), signal.SIGKILL)\n"
        )
        done = subprocess.run([sys.executable, "-c", program], check=False, timeout=LONG)
        assert done.returncode == -signal.SIGKILL
        with Store(tmp_path).claimed(EM.key, wait=False) as held:
            assert held


@pytest.fixture(scope="class")
def collected() -> Iterator[None]:
    yield
    gc.collect()


# What NumPy leaves open says so whenever it is collected: here, and not after the last test of the class.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.usefixtures("collected")
class TestDamage:
    @pytest.fixture
    def store(self, tmp_path: Path, trace: Trace) -> Store:
        store = Store(tmp_path)
        store.save("experiment", EM, record_of(trace), 0.0)
        return store

    def _refused(self, store: Store) -> str:
        with pytest.raises(DamagedCellError) as caught:
            store.look(EM)
        assert str(caught.value).startswith(f"{store.place(EM.key)}: the run is damaged")
        assert "delete the folder and run it again" in str(caught.value)
        return str(caught.value)

    @pytest.mark.parametrize("name", sorted(FILES - {"config.toml"}))
    def test_no_changed_byte_of_any_file_goes_unnoticed(self, store, name):
        file = store.place(EM.key) / name
        whole = file.read_bytes()
        for place in range(0, len(whole), 11):
            file.write_bytes(whole[:place] + bytes([whole[place] ^ 0x01]) + whole[place + 1 :])
            if name == "manifest.json" and _same_json(file, whole):
                continue
            self._refused(store)
        file.write_bytes(whole)
        assert store.look(EM) is not None

    @pytest.mark.parametrize("name", sorted(FILES - {"config.toml", "manifest.json"}))
    @pytest.mark.parametrize("kept", [None, 0, 10])
    def test_a_file_that_is_missing_or_cut_short_is_refused(self, store, name, kept):
        file = store.place(EM.key) / name
        if kept is None:
            file.unlink()
        else:
            file.write_bytes(file.read_bytes()[:kept])
        assert name in self._refused(store)

    def test_a_value_that_was_edited_by_hand_is_refused(self, store):
        file = store.place(EM.key) / "manifest.json"
        file.write_text(file.read_text().replace("CONVERGED", "COLLAPSED"))
        assert "its manifest was changed after it was written" in self._refused(store)

    def test_the_folder_of_another_cell_is_refused(self, store, trace):
        other = cell_named("other")
        store.save("experiment", other, record_of(trace), 0.0)
        shutil.rmtree(store.place(EM.key))
        store.place(other.key).rename(store.place(EM.key))
        assert "its folder was renamed" in self._refused(store)

    @pytest.mark.parametrize("name", ["weights", "means", "scales", "log_joint", "passes", "ok", "converged"])
    def test_an_array_that_does_not_fit_the_others_is_refused(self, trace, two_groups, name):
        arrays = arrays_of(trace)
        with pytest.raises(ValueError, match="shape"):
            trace_of(Record({"seconds": SECONDS}, arrays | {name: arrays[name][:1]}), two_groups)

    def test_arrays_that_would_fill_the_memory_are_refused_before_they_are_read(self):
        # A few kilobytes of zeros on disk.
        content = io.BytesIO()
        with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("x.npy", b"0" * 10**6)
        written = content.getvalue()
        claimed = written.replace((10**6).to_bytes(4, "little"), (2**32 - 2).to_bytes(4, "little"))
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(arrays_module, "MOST_BYTES", 10**5)
            for each in (written, claimed):
                with pytest.raises(ValueError, match="would unpack to"):
                    arrays_module.read_arrays(each)

    @pytest.mark.parametrize("text", ["", "{", "{}", "null", "[]", '{"format": null}', "[" * 100_000])
    def test_a_manifest_of_another_shape_is_refused(self, store, text):
        (store.place(EM.key) / "manifest.json").write_text(text)
        self._refused(store)

    def test_a_newer_format_is_no_damage(self, store):
        restamp(store.place(EM.key), lambda manifest: manifest.update(format=99))
        with pytest.raises(InputError, match="has format 99, of a newer workbench") as caught:
            store.look(EM)
        assert not isinstance(caught.value, DamagedCellError)

    @pytest.mark.parametrize("text", ["", "x", "cells = 3", 'kind = "study"', "format = 99", "[" * 100_000])
    def test_a_damaged_job_is_one_message(self, tmp_path, text):
        (tmp_path / "jobs").mkdir()
        (tmp_path / "jobs" / "study-1.toml").write_text(text)
        with pytest.raises(InputError, match=r"study-1\.toml: (is damaged|has format 99)"):
            Store(tmp_path).jobs()

    def test_what_is_damaged_is_named_and_the_others_are_shown(self, tiny_run, tmp_path):
        folder = shutil.copytree(tiny_run[0], tmp_path / "copy")
        (file,) = folder.glob("cells/slope-*/arrays.npz")
        file.write_bytes(b"")
        (found,) = load_results(folder)
        assert list(found) == ["em", "nuts"]
        assert "arrays.npz was changed after it was written" in found.missing["slope"]

    @pytest.mark.parametrize("name", ["nowhere", "file", "empty"])
    def test_a_folder_without_runs_is_refused_with_the_remedy(self, tmp_path, name):
        (tmp_path / "file").write_text("x")
        (tmp_path / "empty").mkdir()
        with pytest.raises(InputError, match="give a folder that `workbench run` wrote"):
            load_results(tmp_path / name)

    @pytest.mark.parametrize("part", ["data/*.npz", "jobs/*.toml"])
    @pytest.mark.parametrize("content", [b"", b"\xff\xfe\x00", None])
    def test_damaged_data_or_experiments_are_refused_with_the_remedy(self, tmp_path, tiny_run, part, content):
        shutil.copytree(tiny_run[0], tmp_path / "copy")
        (file,) = (tmp_path / "copy").glob(part)
        if content is None:
            file.unlink()
        else:
            file.write_bytes(content)
        with pytest.raises(InputError, match=r"run the (experiment|job) again|no finished runs"):
            load_results(tmp_path / "copy")


def _same_json(file: Path, whole: bytes) -> bool:
    """Whether a file holds the same values, white space apart."""
    with contextlib.suppress(ValueError):
        return bool(json.loads(file.read_bytes()) == json.loads(whole))
    return False


class TestIdentity:
    def _cell(self, values: dict[str, Any], name: str = "em", separation: float = 3.0) -> str:
        simulate = {"components": 2, "dimensions": 1, "points": 48, "separation": separation}
        return Setting.of(parse_experiment({**values, "data": {"simulate": simulate}}, "x"), ".").cell(name).key

    def test_a_cell_is_named_after_its_method_and_does_not_depend_on_the_order_of_keys(self, tiny):
        assert self._cell(tiny).startswith("em-")
        assert self._cell(tiny) == self._cell(dict(reversed(tiny.items())))

    def test_a_default_that_is_written_out_is_the_same_cell(self, tiny):
        left_out = {key: value for key, value in tiny.items() if key != "starts"}
        assert self._cell(left_out) == self._cell({**tiny, "seed": 0, "starts": {"rule": "alternating"}})

    def test_other_data_or_another_name_is_another_cell(self, tiny):
        methods = {"em": tiny["methods"]["em"], "em2": {"method": "em", **tiny["methods"]["em"]}}
        both = {**tiny, "methods": methods}
        assert self._cell(tiny) != self._cell(tiny, separation=4.0)
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
        monkeypatch.setattr(formats, "COPIED_AT_MOST", 0)
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
        with pytest.raises(InputError, match=r"points\.csv: has changed since the runs in .*"):
            load_results(out)
