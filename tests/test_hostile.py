"""Odd data files and odd configs: each is read, or refused with one message of readable length; nothing else."""

import copy
import io
import random
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tomli_w

import workbench as wb
from workbench.data import read_file
from workbench.errors import LINE, LINES, InputError, shown
from workbench.experiment import read_experiment
from workbench.experiment.reading import read_toml

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
