import json
import subprocess
import sys

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


def test_importing_the_package_loads_nothing_that_only_some_need():
    program = "import json, sys, workbench; print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    loaded = set(json.loads(done.stdout))
    assert "workbench.run" in loaded
    assert loaded.isdisjoint(HEAVY)
