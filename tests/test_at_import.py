"""The garbage collector is as it was once the package is imported."""

import signal
import subprocess
import sys
import time

import pytest


@pytest.mark.parametrize("before", ["enable", "disable"])
def test_the_import_leaves_the_collector_as_it_was(before: str) -> None:
    code = f"import gc; gc.{before}(); import workbench; print(gc.isenabled(), gc.get_threshold())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    plain = subprocess.run(
        [sys.executable, "-c", "import gc; print(gc.get_threshold())"], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == f"{before == 'enable'} {plain.stdout.strip()}"


@pytest.mark.parametrize(
    "way", [["-m", "workbench"], ["-c", "import sys; sys.argv[0] = 'bin/workbench'; import workbench"]]
)
def test_ctrl_c_during_the_import_of_the_command_prints_no_traceback(way: list[str]) -> None:
    """At any moment from the first import on: the process has done nothing yet, and ends by the signal."""
    for seconds in (0.3, 0.8, 1.4):
        process = subprocess.Popen([sys.executable, *way, "--help"], stderr=subprocess.PIPE, stdout=subprocess.PIPE)
        time.sleep(seconds)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate()
        assert b"Traceback" not in said, said


def test_a_program_that_imports_the_package_keeps_its_own_ctrl_c() -> None:
    code = "import signal, workbench; print(signal.getsignal(signal.SIGINT) is signal.default_int_handler)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "True"
