"""Odd data files and odd configs: each is read, or refused with one message of readable length; nothing else."""

import copy
import importlib
import io
import pkgutil
import random
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, get_args, get_origin

import annotated_types
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tomli_w
from click.testing import CliRunner

import workbench as wb
from workbench.cli import cli
from workbench.config import Config
from workbench.data import read_file
from workbench.errors import LINE, LINES, InputError, shown
from workbench.experiment import read_experiment
from workbench.experiment.reading import read_toml
from workbench.jobs.comparison_file import About
from workbench.methods import METHODS, Method

EXPERIMENTS = Path(__file__).parent.parent / "experiments"
BASE = np.random.default_rng(0).normal(size=(12, 2))


def npy_with_shape(shape: str) -> bytes:
    """An NPY file without numbers, whose header says so much of their shape."""
    header = f"{{'descr': '<f8', 'fortran_order': False, 'shape': {shape}, }}".encode().ljust(117) + b"\n"
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header


def of_scale(power: int) -> bytes:
    return b"u,v\n" + "".join(f"{a}e{power},{b}\n" for a, b in BASE.round(3)).encode()


def doubled() -> bytes:
    out = io.BytesIO()
    pq.write_table(pa.Table.from_arrays([pa.array([1.0, 2.0, 3.0])] * 2, names=["u", "u"]), out)
    return out.getvalue()


FILES: dict[str, tuple[str, bytes, str]] = {
    "too narrow": ("a.csv", of_scale(-171), "column 'x1' has standard deviation"),
    "too wide": ("a.csv", of_scale(160), "column 'x1' has standard deviation"),
    "doubled name": ("a.parquet", doubled(), "names column 'u' twice; give each its own name"),
    "no rows of many columns": ("a.npy", npy_with_shape("(0, 1152921504606846975)"), "no rows"),
    "many rows of no columns": ("a.npy", npy_with_shape("(1152921504606846975, 0)"), "no columns"),
    "beyond 64 bits": ("a.npy", npy_with_shape("(99999999999999999999, 0)"), "not a readable NumPy file"),
    "a cell of many characters": ("a.csv", b"u,v\n1,2\n3," + b"x" * 9000 + b"\n", "not a number"),
    "a name of many characters": ("a.csv", b"u," + b"x" * 9000 + b"\n1,2\n3,a\n", "not a number"),
    "a header of many columns": ("a.csv", ",".join(["7"] * 4000).encode() + b"\n1\n", "header is missing"),
}


@pytest.mark.parametrize("kind", FILES)
def test_an_odd_file_is_one_short_message(kind: str, tmp_path: Path) -> None:
    name, content, fragment = FILES[kind]
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError) as caught:
        wb.Problem(read_file(tmp_path / name).x, 2)
    assert fragment in str(caught.value)
    assert len(str(caught.value)) < 500 + len(str(tmp_path))


def test_a_path_that_the_system_cannot_hold_is_refused() -> None:
    with pytest.raises(InputError, match="cannot be read"):
        read_file("x" * 5000 + ".csv")


@pytest.mark.parametrize("power", [-130, 130])
def test_scales_with_room_for_their_squares_are_fitted(power: int) -> None:
    unit = 10.0**power
    problem, usual = (wb.Problem(x, 2, "full", wb.ConjugatePrior()) for x in (BASE * unit, BASE))
    traces = [wb.compare(each, [wb.EM(max_iterations=5)], restarts=1)["em"] for each in (problem, usual)]
    # A change of units by a power of ten: the same climb, but for rounding and a constant for each point.
    rises = [trace.log_likelihood[0, -1] - trace.log_likelihood[0, 0] for trace in traces]
    assert rises[0] == pytest.approx(rises[1], rel=1e-6)


# --- configs --------------------------------------------------------------------------------------------

ODD = [0, -1, 2**31, 2**62, 2**63, 10**30, -(2**64), 1e308, 5e-324, float("inf"), float("nan"), "", "x" * 5000, True]
ODD += [[], [1], {}, {"a": 2**70}, "9" * 300]


