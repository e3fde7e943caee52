"""`workbench select`: what it prints, keeps and refuses."""

import json
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest
import tomli_w
from click.testing import CliRunner, Result
from restamped import by_other_code, restamp, with_values

from workbench import load_selections, select
from workbench.cli import cli
from workbench.data import Dataset
from workbench.errors import InputError
from workbench.experiment import Experiment, parse_experiment
from workbench.jobs import selection as running
from workbench.jobs.selection import SelectionJob, load_selection
from workbench.jobs.store import Store
from workbench.selection import CRITERIA, Choice, FamilySelection, Score

PNG = b"\x89PNG"


def command(*words: object) -> Result:
    return CliRunner().invoke(cli, ["select", *map(str, words)], prog_name="workbench", catch_exceptions=False)


@pytest.fixture
def config(tiny: dict[str, Any], tmp_path: Path) -> Path:
    """Data, prior and covariance family alone: no methods and no number of components."""
    path = tmp_path / "mine.toml"
    values = {"data": tiny["data"], "prior": tiny["prior"], "model": {"covariance": "tied"}}
    path.write_text(tomli_w.dumps(values), encoding="utf-8")
    return path


@pytest.fixture
def scored(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The K that are scored, by a stand-in that costs nothing and prefers two components."""
    done: list[int] = []

    def score(experiment: Experiment, train: Dataset, *_: object) -> Choice:
        k = experiment.model.components
        done.append(k)
        terms = -np.abs(k - 2.0) - np.arange(len(train.x)) / 100
        return Choice(k, 3 * k - 1, -float(k), {name: Score.of_terms(terms, [f"beware {k}"]) for name in CRITERIA})

    monkeypatch.setattr(running, "scored", score)
    monkeypatch.setattr(running, "Sampling", lambda _: Mock())  # nothing is sampled
    return done


def test_what_other_code_scored_is_scored_again_or_kept_and_marked(tiny, tmp_path, scored, caplog):
    experiment = parse_experiment(tiny, "tiny")
    select(experiment, [1, 2], out=tmp_path)
    (cell,) = tmp_path.glob("cells/components-2-*")
    by_other_code(cell)
    (loaded,) = load_selections(tmp_path)
    kept = select(experiment, [1, 2], out=tmp_path, keep_stale=True)
    assert scored == [1, 2]
    for found in (loaded, kept):
        assert "K = 2 is STALE: other code scored it (workbench 0.1.0)." in str(found)
    assert "STALE" not in str(select(experiment, [1, 2], out=tmp_path))
    assert scored == [1, 2, 2]
    assert caplog.messages[-1] == "1 of 2 stored components were made by other code (workbench 0.1.0): run again"


@pytest.mark.usefixtures("scored")
def test_it_prints_the_tables_the_warnings_and_the_choice(config, tmp_path, monkeypatch):
    monkeypatch.setenv("COLUMNS", "120")
    result = command(config, "--components", "1:3", "--out", tmp_path / "out")
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    setting = "48 points in 1 column; tied covariance, conjugate prior; em, gibbs and ibis from 8 starts"
    assert lines[0] == f"mine: {setting}"
    assert [line.split()[0] for line in lines[1:6] if not line.startswith("─")] == ["K", "1", "2", "3"]
    assert any(line.endswith("K = 3: beware 3.") for line in lines)
    assert any(line.startswith("The prior differs with K: its default scatter") for line in lines)
    assert "Components chosen: AIC 2, BIC 2" in " ".join(lines)
    assert max(len(line) for line in lines[:-1]) <= 120
    assert lines[-1] == f"Report: {tmp_path / 'out' / 'report.html'}"


@pytest.mark.usefixtures("scored")
@pytest.mark.parametrize(
    ("missing", "grid", "sentence"),
    [
        ("drop", ("--covariance", "diagonal,full"), "7 rows with missing cells were left out."),
        ("marginal", (), "7 rows with missing cells count by their other cells."),
    ],
)
def test_it_says_what_became_of_missing_cells(tmp_path, monkeypatch, missing, grid, sentence):
    monkeypatch.setenv("COLUMNS", "200")
    x = np.random.default_rng(0).normal(size=(30, 2)).tolist()
    lines = [f"{'NA' if n < 7 else a},{b}" for n, (a, b) in enumerate(x)]
    (tmp_path / "mine.csv").write_text("\n".join(["u,v", *lines]), encoding="utf-8")
    config = tmp_path / "mine.toml"
    config.write_text(f'[data]\nfile = "mine.csv"\nmissing = "{missing}"\n', encoding="utf-8")
    words = (config, "--components", "1:2", *grid, "--out", tmp_path / "out")
    text, page = command(*words).stdout, (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    told = json.loads(command(*words, "--format", "json").stdout)
    each = told["families"].values() if grid else [told]
    assert (text.count(sentence), page.count(sentence)) == (1, 1)
    assert [one["missing_cells"] for one in each] == [sentence] * len(each)
    assert all(sentence in str(selection) for selection in load_selections(tmp_path / "out"))


@pytest.mark.usefixtures("scored")
def test_page_and_figure_are_written_also_where_others_read_the_values(config, tmp_path):
    result = command(config, "--components", "2,1", "--out", tmp_path / "out", "--format", "json")
    assert [each["components"] for each in json.loads(result.stdout)["choices"]] == [1, 2]
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert page.lstrip().startswith("<!")
    for criterion in CRITERIA.values():
        assert criterion.heading in page
    (figure,) = (tmp_path / "out" / "figures").glob("select-*/selection.png")
    assert figure.read_bytes().startswith(PNG)


def test_families_and_components_are_one_grid_that_is_taken_up_again(config, tmp_path, scored):
    words = (config, "--components", "1:2", "--covariance", "tied,full", "--out", tmp_path / "out")
    result = command(*words)
    assert result.exit_code == 0
    assert "Family and components chosen: AIC tied 2" in result.stdout
    assert json.loads(command(*words, "--format", "json").stdout)["best"]["bic"] == {
        "covariance": "tied",
        "components": 2,
    }
    assert scored == [1, 2, 1, 2]
    assert [each.setting.split("; ")[1] for each in load_selections(tmp_path / "out")] == [
        "full covariance, conjugate prior", "tied covariance, conjugate prior",
    ]  # fmt: skip


KNOWN = "give different families of full, tied, diagonal, spherical"


@pytest.mark.parametrize(
    ("families", "says"), [("round", KNOWN), ("tied,tied", "tied: given twice; name each once"), ("", KNOWN)]
)
def test_wrong_families_are_one_message(config, families, says, scored):
    result = command(config, f"--covariance={families}")
    assert result.exit_code == 2
    assert says in result.stderr
    assert scored == []


def test_what_is_stored_is_not_scored_again_and_a_damaged_one_is(tiny, tmp_path, scored):
    experiment = parse_experiment(tiny, "tiny")
    first = select(experiment, range(1, 4), out=tmp_path)
    select(experiment, range(1, 5), out=tmp_path)
    assert scored == [1, 2, 3, 4]
    (place,) = tmp_path.glob("cells/components-2-*/values.json")
    place.write_text('{"choice": {"components"', encoding="utf-8")
    assert str(select(experiment, range(1, 4), out=tmp_path)) == str(first)
    assert scored[4:] == [2]
    select(experiment, [1, 3], out=tmp_path, force=True)
    assert scored[5:] == [1, 3]


@pytest.mark.usefixtures("scored")
@pytest.mark.parametrize("families", [(), ("--covariance", "tied,full")])
def test_stored_numbers_of_components_that_were_not_asked_are_said(config, tmp_path, monkeypatch, families):
    monkeypatch.setenv("COLUMNS", "300")
    own = (*families, "--out", tmp_path / "out")
    assert "Not asked" not in command(config, "--components", "1:3", *own).stdout
    said = command(config, "--components", "3:4", *own).stdout
    assert (
        f"Not asked and so not in the choice, though stored in {tmp_path / 'out'}: K = 1, 2 of the same setting."
        in said
    )
    assert "Not asked" not in command(config, "--components", "1:4", *own).stdout
    # Of another setting, and for programs, nothing is said.
    assert "Not asked" not in command(config, "--components", "5:6", "--set", "seed=1", *own).stdout
    json.loads(command(config, "--components", "3:4", "--format", "json", *own).stdout)


@pytest.mark.usefixtures("scored")
def test_what_was_kept_is_read_again_together(tiny, tmp_path):
    experiment = parse_experiment(tiny, "tiny")
    select(experiment, [3, 1], name="tiny", out=tmp_path)
    whole = select(experiment, [2, 1, 3], name="tiny", out=tmp_path)
    (found,) = load_selections(tmp_path)
    assert str(found) == str(whole)
    select(parse_experiment({**tiny, "seed": 1}, "tiny"), [2], name="another", out=tmp_path)
    assert [(each.name, len(each.choices)) for each in load_selections(tmp_path)] == [("another", 1), ("tiny", 3)]


@pytest.mark.usefixtures("scored")
@pytest.mark.usefixtures("scored")
def test_one_prior_for_all_k_is_said_and_a_flat_one_has_no_evidence(tiny, tmp_path):
    fixed = parse_experiment({**tiny, "prior": {"family": "conjugate", "scatter_components": 2}}, "tiny")
    assert "All K have the same prior." in str(select(fixed, [1, 2], out=tmp_path))
    (stored,) = load_selections(tmp_path)
    assert json.loads(stored.to_json())["prior"] == "All K have the same prior."
    flat = parse_experiment({**tiny, "prior": {"family": "flat"}}, "tiny")
    assert select(flat, [1, 2], out=tmp_path).prior_remark == ""


@pytest.mark.usefixtures("scored")
def test_what_is_damaged_or_of_a_newer_version_is_named_and_the_rest_is_shown(tiny, tmp_path):
    with pytest.raises(InputError, match="holds no selection; make one with `workbench select"):
        load_selections(tmp_path)
    select(parse_experiment(tiny, "tiny"), [2, 3], out=tmp_path)
    (cell,) = tmp_path.glob("cells/components-2-*")
    with_values(cell, lambda values: values["choice"].pop("scores"))
    (found,) = load_selections(tmp_path)
    assert [choice.components for choice in found.choices] == [3]
    assert f"{cell}: the run is damaged ('scores'" in found.failures["2"].replace('"', "'")
    restamp(cell, lambda manifest: manifest.update(format=99))
    with pytest.raises(InputError, match="has format 99, of a newer workbench"):
        load_selections(tmp_path)


def test_another_prior_seed_or_rule_is_another_selection(tiny, tmp_path, scored):
    changes: list[dict[str, Any]] = [
        {},
        {"seed": 1},
        {"prior": {"family": "conjugate", "mean_shrinkage": 0.1}},
        {"soundness": {"tight": 0.01}},
        {"restarts": 3},
        {"methods": {"em": {"max_iterations": 7}}},
        {"methods": {"tempered_smc": {"num_samples": 7}}},
        {"methods": {"gibbs": {"num_samples": 7}}},
        {"prior": {"family": "conjugate", "scatter_components": 2}},
    ]
    for change in changes:
        select(parse_experiment({**tiny, **change}, "tiny"), [2], out=tmp_path)
    assert len(scored) == len(changes)


def test_methods_that_are_not_used_and_k_change_nothing(tiny, tmp_path, scored):
    for methods in ({"em": {}}, {"em": {}, "newton": {}}):
        for k in (2, 5):
            model = {"components": k, "covariance": "tied"}
            select(parse_experiment({**tiny, "methods": methods, "model": model}, "tiny"), [2], out=tmp_path)
    assert scored == [2]


def test_the_next_number_of_components_is_sampled_while_one_is_climbed(tiny, tmp_path, monkeypatch, scored):
    happened: list[tuple[str, int]] = []
    stand_in = running.scored

    def begin(key: str, experiment: Experiment, train: Dataset) -> None:
        happened.append(("begin", experiment.model.components))

    def score(experiment: Experiment, train: Dataset, *_: object) -> Choice:
        happened.append(("score", experiment.model.components))
        return stand_in(experiment, train)

    monkeypatch.setattr(running, "scored", score)
    monkeypatch.setattr(running, "Sampling", lambda _: Mock(begin=begin))
    select(parse_experiment(tiny, "tiny"), [1, 2, 3], out=tmp_path)
    for k in (1, 2):
        assert happened.index(("begin", k + 1)) < happened.index(("score", k))
    # A stored K is not sampled again.
    happened.clear()
    select(parse_experiment(tiny, "tiny"), [2, 3, 4], out=tmp_path)
    assert {k for _, k in happened} == {4}


def test_a_number_of_components_that_fails_leaves_the_others(config, tmp_path, monkeypatch, scored):
    stand_in = running.scored

    def fail(experiment: Experiment, train: Dataset, *_: object) -> Choice:
        if experiment.model.components == 2:
            raise RuntimeError("out of memory\nwith a long trail")
        return stand_in(experiment, train)

    monkeypatch.setattr(running, "scored", fail)
    result = command(config, "--components", "1:3", "--out", tmp_path / "out", "--format", "csv")
    assert result.exit_code == 1
    assert "K = 2 failed: RuntimeError: out of memory\n" in result.stderr
    assert scored == [1, 3]
    assert len(result.stdout.splitlines()) == 1 + 2 * len(CRITERIA)


@pytest.mark.parametrize("text", ["", "0:3", "5:2", "1-9", "1:", "two", "1:3,", "1:99999", "-1"])
def test_a_wrong_range_is_one_message(config, text):
    result = command(config, f"--components={text}")
    assert result.exit_code == 2
    assert "give 1:9, or 2,3,5" in result.stderr


def test_more_components_than_points_are_refused_before_anything_runs(config, tmp_path, scored):
    result = command(config, "--components", "1:200", "--out", tmp_path / "out")
    assert result.exit_code == 2
    assert "mine.toml" in result.stderr
    assert scored == []


def test_stated_starts_are_refused_for_another_number_of_components(tiny, scored):
    starts = {"rule": "given", "weights": [1.0], "means": [[0.0]], "covariances": [[1.0]]}
    experiment = parse_experiment({**tiny, "starts": starts}, "tiny")
    with pytest.raises(InputError, match="starts"):
        select(experiment, [1, 2])
    assert scored == []


@pytest.mark.parametrize("components", [[], [0], [True], [1.5]])
def test_wrong_numbers_are_refused(tiny, components):
    with pytest.raises(InputError, match="whole numbers of at least 1"):
        select(parse_experiment(tiny, "tiny"), components)


def test_a_study_is_refused(tmp_path):
    file = tmp_path / "study.toml"
    file.write_text('study = "rate"\n', encoding="utf-8")
    result = command(file)
    assert result.exit_code == 2
    assert "is a study" in result.stderr


def test_a_file_without_data_is_one_message(tmp_path):
    file = tmp_path / "empty.toml"
    file.write_text("", encoding="utf-8")
    result = command(file)
    assert result.exit_code == 2
    assert "data: missing" in result.stderr


@pytest.mark.slow
def test_two_clear_groups_are_told_by_every_criterion(tiny, tmp_path):
    methods = {"em": {}, "tempered_smc": {"num_samples": 200}}
    experiment = parse_experiment({**tiny, "restarts": 4, "methods": methods}, "tiny")
    found = select(experiment, [1, 2], out=tmp_path)
    assert [found.best(name) for name in ("bic", "icl", "heldout", "waic", "loo", "evidence")] == 6 * [2]
    assert found.difference("loo", 1).below > 5


def test_some_criteria_sample_nothing_and_stand_alone(config, tmp_path, monkeypatch):
    """AIC and BIC read the fit alone: nothing is sampled or cross-validated, and they are what all criteria give."""

    def refuse(*_: object) -> None:
        raise AssertionError("was not asked for")

    monkeypatch.setattr("workbench.selection.criteria.sampled", refuse)
    monkeypatch.setattr("workbench.selection.fit_criteria.all_climbed", refuse)
    words = [config, "--components", "1:2", "--out", tmp_path / "out"]
    result = command(*words, "--criteria", "bic,aic", "--format", "json")
    assert result.exit_code == 0, result.stderr
    found = json.loads(result.stdout)
    assert [list(each["scores"]) for each in found["choices"]] == [["aic", "bic"]] * 2
    assert set(found["best"]) == set(found["edge"]) == {"aic", "bic"}
    shown = command(*words, "--criteria", "aic,bic")
    assert "BIC" in shown.stdout and "held-out" not in shown.stdout.split("All values")[0]
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert "--criteria aic,bic" in page and "log evidence" not in page
    (stored,) = load_selections(tmp_path / "out")
    assert stored.criteria == ["aic", "bic"]
    # Against the formulas, with the number of points from the setting ("120 points in ...").
    points = int(found["setting"].split()[0].replace(",", ""))
    for each in found["choices"]:
        p, fit = each["parameters"], each["log_likelihood"]
        assert each["scores"]["aic"]["value"] == pytest.approx(fit - p, abs=1e-9)
        assert each["scores"]["bic"]["value"] == pytest.approx(fit - p / 2 * np.log(points), abs=1e-9)


@pytest.mark.parametrize(
    ("given", "words"), [("bicc", "Did you mean 'bic'"), ("bic,bic", "given twice"), (" ", "none")]
)
def test_a_wrong_criterion_is_named(config, given, words):
    result = command(config, "--criteria", given)
    assert (result.exit_code, words in result.stderr) == (2, True)


def test_a_model_that_too_few_points_can_hold_is_told_from_one_that_was_not_found(tmp_path):
    """Three full covariances in 4 columns take 15 points, of which there are 12; two take 10."""
    rows = np.random.default_rng(3).normal(size=(12, 4))
    lines = [",".join(f"{value:.4f}" for value in row) for row in rows]
    (tmp_path / "few.csv").write_text("\n".join(["a,b,c,d", *lines]), encoding="utf-8")
    (tmp_path / "few.toml").write_text('[data]\nfile = "few.csv"\n[starts]\nrule = "random_points"\n', encoding="utf-8")
    words = [tmp_path / "few.toml", "--components", "1,3", "--criteria", "aic", "--out", tmp_path / "out"]
    result = command(*words, "--format", "json")
    assert result.exit_code == 0, result.stderr
    one, three = json.loads(result.stdout)["choices"]
    assert one["impossible"] is None
    assert three["impossible"] == "3 full covariances of 4 columns take 15 points at least, and there are 12"
    assert "No such model: K = 3 (3 full covariances" in command(*words).stdout


@pytest.fixture
def twice(tmp_path: Path) -> Path:
    """A config of data in which a column is given twice, which full and tied covariances cannot fit."""
    rows = np.random.default_rng(0).normal(size=(30, 2))[:, [0, 1, 0]]
    np.savetxt(tmp_path / "twice.csv", rows, delimiter=",", header="a,b,c", comments="")
    path = tmp_path / "twice.toml"
    path.write_text('[data]\nfile = "twice.csv"\n[model]\n', encoding="utf-8")
    return path


def test_families_that_do_not_suit_are_left_out_by_name(twice: Path, tmp_path: Path, scored: list[int]) -> None:
    words = (twice, "--components", "1:2", "--covariance", "full,tied,diagonal,spherical", "--out", tmp_path / "out")
    found = json.loads(command(*words, "--format", "json").stdout)
    assert sorted(found["families"]) == ["diagonal", "spherical"]
    assert sorted(found["refused"]) == ["full", "tied"]
    assert all(why.startswith("x: c equals a, up to a constant") for why in found["refused"].values())
    assert found["best"]["bic"] is not None
    # The page, and what is stored, say the same, and it is the same job that goes on.
    assert "so not in the choice: full (x: c equals a" in " ".join(command(*words).stdout.split())
    (job,) = Store(tmp_path / "out").jobs("select")
    stored = load_selection(Store(tmp_path / "out"), *job)
    assert isinstance(stored, FamilySelection)
    assert stored.to_dict() == found
    again = SelectionJob.stored(tmp_path / "out", job[1], str(job[0]))
    assert again.config() == job[1]["config"]
    assert scored == [1, 2, 1, 2]


def test_where_no_family_suits_it_is_an_error(twice: Path, tmp_path: Path) -> None:
    result = command(twice, "--covariance", "tied,full", "--out", tmp_path / "out")
    assert result.exit_code == 2
    assert "x: c equals a, up to a constant" in result.stderr and "tied covariances" in result.stderr
