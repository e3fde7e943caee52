"""What one process has compiled, another finds without tracing, if nothing else decides it."""

import contextlib
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar, Literal

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from workbench.engine.compat import traced
from workbench.engine.compat.said import UnsaidError, said
from workbench.engine.compat.traced import jit_by_size, jit_with, keep_in
from workbench.errors import InputError
from workbench.methods import EM, METHODS, GradientAscent
from workbench.methods.parts import EndsOnly
from workbench.mixture import ConjugatePrior, Mixture
from workbench.mixture.covariance import COVARIANCES
from workbench.problem import Problem

TRACED: list[str] = []
X = np.arange(12.0).reshape(4, 3) / 7


def factored(power: int, x: Any, more: Any) -> Any:
    """Calls LAPACK, whose functions JAX looks up when it lowers a program that calls them."""
    TRACED.append("factored")
    return {"root": jnp.linalg.cholesky(x.T @ x + jnp.eye(x.shape[1])), "more": more**power}


def drawn(key: Any) -> Any:
    TRACED.append("drawn")
    return jax.random.normal(key, (3,))


def sorted_down(x: Any) -> Any:
    TRACED.append("sorted_down")
    return jax.lax.sort(x, num_keys=1)


@pytest.fixture(autouse=True)
def kept(tmp_path: Path) -> Iterator[Path]:
    TRACED.clear()
    keep_in(tmp_path / "traced")
    yield tmp_path / "traced"
    keep_in(None)


def again() -> None:
    """Forget what this process holds, as another process would begin."""
    jax.clear_caches()
    keep_in(traced._KEPT.folder)
    TRACED.clear()


def equal(one: Any, other: Any) -> bool:
    return bool(jax.tree.all(jax.tree.map(lambda a, b: np.array_equal(np.asarray(a), np.asarray(b)), one, other)))


@pytest.mark.parametrize("more", [2, 2.5, np.float32(1.5), np.arange(3), jnp.asarray(2.0)])
def test_what_was_compiled_is_not_traced_again(more: Any) -> None:
    first = jit_with({}, static_argnums=0)(factored)(2, X, more)
    assert TRACED == ["factored"]
    again()
    assert equal(jit_with({}, static_argnums=0)(factored)(2, X, more), first)
    assert equal(jit_with({}, static_argnums=0)(factored)(2, X + 1, more)["more"], first["more"])
    assert TRACED == []


@pytest.mark.parametrize(
    ("options", "power", "x", "more"),
    [
        ({"xla_backend_optimization_level": 0}, 2, X, 2),
        ({}, 3, X, 2),
        ({}, 2, X[:3], 2),
        ({}, 2, X.astype(np.float32), 2),
        ({}, 2, X, 2.0),
        ({}, 2, X, np.asarray(2)),
        ({}, 2, X, [2]),
    ],
)
def test_another_program_is_traced(options: dict[str, Any], power: int, x: Any, more: Any) -> None:
    jit_with({}, static_argnums=0)(factored)(2, X, 2)
    again()
    if isinstance(more, list):
        with pytest.raises(TypeError):
            jit_with(options, static_argnums=0)(factored)(power, x, more)
    else:
        jit_with(options, static_argnums=0)(factored)(power, x, more)
    assert TRACED == ["factored"]


def test_keys_and_data_of_few_numbers_are_found() -> None:
    call = jit_by_size(drawn)
    first = call(10, jax.random.key(3))
    again()
    assert equal(jit_by_size(drawn)(10, jax.random.key(3)), first)
    assert TRACED == []


def test_other_code_traces_again_but_compiles_nothing(monkeypatch: pytest.MonkeyPatch, kept: Path) -> None:
    jit_with({})(drawn)(jax.random.key(3))
    monkeypatch.setattr(traced, "package_digest", lambda: "another")
    programs = list((kept / "programs").iterdir())
    again()
    jit_with({})(drawn)(jax.random.key(3))
    assert TRACED == ["drawn"] and list((kept / "programs").iterdir()) == programs
    again()
    jit_with({})(drawn)(jax.random.key(3))
    assert TRACED == [] and len(list(kept.glob("code-*"))) == 2


def test_only_the_latest_codes_are_kept(monkeypatch: pytest.MonkeyPatch, kept: Path) -> None:
    monkeypatch.setattr(traced, "MOST_CODES", 2)
    for number in range(4):
        monkeypatch.setattr(traced, "package_digest", lambda number=number: f"code {number}")
        again()
        jit_with({})(drawn)(jax.random.key(3))
    assert len(list(kept.glob("code-*"))) == 2


