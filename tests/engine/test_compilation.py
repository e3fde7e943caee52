"""Programs are compiled once: per method and shape in a process, and across processes by the command line's cache."""

import logging
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
import tomli_w
from common_shape import D, N

from workbench.compare import compare
from workbench.engine.compat.compilation import (
    BRIEF,
    FEW_NUMBERS,
    cache_folder,
    jit_by_size,
    jit_with,
    keep_compiled_programs,
    known,
    processor,
)
from workbench.kernel import library
from workbench.loop import batch
from workbench.loop.batch import advance
from workbench.methods import EM, IBIS, METHODS, Method
from workbench.mixture import ConjugatePrior
from workbench.problem import Problem

QUICK: dict[str, dict[str, int]] = {
    "nuts": {"num_warmup": 4, "num_samples": 4, "num_chains": 2, "max_tree_depth": 2},
    "mixed": {"num_warmup": 4, "num_samples": 4, "num_chains": 2, "max_tree_depth": 2},
    "cavi": {"max_iterations": 20, "num_samples": 4},
    "variational": {"max_iterations": 20, "num_samples": 4},
    "newton": {"max_iterations": 4},
    "natural_gradient": {"max_iterations": 4},
    "riemannian": {"max_iterations": 4},
}


# As `test_every_method` has it: the programs that draw and score are then the same.
FAMILIES = {"riemannian": "full"}

# One of each kind is run every day; the others compile for as long, or longer.
DAILY = ("em", "ascent", "nuts", "gibbs")
EVERY = [pytest.param(name, marks=() if name in DAILY else pytest.mark.slow) for name in METHODS]


