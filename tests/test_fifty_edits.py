"""Fifty edits of the code: each makes stale the cells that can depend on it, and no other.

An edit changes one number or one operator of a module, as a slip of the hand would.
"""

import ast
import os
import random
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from patience import LONG
from test_provenance import EM, EXPERIMENTS, GIBBS, ROOT

from workbench import provenance
from workbench.claims.ledger import read_ledger
from workbench.experiment.provenance import provenance_of
from workbench.jobs.atlas import made_by_now
from workbench.provenance import PACKAGE, Provenance, Source
from workbench.selection.criteria import scored
from workbench.studies.reading import read_study

# Cells, by a letter: runs of EM and of Gibbs under the conjugate prior from random points, full covariances; an atlas
# by that EM; the studies `coupling` and `rate`; a choice of K by that Gibbs; the claim that EM slows with overlap.
CELLS = "EGASRKC"

# The modules that are edited, by the cells whose numbers they can decide: of a method, a prior, a rule of starts, a
# study, a check those that use it; of what all rest on, all; of what is shown, stored and typed, none. Families of
# covariances are used through each other, and count together.
EDITS = {
    "EGASRKC": """
        methods.base mixture.mixture mixture.arithmetic mixture.covariance.full mixture.covariance.tied
        mixture.covariance.diagonal mixture.covariance.stored mixture.prior.base engine.one_pass engine.rows
        engine.layout engine.keys soundness loop.run
    """,
    "EGARKC": "methods.parts",
    "EARKC": "methods.em",
    "ASRKC": "charts.coordinates",
    "SRKC": "methods.gradient_ascent methods.line_search methods.directions",
    "EGAK": "mixture.prior.conjugate",
    "EGAKC": "starts.plain",
    "ASRC": "geometry.curvature geometry.stationary",
    "EGK": "diagnostics.status",
    "EGKC": "diagnostics.convergence compare.comparison",
    "SRC": "geometry.rate studies.subjects studies.base",
    "GK": "methods.gibbs mixture.prior.update",
    "RC": "methods.accelerated studies.rate",
    "EG": "diagnostics.agreement jobs.setting",
    "AC": "diagnostics.proportion",
    "K": """
        methods.nuts methods.ibis methods.population methods.tempered_smc selection.nesting
        selection.posterior_criteria selection.fit_criteria selection.candidate numpyro_model
    """,
    "S": "geometry.coupling studies.coupling",
    "A": "geometry.atlas",
    "C": "claims.checks.rates claims.statistics claims.decision",
    "": """
        methods.riemannian methods.newton mixture.prior.chen_tan mixture.prior.bounded_ratio diagnostics.calibration
        geometry.singularity report.study_page claims.checks.posterior claims.checks.climbs selection.selection
        posterior.summary compare.table report.page cli.run jobs.store
    """,
}
EACH = [(module, letters) for letters, modules in EDITS.items() for module in modules.split()]


@pytest.fixture(scope="module")
def cells() -> dict[str, Provenance]:
    (claim,) = [entry for entry in read_ledger(EXPERIMENTS / "claims.toml") if entry.name == "slows_with_overlap"]
    made = (
        provenance_of(EM, "em"),
        provenance_of(GIBBS, "gibbs"),
        made_by_now(EM.methods["em"], EM.starts, EM),
        Provenance.of(read_study(EXPERIMENTS / "coupling.toml")),
        Provenance.of(read_study(EXPERIMENTS / "rate.toml")),
        Provenance.of(scored, GIBBS.methods, GIBBS.starts, GIBBS.prior, GIBBS.soundness),
        claim.made_by,
    )
    return dict(zip(CELLS, made, strict=True))


class Slip(ast.NodeTransformer):
    """Changes one of the numbers and operators of a tree."""

    def __init__(self, place: int) -> None:
        self.place, self.met = place, 0

    def _is_it(self) -> bool:
        self.met += 1
        return self.met - 1 == self.place

    def visit_Constant(self, node: ast.Constant) -> ast.Constant:
        is_number = isinstance(node.value, int | float) and not isinstance(node.value, bool)
        return ast.Constant(node.value + 1) if is_number and self._is_it() else node

    def visit_BinOp(self, node: ast.BinOp) -> ast.AST:
        self.generic_visit(node)
        swapped = {ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult}.get(type(node.op))
        return ast.BinOp(node.left, swapped(), node.right) if swapped is not None and self._is_it() else node


