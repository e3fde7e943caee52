"""Devices never wait for each other for ever: XLA's pool has a thread more than can come to wait at once."""

import os
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import every_program
import pytest
from patience import LONG

from workbench.engine.devices import WAITING
from workbench.methods import METHODS

# Handlers of LAPACK that wait, on a thread of XLA's pool, for pieces that only the pool computes: singular values of a
# batch. Seen in the stack of a program that hung; no other handler waits there.
WAIT = re.compile(r'custom_call_target="lapack_[sdcz]gesdd_ffi"')
MEET = re.compile(r" (all-reduce|all-gather|all-to-all|collective-permute)(-start)?\(")

OTHERS = ("diagnostics", "bounded_ratio", "matrix_logarithm")

CASES = [("full", name) for name in (*METHODS, *OTHERS)] + [
    ("tied", name) for name in ("em", "anderson", "diagnostics")
]


def environment(**changes: str) -> dict[str, str]:
    """That of a process whose devices are two, whatever the machine has."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("JAX_", "XLA_", "NPROC"))}
    return kept | {"JAX_NUM_CPU_DEVICES": "2", "JAX_ENABLE_COMPILATION_CACHE": "false"} | changes


@pytest.mark.slow
@pytest.mark.parametrize(("family", "name"), CASES)
def test_no_program_of_several_devices_can_hold_up_more_threads_than_the_pool_has_to_spare(
    family: str, name: str, tmp_path: Path
) -> None:
    written = f"--xla_dump_to={tmp_path} --xla_dump_hlo_as_text --xla_dump_hlo_pass_re=none"
    command = [sys.executable, every_program.__file__, family, name]
    subprocess.run(command, env=environment(XLA_FLAGS=written), check=True, timeout=LONG)
    held: Counter[str] = Counter()
    met = 0
    for file in tmp_path.glob("*after_optimizations.txt"):
        program = file.read_text(encoding="utf-8")
        if "num_partitions=2" in program.partition("\n")[0]:
            meets = bool(MEET.search(program))
            met += meets
            held[file.name] = len(WAIT.findall(program)) + meets
    assert met > 0, "no program of two devices was read"
    assert {file: number for file, number in held.items() if number > WAITING} == {}


POOL = """
import os, jax
import workbench as wb
begun = {begun} and jax.devices()
mesh = wb.Problem([[0.0], [1.0], [5.0], [6.0]], 2, devices={devices}).rows.mesh
print(os.environ.get("NPROC"), 1 if mesh is None else mesh.size)
"""


def pool(begun: bool = False, devices: int | None = None, **changes: str) -> subprocess.CompletedProcess[str]:
    """The width that XLA is told, and how many devices share a problem."""
    command = [sys.executable, "-c", POOL.format(begun=begun, devices=devices)]
    return subprocess.run(command, env=environment(**changes), capture_output=True, text=True, timeout=LONG)


def test_the_pool_is_wider_than_what_devices_wait_for() -> None:
    assert pool(JAX_NUM_CPU_DEVICES="8").stdout == f"{8 * WAITING + 1} 8\n"


def test_a_pool_that_the_user_states_or_that_has_begun_is_given_no_more_devices_than_it_serves() -> None:
    narrow = pool(NPROC="5", JAX_NUM_CPU_DEVICES="4")
    assert narrow.stdout == "5 2\n"
    refused = pool(NPROC="5", JAX_NUM_CPU_DEVICES="4", devices=4)
    assert refused.returncode != 0
    assert "devices: 4 could wait for each other for ever on the 5 threads of XLA's pool; call" in refused.stderr
    # As many threads as devices, or as cores if these are more.
    devices = 2 * (os.cpu_count() or 1)
    late = pool(begun=True, JAX_NUM_CPU_DEVICES=str(devices))
    assert late.stdout == f"None {max(1, (devices - 1) // WAITING)}\n"
