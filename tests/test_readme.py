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
    """The commands of "Your own data", on 340 rows with ids, known classes, four measurements and 8 missing cells."""
    rng = np.random.default_rng(8)
    centres = {"auk": (20.0, 5.0, 40.0, 300.0), "gull": (30.0, 9.0, 70.0, 600.0), "tern": (12.0, 14.0, 90.0, 900.0)}
    kinds = rng.choice(list(centres), 340, p=[0.5, 0.3, 0.2])
    x = np.array([centres[kind] for kind in kinds]) + rng.normal(size=(340, 4)) * (2.0, 1.0, 6.0, 60.0)
    cells = [[f"{value:.2f}" for value in row] for row in x]
    for row, column in zip(range(4, 60, 7), [0, 1, 2, 3, 1, 2, 0, 1], strict=True):
        cells[row][column] = "NA"
    lines = [f"b{n},{kind},{','.join(row)}" for n, (kind, row) in enumerate(zip(kinds, cells, strict=True))]
    header = "tag,kind,length,depth,wing,mass"
    (tmp_path / "birds.csv").write_text("\n".join([header, *lines]), encoding="utf-8")
    (tmp_path / "new_birds.csv").write_text("\n".join([header, *lines[:5]]), encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    block = next(b for b in blocks("") if "workbench init" in b)
    walk = re.findall(r"^workbench (.*)$", block, flags=re.MULTILINE)
    said = {}
    for words in walk:
        result = CliRunner().invoke(cli, words.split(), catch_exceptions=False)
        assert result.exit_code == 0, result.output
        said[words.split()[0]] = result.output
    assert list(said) == ["init", "select", "fit", "estimates", "plot", "predict"]
    assert "BIC tied 3" in said["select"] and "ICL tied 3" in said["select"]
    assert "Trust em as the best optimum found of 3 components" in said["fit"]
    assert "8 of 340 rows have missing cells and count by the others" in " ".join(said["fit"].split())
    table = (tmp_path / "estimates.tex").read_text(encoding="utf-8")
    assert table.count("mean &") == 12 and r"\end{tabular}" in table
    for figure in ("groups.pdf", "unsure.pdf"):
        assert (tmp_path / figure).read_bytes().startswith(b"%PDF")
    # Components count in the order of the first column's means: terns, auks, gulls.
    number = {"tern": "1", "auk": "2", "gull": "3"}
    expected = [[f"b{n}", number[kind]] for n, kind in enumerate(kinds)]
    new = (tmp_path / "labels.csv").read_text(encoding="utf-8").splitlines()
    assert new[0].startswith("tag,component,probability,log_density,p1")
    assert [line.split(",")[:2] for line in new[1:]] == expected[:5]
    own = (tmp_path / "results" / "birds" / "fit" / "labels.csv").read_text(encoding="utf-8").splitlines()
    found = [line.split(",") for line in own[1:]]
    assert [[row[0], row[2]] for row in found] == expected
    assert [row[1] for row in found] == kinds.tolist()


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
