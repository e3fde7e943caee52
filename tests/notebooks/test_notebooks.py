"""The notebooks run from stored runs, and their two forms say the same."""

from pathlib import Path

import jupytext
import nbclient
import nbformat
import pytest

import workbench as wb

ROOT = Path(__file__).parent.parent.parent
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))

# Enough for a notebook to have something to show; what a chain of this length says is not the test's business.
SHORT = ("methods.nuts.num_warmup=50", "methods.nuts.num_samples=50", "methods.nuts.num_chains=2")


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("results")
    experiment = wb.read_experiment(ROOT / "experiments" / "old_faithful.toml", SHORT)
    wb.run_experiment(experiment, name="old_faithful", out=folder / "old_faithful")
    return folder


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
# jupyter_client tells of its transport; nothing that a notebook could change.
@pytest.mark.filterwarnings("default")
def test_a_notebook_runs_from_stored_runs(path: Path, results: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORKBENCH_RESULTS", str(results))
    notebook = nbformat.read(path, as_version=4)
    nbclient.NotebookClient(notebook, timeout=240, resources={"metadata": {"path": str(path.parent)}}).execute()
    outputs = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    assert sum("image/png" in output.get("data", {}) for output in outputs) >= 3
    assert not [output for output in outputs if output.output_type == "stream" and output.name == "stderr"]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_its_script_executed(path: Path) -> None:
    notebook, script = nbformat.read(path, as_version=4), jupytext.read(path.with_suffix(".py"))
    assert [cell.source for cell in notebook.cells] == [cell.source for cell in script.cells]
    assert all(cell.execution_count for cell in notebook.cells if cell.cell_type == "code")
