"""The code on which results depend is derived from imports: all of it, and only what can affect them."""

import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
from patience import LONG

import workbench
from workbench.experiment import Experiment
from workbench.experiment.provenance import provenance_of
from workbench.jobs.atlas import made_by_now, map_experiment
from workbench.jobs.experiment import run_experiment
from workbench.jobs.study import run_study
from workbench.provenance import PACKAGE, UNKNOWN, Provenance, modules_of, why_stale
from workbench.selection.criteria import scored
from workbench.studies.reading import read_study

ROOT = Path(workbench.__file__).parent
EXPERIMENTS = ROOT.parent / "experiments"


def experiment(**methods: Any) -> Experiment:
    """Two groups in the plane."""
    simulate = {"components": 2, "dimensions": 2, "points": 60, "separation": 4.0}
    return Experiment.model_validate(
        {
            "restarts": 2,
            "data": {"simulate": simulate},
            "model": {"components": 2, "labels": "free"},
            "prior": {"family": "conjugate"},
            "starts": {"rule": "random_points"},
            "methods": {name: {"method": name, **settings} for name, settings in methods.items()},
        }
    )


EM = experiment(em={"max_iterations": 30})
GIBBS = experiment(gibbs={"num_samples": 20, "num_warmup": 10})


def modules(made_by: Provenance) -> frozenset[str]:
    return modules_of(frozenset(made_by.roots))


def edited(folder: Path, module: str, text: str) -> Path:
    """A copy of the package's sources with one more line in one of them."""
    root = folder / PACKAGE
    shutil.copytree(ROOT, root, ignore=lambda at, names: [n for n in names if "." in n and not n.endswith(".py")])
    with (root / module).open("a") as file:
        file.write(text)
    return root


# A module, and which of these depend on it: runs of EM and Gibbs, an atlas by EM, the study `coupling`, a choice of K.
DEPENDS = (
    ("methods/em.py", (True, False, True, False, True)),
    ("methods/gibbs.py", (False, True, False, False, True)),
    ("engine/one_pass.py", (True, True, True, True, True)),
    ("mixture/prior/conjugate.py", (True, True, True, False, True)),
    ("mixture/prior/chen_tan.py", (False, False, False, False, False)),
    ("starts/plain.py", (True, True, True, False, True)),
    ("diagnostics/convergence.py", (True, True, False, False, True)),
    ("geometry/stationary.py", (False, False, True, True, False)),
    ("studies/coupling.py", (False, False, False, True, False)),
    ("studies/rate.py", (False, False, False, False, False)),
    ("soundness.py", (True, True, True, True, True)),
    ("engine/keys.py", (True, True, True, True, True)),
    ("report/page.py", (False, False, False, False, False)),
    ("plots/fit.py", (False, False, False, False, False)),
    ("cli/run.py", (False, False, False, False, False)),
    ("compare/table.py", (False, False, False, False, False)),
    ("selection/posterior_criteria.py", (False, False, False, False, True)),
    ("selection/selection.py", (False, False, False, False, False)),
    ("export.py", (False, False, False, False, False)),
)


@pytest.mark.parametrize(("module", "depends"), DEPENDS, ids=[module for module, _ in DEPENDS])
def test_an_edit_makes_stale_what_can_depend_on_it_and_nothing_else(
    module: str, depends: tuple[bool, ...], tmp_path: Path
) -> None:
    jobs = (
        provenance_of(EM, "em"),
        provenance_of(GIBBS, "gibbs"),
        made_by_now(EM.methods["em"], EM.starts, EM),
        Provenance.of(read_study(EXPERIMENTS / "coupling.toml")),
        Provenance.of(scored, GIBBS.methods, GIBBS.starts, GIBBS.prior, GIBBS.soundness),
    )
    root = edited(tmp_path, module, "\n_EDITED = 1\n")
    found = tuple(Provenance.from_roots(job.roots, root).why_stale(job.to_dict()) is not None for job in jobs)
    assert found == depends


GLUE_EDITS = (
    ("jobs/setting.py", (True, True, False)),
    ("experiment/config.py", (True, True, True)),
    ("jobs/atlas.py", (False, False, True)),
)