def paths(value: Any, before: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Where something stands in nested tables and arrays."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [before] * bool(before) + [path for key, one in inner for path in paths(one, (*before, key))]


def test_odd_configs_are_read_or_refused_with_a_message_of_readable_length(tmp_path: Path) -> None:
    rng, file = random.Random(0), tmp_path / "x.toml"
    shipped = [tomllib.loads(path.read_text(encoding="utf-8")) for path in sorted(EXPERIMENTS.glob("*.toml"))]
    whole = [values for values in shipped if "methods" in values and not {"study", "sweep"} & set(values)]
    refused = 0
    for _ in range(300):
        values = copy.deepcopy(rng.choice(whole))
        *parents, last = rng.choice(paths(values))
        table = values
        for key in parents:
            table = table[key]
        table[last] = copy.deepcopy(rng.choice(ODD))
        file.write_text(tomli_w.dumps(values), encoding="utf-8")
        try:
            experiment = read_experiment(file)
            if experiment.data.file is None:
                experiment.data.load(experiment.seed, tmp_path)
        except InputError as error:
            refused += 1
            lines = str(error).split("\n")
            assert len(lines) <= LINES + 1 and max(map(len, lines)) <= LINE + 10
    assert refused > 100


# The product of three sizes in 64 bits: two that a user gives, and a factor of the code's own, as the trials of a step.
OWN_FACTOR = 1000


def bounds_of(annotation: Any, metadata: Sequence[Any] = ()) -> list[int | None]:
    """The upper bound of every whole number within a field; None where it has none."""
    if get_origin(annotation) is Annotated:
        annotation, *more = get_args(annotation)
        metadata = [*metadata, *more]
    if annotation is int:
        parts = [part for each in metadata for part in getattr(each, "metadata", [each])]
        return [min((part.le for part in parts if isinstance(part, annotated_types.Le)), default=None)]
    return [bound for part in get_args(annotation) for bound in bounds_of(part, metadata)]


def whole_fields() -> dict[tuple[type[Config], str], list[int | None]]:
    """The bounds of the whole numbers of every config that a user can write."""
    for module in pkgutil.walk_packages(wb.__path__, "workbench."):
        if module.name.split(".")[1] in ("experiment", "methods", "mixture", "soundness", "starts", "studies"):
            importlib.import_module(module.name)
    kinds: list[type[Config]] = [Config]
    for kind in kinds:
        kinds += [each for each in kind.__subclasses__() if each not in kinds]
    own = [kind for kind in kinds if kind.__module__.startswith("workbench.") and kind is not About]
    found = {
        (kind, name): bounds_of(field.annotation, field.metadata)
        for kind in own
        for name, field in kind.model_fields.items()
    }
    return {place: bounds for place, bounds in found.items() if bounds}


def test_every_whole_number_of_a_config_has_a_bound_from_which_no_size_overflows() -> None:
    found = whole_fields()
    # A reader of fields that does not know a type finds none of it.
    assert len(found) > 100 and {(wb.EM, "max_iterations"), (wb.NUTS, "num_chains")} <= set(found)
    assert [(kind.__name__, name) for (kind, name), bounds in found.items() if None in bounds] == []
    largest = {place: max(each for each in bounds if each) for place, bounds in found.items()}
    sizes = [most for (_, name), most in largest.items() if name not in ("seed", "points")]
    points = [most for (_, name), most in largest.items() if name == "points"]
    assert max(sizes) ** 2 * OWN_FACTOR < 2**63 and max(sizes) * max(points) * OWN_FACTOR < 2**63


def numbers_of(kind: type[Method]) -> dict[str, int]:
    """The largest value of each whole number of a method."""
    found = {name: bounds_of(field.annotation, field.metadata) for name, field in kind.model_fields.items()}
    return {name: bounds[0] for name, bounds in found.items() if bounds and bounds[0] is not None}


@pytest.mark.parametrize("name", METHODS)
def test_a_whole_number_beyond_its_bound_is_one_line(name: str) -> None:
    for field, most in numbers_of(METHODS[name]).items():
        for beyond in (most + 1, 2**63 - 1, 2**63):
            with pytest.raises(InputError) as caught:
                METHODS[name](**{field: beyond})
            assert f"{field}: must be less than or equal to {most}, got {shown(beyond)}" in str(caught.value)
            assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", METHODS)
def test_each_bound_has_a_schedule(name: str) -> None:
    for field, most in numbers_of(METHODS[name]).items():
        marks = METHODS[name](**{field: most}).schedule().marks
        assert np.all(np.isfinite(marks)) and marks[0] > 0 and np.all(np.diff(marks) > 0)


@pytest.mark.parametrize("name", ["em", "ascent"])
def test_climbs_at_the_bound_end_by_their_own_rule(name: str) -> None:
    method = METHODS[name](**{key: most for key, most in numbers_of(METHODS[name]).items() if key == "max_iterations"})
    problem = wb.Problem(BASE, 2, "spherical", wb.ConjugatePrior())
    trace = wb.compare(problem, method, restarts=1)[name]
    assert trace.converged.all() and trace.passes[0, -1] < 10_000


def test_sizes_beyond_their_bound_are_refused_in_python() -> None:
    problem = wb.Problem(BASE, 2, "spherical")
    with pytest.raises(InputError, match=r"^restarts: must be a whole number of at most 1,000,000, got 9223372036854"):
        wb.compare(problem, "em", restarts=2**63)
    with pytest.raises(InputError, match=r"^components: must be a whole number of at most 10,000,000, got 922337203"):
        wb.Problem(BASE, 2**63)


@pytest.mark.parametrize(
    "key", ["ibis.num_samples", "tempered_smc.num_samples", "ascent.max_iterations", "cavi.num_samples"]
)
def test_a_run_beyond_its_bound_is_refused_by_the_command(key: str, tmp_path: Path) -> None:
    name, field = key.split(".")
    text = f"[data]\ndataset = 'acidity'\n[model]\ncomponents = 2\n[prior]\nfamily = 'conjugate'\n[methods.{name}]\n"
    (tmp_path / "x.toml").write_text(f"{text}{field} = {2**63 - 1}\n", encoding="utf-8")
    done = CliRunner().invoke(cli, ["run", str(tmp_path / "x.toml"), "--out", str(tmp_path)])
    assert done.exit_code == 2
    (line,) = done.output.strip().splitlines()
    assert f"x.toml: methods.{key}: must be less than or equal to" in line


@pytest.mark.parametrize(
    ("text", "fragment"),
    [
        ("a = " + "9" * 5000, "is not valid TOML"),
        ("a = " + "[" * 100_000, "is not valid TOML"),
        (f"[{'a.' * 5000}a]", " ... .a.a.a.a.a.a.a.a.a.a.a.a.a: is within more than 50 tables and lists"),
        (f"a = {'[' * 60}{']' * 60}", "a: is within more than 50 tables and lists"),
        ("seed = 18446744073709551616", "seed: 18446744073709551616 is beyond 64 bits"),
        ("[data.simulate]\npoints = 99999999999999999999", "data.simulate.points: 99999999999999999999 is beyond 64"),
    ],
)
def test_numbers_and_nesting_beyond_toml_are_refused(text: str, fragment: str, tmp_path: Path) -> None:
    (tmp_path / "x.toml").write_text(text, encoding="utf-8")
    with pytest.raises(InputError) as caught:
        read_experiment(tmp_path / "x.toml")
    assert fragment in str(caught.value)


def test_more_points_than_memory_holds_are_refused_before_they_are_drawn() -> None:
    for changes in ({"points": 2**40}, {"dimensions": 2**20}):
        with pytest.raises(InputError, match="do not fit in memory; give fewer"):
            wb.Simulator(**({"components": 2, "dimensions": 2, "points": 100, "separation": 1.0} | changes))


@pytest.mark.parametrize("setting", ["a." * 3000 + "a=1", f"a={'[' * 100}{']' * 100}"])
def test_a_setting_of_many_levels_is_refused(setting: str, tmp_path: Path) -> None:
    (tmp_path / "x.toml").write_text("seed = 1", encoding="utf-8")
    with pytest.raises(InputError, match=r"is within more than 50 tables and lists"):
        read_toml(tmp_path / "x.toml", [setting])


def test_a_setting_of_many_characters_is_cut(tmp_path: Path) -> None:
    (tmp_path / "x.toml").write_text("", encoding="utf-8")
    for setting in ("x" * 5000, "a=" + "?" * 5000, "model.components=" + "9" * 5000):
        with pytest.raises(InputError) as caught:
            read_experiment(tmp_path / "x.toml", [setting])
        assert len(str(caught.value)) < 600 + len(str(tmp_path))


def test_a_value_is_shown_by_its_beginning_and_its_end() -> None:
    assert shown("short") == "'short'"
    assert shown("a" * 200 + "z").startswith("'aaa") and shown("a" * 200 + "z").endswith("z'")
    assert len(shown(list(range(10_000)))) < 90
    assert shown(10**5000) == "a number of very many digits"
    message = str(InputError("\n".join(f"line {n}: {'x' * 5000}; remedy" for n in range(50))))
    assert message.count("\n") == LINES and message.endswith("... and 30 more") and "; remedy" in message


def test_a_config_of_megabytes_is_refused_unread(tmp_path: Path) -> None:
    file = tmp_path / "many.toml"
    file.write_text(f"[sweep.grid]\nseed = {list(range(10**6))}\n")
    with pytest.raises(InputError, match=r"many\.toml: is of 7,888,911 bytes; give a TOML file of at most 4,194,304$"):
        read_toml(file)
