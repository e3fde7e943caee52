import json
import subprocess
import sys

import pytest

import workbench as wb
from workbench.methods import METHODS
from workbench.mixture import PRIORS
from workbench.starts import STARTS

# What importing the package must not load, so that it takes little more time than importing NumPyro: each is loaded
# by the one place that needs it.
HEAVY = [
    "arviz",
    "arviz_stats",
    "scipy.optimize",
    "scipy.stats",
    "rich",
    "matplotlib.pyplot",
    "matplotlib.figure",
    "jinja2",
    "click",
    "pandas",
    "sklearn",
    "xarray",
]


# Packages of the extras. Whoever has not installed them can do everything else.
OPTIONAL = ["arviz", "dask", "distributed", "duckdb", "pandas", "pyarrow", "sklearn", "submitit", "xarray"]

# What a run begins without: figures and pages come at its end, and a bar is drawn on a terminal only.
LATE = ["matplotlib.figure", "rich", "scipy.optimize", "scipy.stats", "workbench.report"]


def test_importing_the_package_loads_nothing_that_only_some_need():
    loaded = loaded_by("import workbench")
    assert "workbench.loop.run" in loaded
    assert loaded.isdisjoint(HEAVY)


def test_a_run_begins_without_what_it_needs_at_its_end():
    loaded = loaded_by("from workbench.cli import cli; cli.get_command(None, 'run')")
    assert "workbench.cli.run" in loaded
    assert loaded.isdisjoint(LATE)


def test_no_command_needs_an_extra() -> None:
    """The file of each command is loaded where importing any package of the extras fails."""
    loaded_by(
        f"sys.modules.update(dict.fromkeys({OPTIONAL})); import importlib, workbench.report; "
        "from workbench.cli.group import FILES; "
        "[importlib.import_module('workbench.cli.' + file) for file in set(FILES.values())]"
    )


@pytest.mark.parametrize("kind", [*METHODS.values(), *PRIORS.values(), *STARTS.values()])
def test_the_package_itself_offers_what_is_registered(kind: type) -> None:
    assert kind.__name__ in wb.__all__
    assert getattr(wb, kind.__name__) is kind


def loaded_by(program: str) -> set[str]:
    """Names of the modules that a program has loaded at its end."""
    program = f"import json, sys; {program}; print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return set(json.loads(done.stdout))