@pytest.mark.parametrize(("module", "depends"), GLUE_EDITS, ids=[module for module, _ in GLUE_EDITS])
def test_what_hands_settings_over_counts_and_what_it_imports_does_not(
    module: str, depends: tuple[bool, ...], tmp_path: Path
) -> None:
    jobs = (provenance_of(EM, "em"), provenance_of(GIBBS, "gibbs"), made_by_now(EM.methods["em"], EM.starts, EM))
    root = edited(tmp_path, module, "\n_EDITED = 1\n")
    assert tuple(Provenance.from_roots(job.roots, root).code != job.code for job in jobs) == depends
    assert all("workbench.jobs.store" not in modules(job) for job in jobs)


def test_words_for_people_make_nothing_stale(tmp_path: Path) -> None:
    made_by = provenance_of(EM, "em")
    root = edited(tmp_path, "methods/em.py", "")
    text = (root / "methods/em.py").read_text()
    changed = text.replace('"expectation-maximisation; ', '"EM; ').replace('"stop when ', '"stop as soon as ')
    assert changed.count("EM; ") == changed.count("as soon as") == 1
    (root / "methods/em.py").write_text(changed)
    assert Provenance.from_roots(made_by.roots, root) == made_by


def test_code_whose_sources_cannot_be_read_is_never_the_same(tmp_path: Path) -> None:
    made_by = Provenance.from_roots(["workbench.loop.run"], tmp_path)
    assert made_by.why_stale(made_by.to_dict()) == UNKNOWN
    assert why_stale(Provenance.from_roots(["workbench.loop.run"]).to_dict()) is None


def test_code_that_is_edited_while_it_runs_is_the_code_that_was_imported(tmp_path: Path) -> None:
    root = edited(tmp_path, "methods/em.py", "")
    before = Provenance.from_roots(["workbench.engine.keys"], root)
    (root / "methods/em.py").write_text("EDITED = 1\n")
    after = Provenance.from_roots(["workbench.methods.em"], root)
    assert after.code == Provenance.from_roots(["workbench.methods.em"]).code
    assert before.code == Provenance.from_roots(["workbench.engine.keys"]).code


@pytest.mark.parametrize(
    "made_by",
    [None, [], "text", 3, {"roots": 3}, {"roots": [1]}, {"roots": ["os", "..", "workbench./etc/passwd", "a" * 5000]}],
)
def test_a_record_that_says_nothing_of_use_is_stale_in_a_few_words(made_by: Any) -> None:
    assert why_stale(made_by) == UNKNOWN
    if isinstance(made_by, dict):
        assert why_stale({**made_by, "versions": {}, "code": "x"}) == UNKNOWN


def test_what_a_record_says_of_itself_is_cut() -> None:
    made_by = provenance_of(EM, "em")
    versions = dict.fromkeys((f"package{i}\n" for i in range(1000)), "1" * 10**5)
    said = str(made_by.why_stale(made_by.to_dict() | {"versions": versions, "workbench": "\x1b[31m" * 10**6}))
    assert len(said) < 600
    assert said.isprintable()


@pytest.mark.parametrize("text", ["\n# A comment.\n", "\n\n\n"])
def test_a_comment_makes_nothing_stale(text: str, tmp_path: Path) -> None:
    made_by = provenance_of(EM, "em")
    root = edited(tmp_path, "methods/em.py", text)
    assert Provenance.from_roots(made_by.roots, root) == made_by


def test_a_docstring_makes_nothing_stale(tmp_path: Path) -> None:
    made_by = provenance_of(EM, "em")
    root = edited(tmp_path, "engine/keys.py", "")
    text = (root / "engine/keys.py").read_text()
    (root / "engine/keys.py").write_text(text.replace('"""', '"""More. ', 1))
    assert Provenance.from_roots(made_by.roots, root) == made_by


def test_another_version_of_a_package_is_stale() -> None:
    made_by = provenance_of(EM, "em")
    stored = made_by.to_dict()
    assert made_by.why_stale(stored) is None
    assert "jax 0.0.1" in str(made_by.why_stale(stored | {"versions": {**stored["versions"], "jax": "0.0.1"}}))
    assert made_by.why_stale(None) == UNKNOWN


def test_packages_are_those_that_the_code_imports() -> None:
    assert set(provenance_of(EM, "em").versions) >= {"jax", "jaxlib", "numpy", "arviz-stats"}
    assert "optax" not in Provenance.of(workbench.EM).versions
    assert "optax" in Provenance.of(workbench.GradientAscent).versions


