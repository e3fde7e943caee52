"""XLA logs nothing when it reads programs from the cache, whichever package is imported first."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")

# A script that reads one program from the cache, once an earlier process has put it there.
ONE_PROGRAM = "jax.jit(lambda x: x + 1)(1.0)"


def said(program: str, cache: Path, **more: str) -> str:
    """Standard error of a process with a cache that keeps every program and with no log level set."""
    unset = ("TF_CPP_MIN_LOG_LEVEL", "JAX_LOGGING_LEVEL")
    kept = {name: value for name, value in os.environ.items() if name not in unset}
    environment = kept | more | {"JAX_COMPILATION_CACHE_DIR": str(cache)}
    environment |= {
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
    }
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=environment, check=True)
    return done.stderr


def test_a_second_run_says_nothing_in_either_order_of_imports(tmp_path: Path) -> None:
    # What one order has put into the cache, the other reads as well.
    for imports in ("import jax, workbench", "import jax, workbench", "import workbench, jax"):
        before = {path.name for path in tmp_path.glob("*-cache")}
        assert said(f"{imports}; {ONE_PROGRAM}", tmp_path) == ""
        kept = {path.name for path in tmp_path.glob("*-cache")}
        assert kept and kept == (before or kept), "a program was compiled again"


def test_a_level_that_the_user_set_stays(tmp_path: Path) -> None:
    level = "import jax, workbench, os; print(os.environ['TF_CPP_MIN_LOG_LEVEL'], file=__import__('sys').stderr)"
    assert said(level, tmp_path, TF_CPP_MIN_LOG_LEVEL="2") == "2\n"
    stated = "import jax, workbench, logging, sys; print(logging.getLogger('jax').level, file=sys.stderr)"
    assert said(stated, tmp_path, JAX_LOGGING_LEVEL="ERROR") == "40\n"


def test_messages_of_jax_itself_still_come(tmp_path: Path) -> None:
    program = "import jax, workbench, logging; logging.getLogger('jax').warning('heard')"
    assert "heard" in said(program, tmp_path)


@pytest.mark.slow
def test_the_readmes_example_says_nothing_the_second_time(tmp_path: Path) -> None:
    examples = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)
    (example,) = (each for each in examples if "wb.NUTS()" in each)
    assert example.index("import jax") < example.index("import workbench")
    # The programs of one method suffice.
    example = example.replace("[wb.EM(), wb.GradientAscent(), wb.NUTS()], restarts=8", "[wb.EM()], restarts=2")
    assert "[wb.EM()]" in example
    for _ in range(2):
        assert said(example, tmp_path) == ""
