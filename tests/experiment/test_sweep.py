"""A sweep is cut into experiments: every combination, each with the settings of its point, and no mistake lost."""

import tomllib
from pathlib import Path
from typing import Any

import pytest

from workbench.errors import InputError
from workbench.experiment.sweep import MOST, SweepConfig, is_sweep, parse_sweep, read_sweep


def points(text: str) -> list[dict[str, Any]]:
    return SweepConfig.model_validate(tomllib.loads(text)).points()


def swept(tiny: dict[str, Any], **sweep: Any) -> dict[str, Any]:
    return {**tiny, "sweep": sweep}


class TestPoints:
    def test_a_grid_is_every_combination_and_its_last_key_changes_fastest(self):
        found = points("grid.seed = [0, 1]\ngrid.model.components = [2, 3]")
        assert [tuple(point.values()) for point in found] == [(0, 2), (0, 3), (1, 2), (1, 3)]
        assert set(found[0]) == {"seed", "model.components"}

    def test_zipped_lists_go_side_by_side(self):
        found = points("zip.seed = [0, 1, 2]\nzip.restarts = [3, 4, 5]")
        assert found == [{"seed": s, "restarts": s + 3} for s in range(3)]

    def test_cells_are_taken_as_they_are(self):
        found = points("cells = [{seed = 3, model.components = 2}, {seed = 5}]")
        assert found == [{"seed": 3, "model.components": 2}, {"seed": 5}]

    def test_the_three_together_are_their_product(self):
        found = points("grid.a = [1, 2]\nzip.b = [3, 4]\nzip.c = [5, 6]\ncells = [{d = 7}, {d = 8}, {d = 9}]")
        assert len(found) == 2 * 2 * 3
        assert len({tuple(sorted(point.items())) for point in found}) == 12
        assert {point["c"] - point["b"] for point in found} == {2}

    def test_a_quoted_key_with_dots_and_nested_tables_say_the_same(self):
        quoted = points('grid."data.simulate.separation" = [1.5, 3]')
        assert quoted == points("grid.data.simulate.separation = [1.5, 3]")
        assert quoted == [{"data.simulate.separation": 1.5}, {"data.simulate.separation": 3}]

    def test_a_table_is_a_value_in_a_list(self):
        found = points("grid.methods = [{em = {}}, {gibbs = {num_chains = 2}}]")
        assert found == [{"methods": {"em": {}}}, {"methods": {"gibbs": {"num_chains": 2}}}]

    @pytest.mark.parametrize(
        ("text", "said"),
        [
            ("zip.seed = [0]\nzip.restarts = [1, 2]", "sweep.zip: lists must be of one length, got seed 1, restarts 2"),
            ("grid.seed = 3", "sweep.grid.seed: must be a list of values, got 3"),
            ("grid.model.components = []", "sweep.grid.model.components: must be a list of values, got []"),
            ("grid.seed = [0]\nzip.seed = [1]", "sweep: seed: swept twice; name each key in one place"),
            ("grid.seed = [0]\ncells = [{seed = 1}]", "sweep: seed: swept twice; name each key in one place"),
            ("", "sweep: nothing is swept"),
            ("cells = [{}]", "sweep: nothing is swept"),
        ],
    )
    def test_a_mistake_is_named_with_its_key(self, text, said):
        with pytest.raises(InputError) as caught:
            points(text)
        assert str(caught.value).startswith(said)

    def test_more_than_anyone_means_is_refused_before_it_is_written_out(self):
        many = {name: list(range(1000)) for name in ("a", "b", "c", "d")}
        with pytest.raises(InputError, match=f"1,000,000,000,000 experiments; give at most {MOST:,}"):
            SweepConfig(grid=many).points()


class TestExperiments:
    def test_each_has_the_settings_of_its_point_and_else_those_of_the_file(self, tiny):
        found = parse_sweep(swept(tiny, grid={"seed": [4, 5], "data.simulate.separation": [1.0, 2.0]}), "x.toml")
        assert len(found) == 4
        for point, experiment in found:
            assert experiment.seed == point["seed"]
            assert experiment.data.simulate is not None
            assert experiment.data.simulate.separation == point["data.simulate.separation"]
            assert experiment.data.simulate.points == 60
            assert list(experiment.methods) == ["em", "slope"]

    def test_tables_as_values_take_the_place_of_the_file_s(self, tiny):
        methods = [{"em": {}}, {"gibbs": {"num_chains": 2}}]
        found = parse_sweep(swept(tiny, grid={"methods": methods}), "x.toml")
        assert [list(each.experiment.methods) for each in found] == [["em"], ["gibbs"]]

    def test_points_do_not_share_what_they_change(self, tiny):
        prior = {"family": "conjugate"}
        sweep = {"grid": {"prior": [prior], "prior.scatter_components": [2, 3]}}
        found = parse_sweep(swept(tiny, **sweep), "x.toml")
        assert [each.experiment.resolved()["prior"]["scatter_components"] for each in found] == [2, 3]
        assert prior == {"family": "conjugate"}

    def test_every_mistake_is_in_one_message_with_file_and_key_and_once(self, tiny):
        grid = {"model.covariance": ["ful", "tied"], "restarts": [0, 2], "sed": [1]}
        with pytest.raises(InputError) as caught:
            parse_sweep(swept(tiny, grid=grid), "x.toml")
        lines = str(caught.value).split("\n")
        assert all(line.startswith("x.toml: ") for line in lines)
        for key in ("model.covariance: unknown 'ful'", "restarts: ", "sed: "):
            assert sum(line.startswith(f"x.toml: {key}") for line in lines) == 1

    def test_a_key_below_a_value_is_named(self, tiny):
        with pytest.raises(InputError, match=r"x\.toml: sweep: seed is a value, not a table"):
            parse_sweep({**swept(tiny, grid={"seed.of.all": [1]}), "seed": 0}, "x.toml")

    @pytest.mark.parametrize("sweep", [3, {"gird": {"seed": [1]}}, {"grid": 3}, {"cells": [3]}])
    def test_a_table_of_another_shape_is_named(self, tiny, sweep):
        with pytest.raises(InputError, match=r"^x\.toml: sweep"):
            parse_sweep({**tiny, "sweep": sweep}, "x.toml")


class TestFiles:
    @pytest.fixture
    def file(self, tmp_path: Path) -> Path:
        path = tmp_path / "x.toml"
        path.write_text("seed = 1\n[sweep.grid]\nseed = [1, 2]\n", encoding="utf-8")
        return path

    def test_a_file_is_a_sweep_by_its_table(self, file, tmp_path):
        (tmp_path / "plain.toml").write_text("seed = 1\n", encoding="utf-8")
        assert is_sweep(file)
        assert not is_sweep(tmp_path / "plain.toml")

    def test_options_join_the_grid_and_take_the_place_of_a_list(self, file):
        values = read_sweep(file, ["restarts=3"], ["seed=[7]", "model.components=[2, 3]"])
        assert values["restarts"] == 3
        assert values["sweep"]["grid"] == {"seed": [7], "model.components": [2, 3]}

    @pytest.mark.parametrize("option", ["seed=3", "seed", "seed=", "=[1]"])
    def test_an_option_that_is_no_list_is_named(self, file, option):
        with pytest.raises(InputError, match=r"^--sweep "):
            read_sweep(file, [], [option])
