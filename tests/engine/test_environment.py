"""Environment variables that JAX cannot read give one clear message, on the command line and in Python."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from workbench.engine.compat.environment import unreadable


@pytest.mark.parametrize(
    ("name", "wrong", "right"),
    [
        ("JAX_NUM_CPU_DEVICES", ["abc", "", "0", "-3", "1.5"], ["1", "4"]),
        ("JAX_ENABLE_X64", ["maybe", "", "2"], ["1", "0", "true", "False", "yes", "off"]),
        ("JAX_DEBUG_NANS", ["oops"], ["true"]),
        ("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", ["soon"], ["0", "0.2"]),
        ("JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES", ["0.5"], ["-1", "0"]),
        ("XLA_FLAGS", ["hello", "nowhere --xla_a=1"], ["", "--xla_a=1 --xla_b", f"{__file__}"]),
    ],
)
def test_what_jax_cannot_read_is_known_before_it_is_imported(name: str, wrong: list[str], right: list[str]) -> None:
    assert all(list(unreadable({name: value})) == [name] for value in wrong)
    assert not any(unreadable({name: value}) for value in right)
    assert not unreadable({})


def ended(*words: str, **changes: str) -> tuple[int, str]:
    """Exit status and standard error of a process, whose standard output must be empty."""
    done = subprocess.run(
        [sys.executable, *words], capture_output=True, text=True, env=os.environ | changes, check=False
    )
    assert done.stdout == ""
    return done.returncode, done.stderr


def test_the_command_names_every_variable_its_value_and_the_remedy(tmp_path: Path) -> None:
    status, said = ended("-m", "workbench", "compare", str(tmp_path), JAX_NUM_CPU_DEVICES="abc", JAX_ENABLE_X64="maybe")
    assert status == 2
    assert said.splitlines() == [
        "Error: JAX_NUM_CPU_DEVICES: must be a whole number of at least 1, got 'abc'; set it so, or leave it out",
        "JAX_ENABLE_X64: must be true or false, got 'maybe'; set it so, or leave it out",
    ]


@pytest.mark.parametrize("platform", ["nonsense", "cuda"])
def test_a_platform_without_devices_is_one_message(tmp_path: Path, platform: str) -> None:
    file = tmp_path / "mine.toml"
    file.write_text("data.dataset = 'faithful'\nmodel.components = 1\nmethods.em = {}\n", encoding="utf-8")
    status, said = ended("-m", "workbench", "validate", str(file), JAX_PLATFORMS=platform)
    assert status == 2
    assert said.startswith(f"Error: {file}: JAX_PLATFORMS={platform}: JAX has no device (")
    assert said.endswith("; set JAX_PLATFORMS=cpu, or leave it out\n")


def test_in_python_a_problem_is_refused() -> None:
    program = (
        "import workbench as wb, sys\n"
        "try: wb.Problem([0.0, 1.0, 3.0], 1)\n"
        "except wb.InputError as error: print(error, file=sys.stderr)"
    )
    status, said = ended("-c", program, JAX_ENABLE_X64="maybe")
    assert (status, said) == (0, "JAX_ENABLE_X64: must be true or false, got 'maybe'; set it so, or leave it out\n")