def executed(work: Callable[[], Any]) -> set[str]:
    """Modules of the package of which a function was called, in any thread."""
    found: set[str] = set()

    def note(frame: FrameType, event: str, argument: Any) -> None:
        if event == "call":
            found.add(frame.f_globals.get("__name__", ""))

    threading.setprofile(note)
    sys.setprofile(note)
    try:
        work()
    finally:
        sys.setprofile(None)
        threading.setprofile(None)  # type: ignore[arg-type]
    return {name for name in found if name.split(".")[0] == PACKAGE}


# Modules that run, store and report but affect no result; data have their own digest in the identity of a record.
GLUE = (
    "cli", "experiment.own", "experiment.provenance", "experiment.reading", "experiment.sweep", "jobs",
    "provenance", "syntax", "compare", "engine.compat", "files", "data.simulate", "geometry.atlas", "errors",
)  # fmt: skip


def beyond(names: set[str], made_by: Provenance) -> set[str]:
    glue = tuple(f"{PACKAGE}.{name}" for name in GLUE)
    return {name for name in names - modules(made_by) if not name.startswith(glue) and name != PACKAGE}


@pytest.mark.parametrize(("config", "method"), [(EM, "em"), (GIBBS, "gibbs")])
def test_a_run_calls_nothing_beyond_the_code_that_it_names(config: Experiment, method: str, tmp_path: Path) -> None:
    called = executed(lambda: run_experiment(config, out=tmp_path))
    assert f"{PACKAGE}.methods.{method}" in called
    assert not beyond(called, provenance_of(config, method))


def test_an_atlas_calls_nothing_beyond_the_code_that_it_names(tmp_path: Path) -> None:
    called = executed(lambda: map_experiment(EM, starts=4, out=tmp_path))
    assert not beyond(called, made_by_now(EM.methods["em"], EM.starts, EM))


@pytest.mark.slow
@pytest.mark.timeout(6000)
def test_a_study_calls_nothing_beyond_the_code_that_it_names(tmp_path: Path) -> None:
    small = ["components=[1, 2]", "separations=[2.0]", "points=100", "replications=1"]
    study = read_study(EXPERIMENTS / "coupling.toml", small)
    called = executed(lambda: run_study(study, out=tmp_path, folder=EXPERIMENTS))
    assert not beyond(called, Provenance.of(study))


@pytest.mark.slow
def test_nothing_stale_is_served(tmp_path: Path) -> None:
    """The whole command on a copy of the package in which EM is changed so that it stops after one step."""
    root = tmp_path / PACKAGE
    shutil.copytree(ROOT, root, ignore=shutil.ignore_patterns("__pycache__"))
    config = tmp_path / "two.toml"
    config.write_text(
        "restarts = 2\n[data.simulate]\ncomponents = 2\ndimensions = 2\npoints = 100\nseparation = 3.0\n"
        '[model]\ncomponents = 2\n[starts]\nrule = "random_points"\n[methods.em]\n'
    )

    def run(*options: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", PACKAGE, "run", str(config), "--out", str(tmp_path / "out"), *options]
        environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
        return subprocess.run(
            command, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=2 * LONG, check=True
        )

    first, again = run(), run()
    assert "other code" not in first.stderr + again.stderr
    assert again.stdout == first.stdout
    file = root / "methods" / "em.py"
    source = file.read_text()
    stopped = source.replace("converged = ~fell & small", "converged = jnp.asarray(True) | small")
    assert stopped != source
    file.write_text(stopped)
    kept = run("--keep-stale")
    assert "1 of 1 stored runs were made by other code (workbench 0.1.0): kept as they are" in kept.stderr
    assert "Beware: the run of em is STALE" in kept.stdout
    mended = run()
    assert "1 of 1 stored runs were made by other code (workbench 0.1.0): run again" in mended.stderr
    assert "STALE" not in mended.stdout
    assert passes(mended.stdout) == "2"
    assert passes(first.stdout) == passes(kept.stdout) != "2"


def passes(table: str) -> str:
    """The total number of passes of the only method."""
    (line,) = [line for line in table.splitlines() if "passes in all" in line]
    return line.strip("│ ").split()[-1]
