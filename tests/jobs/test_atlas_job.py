"""`workbench atlas`: what it prints, keeps and refuses."""

import json
import shutil
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tomli_w
from click.testing import CliRunner, Result
from restamped import by_other_code

from workbench.cli import cli
from workbench.errors import InputError
from workbench.experiment import Experiment, parse_experiment
from workbench.geometry.stationary import Kind
from workbench.geometry.surface import surface_of
from workbench.jobs import atlas as atlases
from workbench.jobs.atlas import map_experiment
from workbench.problem import Problem

PNG = b"\x89PNG"
STARTS = 12


def command(*words: object) -> Result:
    return CliRunner().invoke(cli, ["atlas", *map(str, words)], prog_name="workbench", catch_exceptions=False)


@pytest.fixture(scope="module")
def values(tiny: dict[str, Any]) -> dict[str, Any]:
    return {**tiny, "methods": {**tiny["methods"], "nuts": {"num_warmup": 20, "num_samples": 20}}}


@pytest.fixture(scope="module")
def experiment(values: dict[str, Any]) -> Experiment:
    return parse_experiment(values, "tiny")


@pytest.fixture(scope="module")
def ran(values: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Result]:
    """The command in a folder of its own."""
    folder = tmp_path_factory.mktemp("mapped")
    config = folder / "mine.toml"
    config.write_text(tomli_w.dumps(values), encoding="utf-8")
    return folder, command(config, "--starts", STARTS, "--out", folder / "out")


def test_it_prints_a_table_for_each_optimising_method_and_names_what_is_left_out(ran):
    folder, result = ran
    assert result.exit_code == 0
    assert [line for line in result.stdout.splitlines() if line.endswith("from random_points")] == [
        "em from random_points", "slope from random_points",
    ]  # fmt: skip
    assert "nuts samples and is left out" in result.stdout
    assert result.stdout.splitlines()[-1] == f"Report: {folder / 'out' / 'report.html'}"


def test_page_and_figures_are_written(ran):
    out = ran[0] / "out"
    page = (out / "report.html").read_text(encoding="utf-8")
    assert page.lstrip().startswith("<!")
    assert "slope from random_points" in page
    figures = {path.stem: path.read_bytes() for path in (out / "figures").glob("atlas-*/*.png")}
    # One column and two components: there is a surface.
    assert set(figures) == {"atlas_shares", "atlas_ends", "atlas_optima", "atlas_surface"}
    assert all(content.startswith(PNG) for content in figures.values())


def test_every_atlas_is_stored_whole_with_its_config(ran):
    cells = sorted((ran[0] / "out").glob("cells/atlas-*"))
    configs = [tomllib.loads((cell / "config.toml").read_text(encoding="utf-8")) for cell in cells]
    assert [list(config["methods"]) for config in configs] == [["em"], ["slope"]]
    assert all(json.loads((cell / "values.json").read_text())["starts"] == STARTS for cell in cells)


def test_what_is_stored_is_not_run_again_and_a_damaged_one_is(ran, experiment, monkeypatch):
    called = []
    real = atlases.atlas

    def count(*args: Any, **kwargs: Any) -> Any:
        called.append(kwargs["name"])
        return real(*args, **kwargs)

    # As code of the same module: what is stored rests on that.
    count.__module__ = real.__module__
    monkeypatch.setattr(atlases, "atlas", count)
    first = map_experiment(experiment, starts=STARTS, out=ran[0] / "out")
    assert called == []
    (place,) = (ran[0] / "out").glob("cells/atlas-em-*/values.json")
    place.write_text("{", encoding="utf-8")
    again = map_experiment(experiment, starts=STARTS, out=ran[0] / "out")
    assert called == ["em"]
    assert [one.to_json() for one in again.atlases] == [one.to_json() for one in first.atlases]