def slipped(text: bytes, seed: int) -> str:
    """The text with one change of chance."""
    count = Slip(-1)
    count.visit(ast.parse(text))
    changed = Slip(random.Random(seed).randrange(count.met)).visit(ast.parse(text))
    return ast.unparse(ast.fix_missing_locations(changed))


def as_if(module: str, text: str, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A place at which the package seems to lie with another text of one module."""
    sources, place, name = provenance._sources(ROOT), Path("/edited") / module, f"{PACKAGE}.{module}"
    there = {**sources, name: Source(text.encode(), sources[name].is_package)}
    monkeypatch.setattr(provenance, "_sources", lambda root: there if root == place else sources)
    return place


def text_of(module: str) -> bytes:
    return provenance._sources(ROOT)[f"{PACKAGE}.{module}"].text


def test_they_are_fifty() -> None:
    assert len({module for module, _ in EACH}) == len(EACH) >= 50


@pytest.mark.parametrize(("module", "letters"), EACH, ids=[module for module, _ in EACH])
def test_an_edit_makes_stale_the_cells_that_can_depend_on_it_and_no_other(
    module: str, letters: str, cells: dict[str, Provenance], monkeypatch: pytest.MonkeyPatch
) -> None:
    place = as_if(module, slipped(text_of(module), seed=len(module)), monkeypatch)
    now = {letter: Provenance.from_roots(made_by.roots, place) for letter, made_by in cells.items()}
    stale = {letter for letter, made_by in cells.items() if now[letter].why_stale(made_by.to_dict()) is not None}
    assert stale == set(letters)


@pytest.mark.parametrize("module", ["methods.gibbs", "engine.one_pass", "soundness", "studies.rate"])
def test_to_write_it_otherwise_is_no_edit(
    module: str, cells: dict[str, Provenance], monkeypatch: pytest.MonkeyPatch
) -> None:
    text = ast.unparse(ast.parse(text_of(module)))
    assert "# " in text_of(module).decode() and "\n# " not in text
    place = as_if(module, text, monkeypatch)
    assert all(Provenance.from_roots(made_by.roots, place) == made_by for made_by in cells.values())


CONFIG = """
restarts = 2
prior = { family = "conjugate" }
starts = { rule = "random_points" }
data.simulate = { components = 2, dimensions = 2, points = 60, separation = 4.0 }
model = { components = 2, labels = "free" }
methods.em = { max_iterations = 30 }
methods.gibbs = { num_samples = 20, num_warmup = 10 }
"""


@pytest.mark.slow
@pytest.mark.timeout(4 * LONG)
def test_the_command_runs_again_exactly_what_an_edit_can_have_changed(tmp_path: Path) -> None:
    root, out = tmp_path / PACKAGE, tmp_path / "out"
    shutil.copytree(ROOT, root, ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "both.toml").write_text(CONFIG)

    def run() -> dict[str, Any]:
        words = [sys.executable, "-m", PACKAGE, "run", str(tmp_path / "both.toml"), "--out", str(out), "--quiet"]
        environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
        subprocess.run(words, env=environment, cwd=tmp_path, capture_output=True, timeout=LONG, check=True)
        # A cell that is run again is another file.
        return {file.parent.name.partition("-")[0]: file.stat().st_ino for file in out.glob("cells/*/manifest.json")}

    before = run()
    assert set(before) == {"em", "gibbs"}
    for module, again in (
        ("methods.em", {"em"}),
        ("methods.gibbs", {"gibbs"}),
        ("methods.nuts", set()),
        ("report.page", set()),
        ("diagnostics.status", {"em", "gibbs"}),
    ):
        file = root.joinpath(*module.split(".")).with_suffix(".py")
        # No number changes, so that what is edited still runs; the code is other code all the same.
        file.write_text(file.read_text() + "\n\n_EDITED = 1\n")
        after = run()
        assert {name for name in after if after[name] != before[name]} == again, module
        before = after
