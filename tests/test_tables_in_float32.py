"""Every table says that it was computed in float32."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest

from workbench.compare import compare
from workbench.compare.errors import errors_of
from workbench.compare.estimates import estimates_of, numbers_of
from workbench.methods import EM
from workbench.problem import Problem

# Every table of a run in float32, in a process of its own, because JAX is told its precision once.
PROGRAM = """
import json, sys
from pathlib import Path
from click.testing import CliRunner
import workbench as wb
from workbench.cli import cli

def command(*words):
    result = CliRunner().invoke(cli, words, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout

config = 'restarts = 2\\n[data]\\ndataset = "iris"\\n[model]\\ncomponents = 2\\n[methods.em]\\n'
Path("a.toml").write_text(config)
said = {"run": command("run", "a.toml", "--out", "a")}
for form in ("table", "latex", "markdown", "csv", "json"):
    said[f"estimates {form}"] = command("estimates", "a", "--format", form)
    said[f"estimates --errors {form}"] = command("estimates", "a", "--errors", "observed", "--format", form)
    said[f"errors {form}"] = command("errors", "a.toml", "--out", "a", "--ways", "observed", "--format", form)
for form in ("table", "csv", "json"):
    said[f"table {form}"] = command("table", "a", "--format", form)
said["table --columns"] = command("table", "a", "--columns", "method,passes")
said["sweep"] = command("run", "a.toml", "--sweep", "seed=[0, 1]", "--out", "swept")
dataset = wb.load_dataset("iris")
comparison = wb.compare(wb.Problem(dataset, 2), [wb.EM()], restarts=2)
estimates, errors = wb.estimates_of(comparison, "em"), wb.errors_of(comparison, "em", "observed")
said |= {"estimates_of": str(estimates), "errors_of": str(errors), "cross_table": str(wb.cross_table(comparison))}
said |= {"Estimates page": estimates._repr_html_(), "Errors page": errors._repr_html_()}
said |= {f"{name} frame": str(each.to_dataframe().to_dict()) for name, each in
         (("Estimates", estimates), ("Errors", errors))}
json.dump(said, sys.stdout)
"""
FORMS = ("table", "latex", "markdown", "csv", "json")
TABLES = [
    "run", "sweep", "estimates_of", "errors_of", "cross_table", "Estimates page", "Errors page", "Estimates frame",
    "Errors frame", "table table", "table csv", "table json", "table --columns",
    *(f"{command} {form}" for command in ("estimates", "estimates --errors", "errors") for form in FORMS),
]  # fmt: skip


@pytest.fixture(scope="module")
def said(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What each table says when it is computed in float32."""
    environment = os.environ | {"JAX_ENABLE_X64": "false"}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], cwd=tmp_path_factory.mktemp("single"), env=environment, capture_output=True,
        text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout))


@pytest.mark.parametrize("name", TABLES)
def test_every_table_says_that_it_was_computed_in_float32(said: dict[str, str], name: str) -> None:
    assert "float32" in said[name]


def test_no_table_is_left_untried(said: dict[str, str]) -> None:
    assert sorted(said) == sorted(TABLES)


def test_float64_is_said_in_numbers_and_not_in_words() -> None:
    comparison = compare(Problem(np.random.default_rng(0).normal(size=(50, 1)), 1), [EM()], restarts=1)
    estimates, errors = estimates_of(comparison, "em"), errors_of(comparison, "em", "observed")
    assert "float" not in f"{estimates}{errors}"
    assert numbers_of([estimates]).rows[0]["dtype"] == errors.table(exact=True).rows[0]["dtype"] == "float64"
