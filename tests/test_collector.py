"""The garbage collector is as it was once the package is imported."""

import subprocess
import sys

import pytest


@pytest.mark.parametrize("before", ["enable", "disable"])
def test_the_import_leaves_the_collector_as_it_was(before: str) -> None:
    code = f"import gc; gc.{before}(); import workbench; print(gc.isenabled(), gc.get_threshold())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    plain = subprocess.run(
        [sys.executable, "-c", "import gc; print(gc.get_threshold())"], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == f"{before == 'enable'} {plain.stdout.strip()}"
