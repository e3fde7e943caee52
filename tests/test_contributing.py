"""The worked example of CONTRIBUTING.md does what the page says, word for word."""

import importlib
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import numpy as np
import pytest
import tomli_w
from click.testing import CliRunner

import workbench as wb
from workbench import provenance
from workbench.cli import cli
from workbench.experiment import read_experiment
from workbench.experiment.own import import_methods
from workbench.experiment.provenance import provenance_of
from workbench.experiment.reading import read_toml
from workbench.methods import base, own_methods

PAGE = Path(wb.__file__).parents[1] / "CONTRIBUTING.md"
HOME = "cem:ClassificationEM"


def block(language: str) -> str:
    """The only block of the page in a language."""
    (text,) = re.findall(rf"^```{language}\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    return str(text)


def said(folder: Path, *words: str) -> str:
    """What the command line answers, on both streams, where it ends with the status 0."""
    result = CliRunner().invoke(cli, words, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The example, run as the page says. What it registers and imports is gone afterwards."""
    kept = dict(base.METHODS), set(base._OWN), list(sys.path)
    folder = tmp_path_factory.mktemp("example")
    (folder / "cem.py").write_text(block("python"), encoding="utf-8")
    (folder / "cem.toml").write_text(block("toml"), encoding="utf-8")
    (command,) = block("sh").splitlines()
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        said(folder, *command.split()[1:])
    yield folder
    forget(*kept)


def forget(methods: dict[str, type[wb.methods.Method]], own: set[str], path: list[str]) -> None:
    base.METHODS.clear()
    base.METHODS.update(methods)
    base._OWN.clear()
    base._OWN.update(own)
    sys.path[:] = path
    sys.modules.pop("cem", None)


@pytest.fixture
def forgotten(folder: Path) -> Iterator[Path]:
    """The folder, in a process in which nothing of the example was imported."""
    kept, module = (dict(base.METHODS), set(base._OWN), list(sys.path)), sys.modules["cem"]
    own = {name: kind for name, kind in base.METHODS.items() if name != "cem"}
    forget(own, base._OWN - {"cem"}, [place for place in sys.path if place != str(folder)])
    yield folder
    forget(*kept)
    sys.modules["cem"] = module


@pytest.fixture(scope="module")
def comparison(folder: Path) -> wb.Comparison:
    (found,) = wb.load_results(folder / "results" / "cem")
    return found


def test_the_page_shows_the_method_and_its_promise_was_kept(folder: Path, comparison: wb.Comparison) -> None:
    page = (folder / "results/cem/report.html").read_text(encoding="utf-8")
    assert "cem" in page and "class = " in page
    trace = comparison["cem"]
    assert np.all(trace.ok) and np.all(trace.converged)


def test_its_answer_is_what_each_component_has_of_its_own_points(comparison: wb.Comparison) -> None:
    place = comparison["cem"].best_place(comparison.problem, comparison.reference.rule)
    assert place is not None
    mixture, x = comparison["cem"].at(*place), np.asarray(comparison.problem.x)
    groups = np.asarray(mixture.predict(x))
    for k in range(2):
        own = x[groups == k]
        # The same sums in another order, of 272 numbers of one size.
        np.testing.assert_allclose(mixture.weights[k], len(own) / len(x), rtol=1e-12)
        np.testing.assert_allclose(mixture.means[k], own.mean(axis=0), rtol=1e-10)
        np.testing.assert_allclose(mixture.covariances[k], np.cov(own.T, bias=True), rtol=1e-9)


def test_it_never_ends_above_em(comparison: wb.Comparison) -> None:
    # EM's best is the maximum of the likelihood here; to the digits in which EM stops.
    best = {name: np.max(comparison[name].log_joint[:, -1]) for name in ("em", "cem")}
    assert best["cem"] < best["em"]
    assert best["em"] - best["cem"] < 1.0


def test_reading_results_imports_nothing_without_permission(forgotten: Path) -> None:
    results = str(forgotten / "results/cem")
    refused = CliRunner().invoke(cli, ["report", results])
    assert refused.exit_code == 2 and "cem" not in sys.modules
    assert f"methods.cem: '{HOME}' is code of a user's own that is not imported" in refused.output
    with pytest.raises(wb.InputError, match=r"workbench\.methods\.register"):
        wb.load_results(results)
    rows = said(forgotten, "table", results, "--columns", "method", "--format", "csv").split()
    assert rows[0] == "method" and set(rows[1:]) == {"em", "cem"}
    assert "cem is not imported" in said(forgotten, "status", results)
    said(forgotten, "clean", results, "--stale")
    assert "cem is not imported" in said(forgotten, "status", results)
    assert "cem" not in sys.modules


def test_reading_results_with_permission_needs_no_config(forgotten: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(forgotten)
    shown = said(forgotten, "--import", HOME, "compare", "results/cem")
    assert "cem" in shown and "stale" not in shown
    assert "cem" in sys.modules


@pytest.fixture
def example(folder: Path, forgotten: Path, tmp_path: Path) -> Path:
    """The example again, its module importing another of the user's own."""
    text = (folder / "cem.py").read_text(encoding="utf-8")
    (tmp_path / "cem.toml").write_text(block("toml"), encoding="utf-8")
    (tmp_path / "cem.py").write_text(text.replace("import jax\n", "import helping\nimport jax\n", 1), encoding="utf-8")
    (tmp_path / "helping.py").write_text("ONE = 1\n", encoding="utf-8")
    return tmp_path


def code(example: Path) -> dict[str, str]:
    """The digest of what each method of the example rests on, as a new process would find it."""
    for name in ("cem", "helping"):
        sys.modules.pop(name, None)
    base.METHODS.pop("cem", None)
    for each in vars(provenance).values():
        getattr(each, "cache_clear", int)()
    # Else a file that is written twice in a second passes for its compiled self.
    importlib.invalidate_caches()
    for compiled in example.glob("__pycache__/*"):
        compiled.unlink()
    import_methods(read_toml(example / "cem.toml"), example)
    experiment = read_experiment(example / "cem.toml")
    return {name: provenance_of(experiment, name).code for name in experiment.methods}


def test_an_edit_of_what_a_method_of_ones_own_does_makes_its_runs_stale_and_no_others(example: Path) -> None:
    words = (("helping.py", "ONE = 1", "ONE = 1  # one"), ("cem.py", "Gives each point", "Hands each point"))
    rounds = (
        (words, False),
        ([("helping.py", "ONE = 1", "ONE = 2")], True),
        ([("cem.py", "Field(500", "Field(501")], True),
    )
    before = code(example)
    for edits, stale in rounds:
        for file, old, new in edits:
            text = (example / file).read_text(encoding="utf-8")
            assert old in text
            (example / file).write_text(text.replace(old, new), encoding="utf-8")
        after = code(example)
        assert (before["cem"] != after["cem"]) == stale, edits
        assert before["em"] == after["em"]
        before = after


def test_what_is_no_method_is_not_registered() -> None:
    class Unnamed(wb.EM):
        """Has EM's name."""

    with pytest.raises(wb.InputError, match=r"method: em is the name of workbench\.methods\.em:EM; take another"):
        wb.methods.register(Unnamed)
    for wrong in (wb.Mixture, wb.methods.Method, "em"):
        with pytest.raises(wb.InputError, match=r"is no method; give a class derived from workbench\.methods\.Method"):
            wb.methods.register(wrong)  # type: ignore[type-var]
    with pytest.raises(wb.InputError, match="summary: say in a line what it is"):
        wb.methods.register(Silent)
    assert not {Unnamed, Silent} & set(own_methods())


class Silent(wb.methods.Climber):
    """A method without a summary."""

    method: Literal["silent"] = "silent"

    def bind(self, problem: wb.Problem) -> wb.methods.Algorithm:
        raise NotImplementedError

    def schedule(self) -> wb.methods.Schedule:
        raise NotImplementedError


@pytest.mark.parametrize(
    ("home", "message"),
    [
        ("nowhere:Mine", "no module 'nowhere' in"),
        ("json:Mine", "module json has no 'Mine'"),
        ("json", 'is no class; give module and class, as "my_module:Mine"'),
        ("../json:Mine", "is no class"),
        (3, "is no class"),
        ("json:loads", "is no method"),
    ],
)
def test_a_class_that_cannot_be_had_is_an_error_that_says_why(home: object, message: str, tmp_path: Path) -> None:
    (tmp_path / "x.toml").write_text(
        tomli_w.dumps(
            {"data": {"dataset": "acidity"}, "model": {"components": 2}, "methods": {"mine": {"class": home}}}
        ),
        encoding="utf-8",
    )
    result = CliRunner().invoke(cli, ["validate", str(tmp_path / "x.toml")])
    assert result.exit_code == 2
    assert "x.toml: methods.mine.class: " in result.output and message in result.output


def test_a_method_of_the_package_is_named_and_not_imported_as_ones_own(tmp_path: Path) -> None:
    values = {"data": {"dataset": "acidity"}, "model": {"components": 2}}
    own = {"methods": {"mine": {"class": "workbench.methods.em:EM"}}}
    (tmp_path / "x.toml").write_text(tomli_w.dumps(values | own), encoding="utf-8")
    result = CliRunner().invoke(cli, ["validate", str(tmp_path / "x.toml")])
    assert result.exit_code == 2
    assert 'is a method of the package; write method = "em" in place of class' in result.output


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("import sys; sys.exit(0)", "ends the process as it is imported (status 0)"),
        ("import math\nraise RuntimeError('no such thing')", "RuntimeError: no such thing"),
        ("def f(:", "SyntaxError"),
        ("from workbench.methods.em import nothing_of_the_kind", "cannot import name 'nothing_of_the_kind'"),
        ("import a_module_that_is_absent", "needs the module 'a_module_that_is_absent', which is absent"),
    ],
)
def test_a_module_that_cannot_be_imported_is_one_message(text: str, message: str, tmp_path: Path) -> None:
    name = f"unfit_{abs(hash(text))}"  # the path of an earlier case remains one on which Python looks
    (tmp_path / f"{name}.py").write_text(text, encoding="utf-8")
    values = {"data": {"dataset": "acidity"}, "model": {"components": 2}}
    own = {"methods": {"mine": {"class": f"{name}:Mine"}}}
    (tmp_path / "x.toml").write_text(tomli_w.dumps(values | own), encoding="utf-8")
    result = CliRunner().invoke(cli, ["validate", str(tmp_path / "x.toml")])
    assert result.exit_code == 2
    assert f"methods.mine.class: module {name}" in result.output and message in result.output
    assert "Traceback" not in result.output
