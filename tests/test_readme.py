"""The README says only what is true: its example runs, its commands exist, its links lead somewhere."""

import re
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

import workbench as wb
from workbench.cli.group import FILES, cli
from workbench.experiment import parse_experiment

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    found = re.findall(r"^```(\w*)\n(.*?)^```$", README, flags=re.DOTALL | re.MULTILINE)
    return [text for name, text in found if name == language]


def test_the_python_example_runs_and_finds_both_groups(capsys: pytest.CaptureFixture[str]) -> None:
    example, *_ = blocks("python")
    assert len(example.strip().splitlines()) <= 12
    # `test_old_faithful` has the chains in their full length.
    assert "wb.NUTS()" in example
    example = example.replace("wb.NUTS()", "wb.NUTS(num_warmup=50, num_samples=50)")
    namespace: dict[str, object] = {}
    exec(compile(example, "README.md", "exec"), namespace)
    means = namespace["best"].canonical().means  # type: ignore[attr-defined]
    # The two groups of eruptions: about 2 minutes after 54, and 4.3 after 80 (Haerdle 1991, fig. 1).
    assert means[0, 1] == pytest.approx(54.5, abs=1)
    assert means[1, 1] == pytest.approx(80.0, abs=1)
    assert "Best sound log-joint" in capsys.readouterr().out


def test_the_scikit_learn_example_runs_and_finds_both_groups() -> None:
    _, example, _ = blocks("python")
    namespace: dict[str, Any] = {}
    exec(compile(example, "README.md", "exec"), namespace)
    assert namespace["search"].best_params_["n_components"] == 2
    for means in (namespace["mixture"].canonical().means, np.sort(namespace["bounded"].means_, axis=0)):
        assert means[:, 1] == pytest.approx([54.5, 80.0], abs=1)


def test_the_example_of_missing_cells_runs_and_labels_rows_by_the_cells_that_are_there() -> None:
    *_, example = blocks("python")
    namespace: dict[str, Any] = {}
    exec(compile(example, "README.md", "exec"), namespace)
    problem, labels, birds = namespace["problem"], namespace["labels"], namespace["birds"]
    assert problem.missing == "marginal" and problem.num_rows == 272 and np.isnan(problem.x).sum() == 28
    # The eruptions fall into short and long ones, of which few last about 3 minutes (Haerdle 1991, fig. 1).
    assert np.mean(np.asarray(labels) == (problem.x[:, 0] > 3)) > 0.97
    assert (birds.missing, birds.x.shape, birds.ids.tolist()) == ("marginal", (4, 2), ["b1", "b2", "b3", "b4"])
    assert namespace["whole"].ids.tolist() == ["b1", "b3", "b4"]
    assert wb.Problem(birds, 2).missing == "marginal"


def test_the_config_example_is_valid() -> None:
    (example,) = blocks("toml")
    experiment = parse_experiment(tomllib.loads(example), "README.md")
    assert list(experiment.methods) == ["em", "ascent", "nuts"]


def test_every_command_shown_exists() -> None:
    shown = {name for block in blocks("") for name in re.findall(r"^workbench (\w+)", block, flags=re.MULTILINE)}
    assert shown == set(FILES)
    for name in shown:
        assert CliRunner().invoke(cli, [name, "--help"]).exit_code == 0


def test_the_walk_from_a_table_to_labels_can_be_walked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The commands of "Your own data", on a table with ids, known classes and missing cells."""
    rng = np.random.default_rng(8)
    kinds = rng.choice(["auk", "gull", "tern"], 60)
    sizes = np.array([[{"auk": 0.0, "gull": 6.0, "tern": 12.0}[kind]] for kind in kinds])
    lines = [
        f"b{n},{kind},{a:.3f},{b:.3f}"
        for n, (kind, (a, b)) in enumerate(zip(kinds, sizes + rng.normal(size=(60, 2)), strict=True))
    ]
    lines[4] = "b4,gull,NA,6.1"
    header = "tag,kind,length,mass"
    (tmp_path / "birds.csv").write_text("\n".join([header, *lines]), encoding="utf-8")
    (tmp_path / "new_birds.csv").write_text("\n".join([header, *lines[:3]]), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    walk = re.findall(
        r"^workbench (.*?)(?:  +#.*)?$", next(b for b in blocks("") if "workbench init" in b), flags=re.MULTILINE
    )
    assert [words.split()[0] for words in walk] == ["init", "select", "fit", "predict"]
    for words in walk:
        if not words.startswith("select"):  # tests/selection has it
            result = CliRunner().invoke(cli, words.split(), catch_exceptions=False)
            assert result.exit_code == 0, result.output
    labels = (tmp_path / "labels.csv").read_text(encoding="utf-8").splitlines()
    assert labels[0].startswith("tag,component,probability,log_density,p1")
    order = ["auk", "gull", "tern"]
    assert [line.split(",")[:2] for line in labels[1:]] == [[f"b{n}", str(order.index(kinds[n]) + 1)] for n in range(3)]
    assert "b4," not in (tmp_path / "results" / "birds" / "fit" / "labels.csv").read_text(encoding="utf-8")


def test_every_link_into_the_repository_leads_somewhere() -> None:
    targets = [t for t in re.findall(r"\]\(([^)#]+)\)", README) if not t.startswith("http")]
    assert targets
    missing = [target for target in targets if not (ROOT / target).exists()]
    assert not missing


def test_both_make_commands_exist() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in ("demo", "test", "setup"):
        assert f"make {target}" in README
        assert re.search(rf"^{target}:", makefile, flags=re.MULTILINE)