@pytest.mark.usefixtures("room")
@pytest.mark.parametrize("name", EVERY)
def test_a_sweep_over_seeds_restarts_and_data_sets_compiles_once(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    method = METHODS[name](**QUICK.get(name, {}))
    traced = []
    bind = type(method).bind

    def counting(self: Method, problem: Problem) -> Any:
        traced.append(problem)
        return bind(self, problem)

    monkeypatch.setattr(type(method), "bind", counting)
    sweep = [(0, 17), (1, 17), (2, 21)]
    counts = []
    for seed, restarts in sweep:
        x = np.random.default_rng(seed).normal(size=(N, D))
        problem = Problem(x, 2, FAMILIES.get(name, "diagonal"), ConjugatePrior())
        compare(problem, [method], restarts=restarts, seed=seed)
        counts.append(len(traced))
    # The first run traces the programs that initialise and advance; no later run traces anything.
    assert counts[0] > 0 and counts == [counts[0]] * len(sweep)


def test_few_data_are_compiled_briefly_to_the_same_numbers() -> None:
    traced = []

    def doubled(times: int, x: np.ndarray) -> Any:
        traced.append(times)
        return times * x

    call = jit_by_size(doubled, static_argnums=(0,))
    x = np.linspace(-1.0, 1.0, 5)
    for numbers in (FEW_NUMBERS, FEW_NUMBERS, FEW_NUMBERS + 1):
        np.testing.assert_array_equal(call(numbers, 2, x), 2 * x)
    # Two programs are compiled from one trace.
    assert traced == [2]


def test_a_compile_option_that_xla_does_not_know_is_left_out_with_a_word_in_the_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    options = {"xla_of_another_version": True, **BRIEF}
    with caplog.at_level(logging.DEBUG, "workbench"):
        assert jit_with(options)(lambda x: 2 * x)(3) == 6
    assert known(options) == known(BRIEF)
    (said,) = [record.getMessage() for record in caplog.records if "xla_of_another_version" in record.getMessage()]
    assert said.startswith("compile option xla_of_another_version is left out")


def test_one_program_tries_all_compile_options(monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[Any] = []
    compiled = jax.jit

    def counted(function: Any, compiler_options: Any) -> Any:
        tried.append(compiler_options)
        return compiled(function, compiler_options=compiler_options)

    # A value that no other test tries, because answers are kept.
    options = BRIEF | {"xla_cpu_prefer_vector_width": 128}
    monkeypatch.setattr("workbench.engine.compat.compilation.jax.jit", counted)
    assert known(options) == options
    assert tried == [options]


def test_what_makes_brief_programs_brief_is_known_to_every_version() -> None:
    assert "xla_backend_optimization_level" in known(BRIEF)


def test_the_cache_lies_where_the_platform_keeps_caches() -> None:
    home = Path("/home/ada")
    assert cache_folder({}, "linux", home) == home / ".cache/workbench/jax"
    assert cache_folder({}, "darwin", home) == home / "Library/Caches/workbench/jax"
    assert cache_folder({"XDG_CACHE_HOME": "/scratch/ada"}, "linux", home) == Path("/scratch/ada/workbench/jax")
    assert cache_folder({"XDG_CACHE_HOME": "scratch"}, "linux", home) == home / ".cache/workbench/jax"


@pytest.fixture
def settings(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The settings made by `keep_compiled_programs`, collected instead of passed to JAX."""
    collected: dict[str, Any] = {}
    monkeypatch.setattr(jax.config, "update", collected.__setitem__)
    for name in os.environ:
        if name.startswith(("JAX_COMPILATION_CACHE", "JAX_PERSISTENT_CACHE")):
            monkeypatch.delenv(name)
    return collected


def test_the_environment_decides_where_programs_are_kept_and_which(
    settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    keep_compiled_programs()
    assert settings.pop("jax_compilation_cache_dir") == str(tmp_path / "workbench" / "jax" / processor())
    assert len(settings) == 2
    settings.clear()
    monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", str(tmp_path))
    monkeypatch.setenv("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "2")
    keep_compiled_programs()
    assert list(settings) == ["jax_persistent_cache_min_entry_size_bytes"]


def test_a_folder_that_cannot_be_made_means_no_cache(
    settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    keep_compiled_programs()
    assert "jax_compilation_cache_dir" not in settings


@pytest.fixture
def command(tmp_path: Path) -> Callable[[int], subprocess.CompletedProcess[str]]:
    """A function that runs `workbench run` with a seed, in a new process with a cache folder of this test only."""
    config = tmp_path / "x.toml"
    values = {"data": {"dataset": "acidity"}, "model": {"components": 2}, "restarts": 2, "methods": {"em": {}}}
    config.write_text(tomli_w.dumps(values), encoding="utf-8")
    # The child would inherit the log level that JAX has set in this process.
    kept = {name: value for name, value in os.environ.items() if not name.startswith("JAX_")}
    environment = kept | {"TF_CPP_MIN_LOG_LEVEL": "1"}
    environment |= {"XDG_CACHE_HOME": str(tmp_path / "cache"), "PYTHONWARNINGS": "error"}

    def run(seed: int) -> subprocess.CompletedProcess[str]:
        words = ["run", str(config), "--out", str(tmp_path / "out"), "--set", f"seed={seed}", "--quiet"]
        return subprocess.run(
            [sys.executable, "-m", "workbench", *words], capture_output=True, text=True, env=environment, check=True
        )

    return run


@pytest.mark.slow
def test_another_seed_in_another_process_compiles_nothing_and_says_nothing(
    command: Callable[[int], subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    def kept() -> set[str]:
        return {path.name for path in (tmp_path / "cache/workbench/jax").glob("*/*-cache")}

    assert command(0).stderr == ""
    first = kept()
    assert command(1).stderr == ""
    assert any(name.startswith("jit_advance") for name in first)
    assert kept() == first


def test_only_methods_that_leave_all_rows_to_the_native_pass_take_the_older_emitters(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(batch, "_to_next_end", lambda is_native, *_: is_native)
    x = np.random.default_rng(0).normal(size=(N, D))
    whole, here = Problem(x, 2, prior=ConjugatePrior()), library() is not None
    x[0, 0] = np.nan
    partial = Problem(x, 2, prior=ConjugatePrior(), missing="marginal")
    for method, problem, expected in ((EM(), whole, here), (IBIS(), whole, False), (EM(), partial, False)):
        assert advance(method, problem, None, [], 0, 0) is expected  # type: ignore[arg-type, comparison-overlap]