@pytest.mark.parametrize("damage", [b"", b"not a pickle", None])
@pytest.mark.parametrize("which", ["code-*/*", "programs/*"])
def test_a_damaged_file_is_as_none(kept: Path, which: str, damage: bytes | None) -> None:
    first = jit_with({}, static_argnums=0)(factored)(2, X, 2)
    for file in kept.glob(which):
        content = file.read_bytes()
        file.write_bytes(content[: len(content) // 2] if damage is None else damage)
    again()
    assert equal(jit_with({}, static_argnums=0)(factored)(2, X, 2), first)
    assert TRACED == ["factored"]
    again()
    assert equal(jit_with({}, static_argnums=0)(factored)(2, X, 2), first)


def test_what_xla_cannot_write_out_runs_all_the_same() -> None:
    x = np.asarray([3.0, 1.0, 2.0])
    for _ in range(2):
        np.testing.assert_array_equal(jit_with({})(sorted_down)(x), np.sort(x))
        again()


def called(x: Any) -> Any:
    return jax.pure_callback(lambda x: x + 1, jax.ShapeDtypeStruct(x.shape, x.dtype), x)


def test_a_program_that_calls_python_is_not_kept(kept: Path) -> None:
    np.testing.assert_array_equal(jit_with({})(called)(np.zeros(3)), np.ones(3))
    assert not kept.exists()


def test_a_folder_that_cannot_be_written_to_is_no_failure(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    keep_in(tmp_path / "file" / "traced")
    assert equal(jit_with({})(drawn)(jax.random.key(3)), drawn(jax.random.key(3)))


def test_a_function_that_holds_values_is_traced(kept: Path) -> None:
    offset = np.ones(3)

    def moved(x: Any) -> Any:
        return x + offset

    jit_with({})(moved)(np.zeros(3))
    jit_with({})(lambda x: x + 1)(np.zeros(3))
    assert not kept.exists()


def test_inside_another_program_it_is_traced_with_it() -> None:
    call = jit_with({})(drawn)
    assert equal(jax.jit(lambda key: call(key))(jax.random.key(3)), call(jax.random.key(3)))


class Own(EM):
    """A user's own method."""

    method: Literal["own"] = "own"  # type: ignore[assignment]
    summary: ClassVar[str] = "own"


def test_a_description_tells_apart_what_programs_depend_on() -> None:
    values = [
        EM(), EM(max_iterations=7), GradientAscent(), EndsOnly(inner=EM()), ConjugatePrior(),
        ConjugatePrior(degrees_of_freedom=9.0),
        *COVARIANCES.values(), 1, 1.0, True, "1", None, (1,), ((1,),), np.arange(3), np.arange(3.0), np.arange(4),
        jnp.float32(0).dtype, jnp.float64(0).dtype, int, EM, PartitionSpec("a"), PartitionSpec(None, "a"),
        frozenset({1}),
    ]  # fmt: skip
    texts = [repr(said(value)) for value in values]
    assert len(set(texts)) == len(texts)
    assert texts == [repr(said(value)) for value in values]


def test_a_description_of_a_placement_names_its_devices() -> None:
    mesh = Mesh(np.asarray(jax.devices()[:1]), ("rows",))
    texts = {repr(said(NamedSharding(mesh, PartitionSpec(*spec)))) for spec in ((), ("rows",), (None, "rows"))}
    assert len(texts) == 3


@pytest.mark.parametrize("name", sorted(METHODS))
def test_every_method_has_a_description(name: str) -> None:
    """Otherwise its programs would be traced by each process, and nobody would notice."""
    method = METHODS[name]()
    said(method.as_compiled())
    problem = Problem(np.random.default_rng(3).normal(size=(20, 2)), 2, "diagonal", ConjugatePrior())
    with contextlib.suppress(InputError):
        method.admit(problem)
        key = jax.random.key(0)
        start = jax.eval_shape(lambda: problem.rows.from_working(standard()))
        state = jax.eval_shape(lambda start: method.bind(problem).init(key, start), start)
        said(traced._structure(jax.tree.structure(state)))


def standard() -> Mixture:
    family = COVARIANCES["diagonal"]
    return Mixture(jnp.full(2, 0.5), jnp.zeros((2, 2)), family.broadcast(jnp.eye(2), 2), family)


@pytest.mark.parametrize("value", [Own(), Own, (Own(),), drawn, lambda: 0, object(), threading.Lock()])
def test_what_a_description_cannot_say_in_full_is_refused(value: Any) -> None:
    with pytest.raises(UnsaidError):
        said(value)


def test_a_problem_is_described_without_its_points() -> None:
    rng = np.random.default_rng(3)
    problems = [Problem(rng.normal(shift, size=(20, 2)), 2, "full", ConjugatePrior()) for shift in (0.0, 1.0)]
    one, other = (said(traced._structure(jax.tree.structure(problem.of_any_size()))) for problem in problems)
    assert one == other


RUN = """
import sys
import jax
import numpy as np
from workbench.cli import main
import workbench.engine.compat.traced as traced
from workbench.methods import EM

bind, calls = EM.bind, []
EM.bind = lambda self, problem: calls.append(1) or bind(self, problem)
sys.argv = ["workbench", "run", sys.argv[1], "--out", sys.argv[2]]
try:
    main()
finally:
    print(len(calls), file=sys.stderr)
"""


def test_a_second_process_traces_nothing_and_gives_the_same_bits(tmp_path: Path) -> None:
    config = tmp_path / "few.toml"
    config.write_text(
        "restarts = 4\n[data]\ndataset = 'faithful'\n[model]\ncomponents = 2\n[starts]\nrule = 'random_points'\n"
        "[prior]\nfamily = 'conjugate'\n[methods.em]\n"
    )
    kept = {name: value for name, value in os.environ.items() if not name.startswith("JAX_COMPILATION_CACHE")}
    environment = kept | {"XDG_CACHE_HOME": str(tmp_path / "cache")}
    counts, arrays = [], []
    for number in range(2):
        out = tmp_path / str(number)
        command = [sys.executable, "-c", RUN, str(config), str(out)]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        counts.append(int(done.stderr.split()[-1]))
        (file,) = out.glob("cells/*/arrays.npz")
        with np.load(file) as stored:
            arrays.append({name: stored[name] for name in stored.files if "seconds" not in name})
    assert counts[0] > 0 and counts[1] == 0
    assert arrays[0].keys() == arrays[1].keys()
    for name, values in arrays[0].items():
        np.testing.assert_array_equal(values, arrays[1][name])