def test_methods_reach_one_maximum_under_one_number(ran, experiment):
    found = map_experiment(experiment, starts=STARTS, out=ran[0] / "out")
    assert found.left_out == ("nuts",)
    (best, shares), *_ = found.distinct
    assert best.kind == Kind.MAXIMUM
    # Clear groups: `em` arrives from nearly every start, and 50 gradient steps settle from some.
    assert shares[0] > 0.5
    assert shares[1] == found.atlases[1].optima[0].share.share
    assert found.numbers[0][0] == found.numbers[1][0] == 0


def test_an_atlas_that_fails_gives_status_1_and_keeps_the_others(ran, tmp_path, monkeypatch):
    real = atlases.atlas

    def fail(*args: Any, **kwargs: Any) -> Any:
        if kwargs["name"] == "slope":
            raise RuntimeError("out of luck\nand more")
        return real(*args, **kwargs)

    monkeypatch.setattr(atlases, "atlas", fail)
    monkeypatch.setattr("workbench.report.publish", lambda store, *_: [store.folder / "report.html"])
    result = command(ran[0] / "mine.toml", "--starts", STARTS, "--out", tmp_path)
    assert result.exit_code == 1
    assert "em from random_points" in result.stdout
    assert result.stderr == "slope from random_points failed: RuntimeError: out of luck\n"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--methods", "emm"], "mine.toml: --methods: emm: not in the experiment; it has em, slope, nuts"),
        (["--methods", "nuts"], "mine.toml: methods: an atlas is of methods that climb to a point; nuts only sample"),
        (["--rules", "kmeens"], "mine.toml: --rules: kmeens: allowed are all, alternating, random_points, "),
        (["--set", "run.hosts=2"], "run.hosts: an atlas runs on one host"),
        (["--set", "seed"], "--set seed: give key.path=value"),
    ],
)
def test_bad_input_is_one_message_with_status_2_and_leaves_nothing(ran, tmp_path, words, message):
    result = command(ran[0] / "mine.toml", "--out", tmp_path / "out", *words)
    assert (result.exit_code, result.stdout) == (2, "")
    assert message in result.stderr
    assert not (tmp_path / "out").exists()


def test_a_results_folder_that_cannot_be_made_is_named(ran):
    result = command(ran[0] / "mine.toml", "--out", ran[0] / "mine.toml")
    assert result.exit_code == 2
    assert "cannot be written" in result.stderr


def test_the_surface_has_the_maximum_for_its_top_and_is_symmetric(ran, experiment):
    found = map_experiment(experiment, starts=STARTS, out=ran[0] / "out")
    surface = surface_of(found.comparison.problem, points=31)
    np.testing.assert_allclose(surface.log_joint, surface.log_joint.T, atol=1e-6)  # the variances converge to this
    best = found.atlases[0].optima[0]
    # The profile lies below the maximum, and near it at the nearest point of the grid: half a step away in each mean.
    assert np.max(surface.log_joint) <= best.log_joint + 1e-9
    top = surface.means[list(np.unravel_index(np.argmax(surface.log_joint), surface.log_joint.shape))]
    step = surface.means[1] - surface.means[0]
    np.testing.assert_allclose(np.sort(top), np.sort(np.asarray(best.mixture.means)[:, 0]), atol=step)


def test_another_shape_has_no_surface(points):
    with pytest.raises(InputError, match="surface: needs one column, two components"):
        surface_of(Problem(points, 2))


def test_an_atlas_that_other_code_made_is_made_again_or_kept_and_marked(ran, experiment, tmp_path, caplog):
    out = shutil.copytree(ran[0] / "out", tmp_path / "out")
    for place in out.glob("cells/atlas-*"):
        by_other_code(place)
    made: list[str] = []
    kept = map_experiment(experiment, starts=STARTS, out=out, only=["em"], keep_stale=True, watch=made.append)
    assert made == []
    assert "some atlases are STALE: other code made them (workbench 0.1.0)" in kept.reading
    again = map_experiment(experiment, starts=STARTS, out=out, only=["em"], watch=made.append)
    assert made == ["em from random_points"]
    assert again.stale is None
    assert caplog.messages[-1] == "1 of 1 stored atlases were made by other code (workbench 0.1.0): run again"
