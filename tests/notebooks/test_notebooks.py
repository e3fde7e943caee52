"""The notebooks run from stored runs, and their two forms say the same."""

from pathlib import Path

import jupytext
import nbclient
import nbformat
import pytest
from patience import LONG

import workbench as wb
from workbench.claims import read_ledger
from workbench.jobs.atlas import map_experiment
from workbench.jobs.claims import run_claims

ROOT = Path(__file__).parent.parent.parent
EXPERIMENTS = ROOT / "experiments"
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))

# Enough for a notebook to have something to show; what a chain of this length says is not the test's business.
SHORT = ("methods.nuts.num_warmup=50", "methods.nuts.num_samples=50", "methods.nuts.num_chains=2")

WAITING = "{ name = 'w', data = { dataset = 'faithful', columns = ['waiting'] }, model = { components = 2 } }"
CHART = "charts=[{ name = 'c', weights = 'log_ratio', scales = 'log_cholesky' }]"
SMALL_STUDIES = {
    "coupling": ("components=[2]", "separations=[3.0]", "points=100", "replications=1", "restarts=1"),
    "escape": (f"subjects=[{WAITING[:-1]}, rows = [0] }}]", "widths=6", "steps=1", "restarts=2", "iterations=5"),
    "remedies": (
        "datasets=1",
        "restarts=2",
        "maps=[{ points = [40], dimensions = [1], components = [2], separation = [1.0, 2.0] }]",
        "remedies=[{ name = 'none', methods = ['em'] }, { name = 'floor', methods = ['em_floor'] }]",
        "methods={ em = { max_iterations = 20 }, em_floor = { max_iterations = 20 } }",
    ),
    "stability": (f"subjects=[{WAITING}]", CHART, "factors=[0.5, 1.5]", "max_passes=50"),
    "coordinates": (
        f"subjects=[{WAITING}]",
        CHART,
        "restarts=2",
        "methods={ em = {}, gradient = { method = 'ascent', optimizer = 'gradient', max_iterations = 20 } }",
    ),
    "rate": (
        f"subjects=[{WAITING}]",
        "separations=[2.0, 4.0]",
        "points=100",
        "replications=1",
        "restarts=1",
        "limit=2000",
    ),
    "overspecified": ("points=[100, 400, 1600]", "replications=10"),
    "bad_optima": ("components=[2]", "points=20", "restarts=4", "methods={ em = { max_iterations = 50 } }"),
}
EM_ONLY = ("restarts=4", "methods={ em = {} }")

CHAINS = ("methods={ nuts = { num_warmup = 50, num_samples = 50, num_chains = 2 } }",)
SMALL_POSTERIORS = {
    "two_labelings": CHAINS,
    "collapsed_ridge": CHAINS,
    "two_overlapping": (
        "methods={ gibbs = { num_warmup = 50, num_samples = 100 }, tempered_smc = { num_samples = 50 }, cavi = {} }",
    ),
}
SMALL_BAYES = {
    "calibration": (
        "replications=10",
        "draws=7",
        "bins=4",
        "methods={ gibbs = { num_warmup = 20, num_samples = 50 } }",
    ),
    "standard_errors": ("replicates=20", f"subjects=[{WAITING}]"),
    "coverage": (
        "separations=[4.0]",
        "points=[50]",
        "replications=10",
        "resampled=10",
        "replicates=20",
        "bootstrapped=1",
    ),
}
SELECTED = ("prior.family=conjugate", "restarts=2", "methods={ em = {}, tempered_smc = { num_samples = 50 } }")


@pytest.fixture
def three_methods(tmp_path: Path) -> Path:
    """What `make notebooks` stores for the first."""
    experiment = wb.read_experiment(EXPERIMENTS / "old_faithful.toml", SHORT)
    wb.run_experiment(experiment, name="old_faithful", out=tmp_path / "old_faithful")
    return tmp_path


@pytest.fixture
def why(tmp_path: Path) -> Path:
    """What `make why` stores for the second, much smaller."""
    for name in ("faithful_waiting", "galaxies"):
        experiment = wb.read_experiment(EXPERIMENTS / f"{name}.toml", EM_ONLY)
        wb.run_experiment(experiment, name=name, out=tmp_path / name)
    map_experiment(experiment, starts=8, name="galaxies", out=tmp_path / "galaxies")
    for name, settings in SMALL_STUDIES.items():
        wb.run_study(wb.read_study(EXPERIMENTS / f"{name}.toml", settings), out=tmp_path / name)
    ledger = read_ledger(EXPERIMENTS / "claims.toml", quick=True)
    run_claims(ledger, only=["log_of_sum"], out=tmp_path, quick=True)
    return tmp_path


@pytest.fixture
def posterior(tmp_path: Path) -> Path:
    """What `make posterior` stores for the third, much smaller."""
    for name, settings in SMALL_POSTERIORS.items():
        experiment = wb.read_experiment(EXPERIMENTS / f"{name}.toml", settings)
        wb.run_experiment(experiment, name=name, out=tmp_path / name, folder=EXPERIMENTS)
    for name, settings in SMALL_BAYES.items():
        wb.run_study(wb.read_study(EXPERIMENTS / f"{name}.toml", settings), out=tmp_path / name)
    galaxies = wb.read_experiment(EXPERIMENTS / "galaxies.toml", SELECTED)
    wb.select(galaxies, [1, 2], name="galaxies", out=tmp_path / "galaxies")
    ledger = read_ledger(EXPERIMENTS / "claims.toml", quick=True)
    run_claims(ledger, only=["log_of_sum"], out=tmp_path, quick=True)
    return tmp_path


@pytest.mark.parametrize(
    ("name", "stored"),
    [
        ("01_three_methods", "three_methods"),
        pytest.param("02_why_direct_mle_struggles", "why", marks=pytest.mark.slow),
        pytest.param("03_the_posterior", "posterior", marks=[pytest.mark.slow, pytest.mark.timeout(3600)]),
    ],
)
# jupyter_client tells of its transport; nothing that a notebook could change.
@pytest.mark.filterwarnings("default")
def test_a_notebook_runs_from_stored_runs(
    name: str, stored: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = ROOT / "notebooks" / f"{name}.ipynb"
    monkeypatch.setenv("WORKBENCH_RESULTS", str(request.getfixturevalue(stored)))
    notebook = nbformat.read(path, as_version=4)
    nbclient.NotebookClient(notebook, timeout=int(LONG), resources={"metadata": {"path": str(path.parent)}}).execute()
    outputs = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    assert sum("image/png" in output.get("data", {}) for output in outputs) >= 3
    assert not [output for output in outputs if output.output_type == "stream" and output.name == "stderr"]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_its_script_executed(path: Path) -> None:
    notebook, script = nbformat.read(path, as_version=4), jupytext.read(path.with_suffix(".py"))
    assert [cell.source for cell in notebook.cells] == [cell.source for cell in script.cells]
    assert all(cell.execution_count for cell in notebook.cells if cell.cell_type == "code")
