"""The notebooks run from stored runs, and their two forms say the same."""

import importlib.util
import re
from pathlib import Path
from types import ModuleType
from typing import Any

import jupytext
import matplotlib.pyplot as plt
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


@pytest.fixture(scope="module")
def first() -> tuple[dict[str, Any], str]:
    """What the first notebook defines before the reader's own numbers, and the source of the cell that uses them."""
    notebook = jupytext.read(ROOT / "notebooks" / "00_em_step_by_step.py")
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    (place,) = (i for i, cell in enumerate(cells) if "own-numbers" in cell.metadata.get("tags", []))
    names: dict[str, Any] = {}
    for cell in cells[:place]:
        exec(cell.source, names)
    return names, cells[place + 1].source


@pytest.mark.parametrize(
    ("name", "stored"),
    [
        ("00_em_step_by_step", "tmp_path"),
        pytest.param("01_three_methods", "three_methods", marks=pytest.mark.slow),
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


@pytest.mark.parametrize(
    ("own", "own_means", "says"),
    [
        ([1.0, 2.5, 2.6, 3.0, 9.0, 9.5, 11.0, 30.0, 31.0, 33.0], [1.0, 10.0, 30.0], "component 3"),
        ([3.0, 4.0, 9.0], [5.0], "component 1: weight 1.000, mean 5.333"),
        ([1.0, 2.0, 3.0, 100.0], [2.0, 100.0], "collapsed"),
    ],
    ids=["three groups", "one component", "a spike"],
)
def test_the_first_notebook_takes_numbers_of_the_readers_own(
    own: list[float],
    own_means: list[float],
    says: str,
    first: tuple[dict[str, Any], str],
    capsys: pytest.CaptureFixture[str],
) -> None:
    names, cell = first
    exec(cell, names | {"own": own, "own_means": own_means})
    plt.close("all")
    shown = capsys.readouterr().out
    assert says in shown
    if says != "collapsed":
        # Both compute the same sums of at most 40 nats, and differ by rounding.
        assert float(shown.partition("differs by ")[2].split()[0]) < 1e-10


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_states_its_mathematics_before_its_figures(path: Path) -> None:
    cells = nbformat.read(path, as_version=4).cells
    drawn = next(i for i, cell in enumerate(cells) if "image/png" in str(cell.get("outputs", "")))
    before = "\n".join(cell.source for cell in cells[:drawn] if cell.cell_type == "markdown")
    displayed = re.findall(r"\$\$.+?\$\$", before, flags=re.DOTALL)
    assert len(displayed) >= 3
    assert any(
        r"\gamma_{nk} = P(z_{nk}" in formula or r"\gamma_{nk} = \mathbb{E}[z_{nk}" in formula for formula in displayed
    )


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_every_link_of_a_notebook_leads_somewhere(path: Path) -> None:
    cells = nbformat.read(path, as_version=4).cells
    text = "\n".join(cell.source for cell in cells if cell.cell_type == "markdown")
    rows = {entry.name for entry in read_ledger(EXPERIMENTS / "claims.toml")}
    anchors = set(re.findall(r'<a id="([^"]+)">', text)) | (rows if 'id="ledger"' in text else set())
    links = re.findall(r"\]\(([^)\s]+)\)", text)
    assert [link for link in links if link.startswith("#") and link[1:] not in anchors] == []
    assert [link for link in links if link.endswith(".ipynb") and not (path.parent / link).exists()] == []


@pytest.fixture
def stored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The module through which notebooks read results, for an empty folder of results."""
    monkeypatch.setenv("WORKBENCH_RESULTS", str(tmp_path))
    spec = importlib.util.spec_from_file_location("stored", ROOT / "notebooks" / "stored.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_missing_result_names_the_commands_that_make_it(stored: ModuleType) -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    with pytest.raises(FileNotFoundError, match=r"make notebooks-data.*make why") as raised:
        stored.study("rate", "make why")
    named = re.findall(r"`make ([\w-]+)`", str(raised.value))
    assert [target for target in named if not re.search(rf"^{target}:", makefile, flags=re.MULTILINE)] == []


def test_a_small_variant_is_read_where_the_full_one_is_missing_and_says_so(
    stored: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "quick" / "rate").mkdir(parents=True)
    assert stored.folder("rate", "make why") == tmp_path / "quick" / "rate"
    assert "small variant" in capsys.readouterr().out
    (tmp_path / "rate").mkdir()
    assert stored.folder("rate", "make why") == tmp_path / "rate"
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_its_script_executed(path: Path) -> None:
    notebook, script = nbformat.read(path, as_version=4), jupytext.read(path.with_suffix(".py"))
    assert [cell.source for cell in notebook.cells] == [cell.source for cell in script.cells]
    assert all(cell.execution_count for cell in notebook.cells if cell.cell_type == "code")


def _stored_verdicts() -> dict[str, str]:
    """The verdict of each claim in the table that the second notebook stores, by the claim's name."""
    cells = nbformat.read(ROOT / "notebooks" / "02_why_direct_mle_struggles.ipynb", as_version=4).cells
    html = "".join(str(cell.get("outputs", "")) for cell in cells if "ledger_table" in cell.source)
    return dict(re.findall(r'<span id="(\w+)">.*?<td class="words">(holds|fails|depends|not decided)</td>', html))


def test_the_stored_ledger_has_every_claim() -> None:
    assert set(_stored_verdicts()) == {entry.name for entry in read_ledger(EXPERIMENTS / "claims.toml")}


def test_the_readme_says_of_claims_what_the_stored_ledger_says() -> None:
    stored, text = _stored_verdicts(), (ROOT / "README.md").read_text(encoding="utf-8")
    lines = re.findall(r"^\|[^|]*\(`(\w+)`\) \| \**(holds|fails|depends|not decided)\** \|", text, flags=re.MULTILINE)
    assert len(lines) >= 20
    assert [(name, verdict) for name, verdict in lines if stored[name] != verdict] == []
    counts = [sum(found == each for found in stored.values()) for each in ("holds", "fails", "depends", "not decided")]
    assert "Of the {}, {} hold, {} fail, {} depend and {} are not\ndecided".format(len(stored), *counts) in text
