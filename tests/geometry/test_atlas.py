import json
from dataclasses import replace

import jax
import numpy as np
import pytest

from workbench.data import load_dataset
from workbench.engine.keys import named_key
from workbench.errors import InputError
from workbench.geometry.atlas import MOST_LINES, Atlas, atlas, atlas_of, numbered
from workbench.geometry.stationary import Kind
from workbench.loop.run import run
from workbench.methods import EM, METHODS, NUTS, GradientAscent, Race
from workbench.methods.parts import EndsOnly
from workbench.problem import Problem
from workbench.starts import KMeansPlusPlus, RandomPoints, draw_starts

STARTS = 150


@pytest.fixture(scope="module")
def galaxies() -> Problem:
    return Problem(load_dataset("galaxies").divide(1000).x, 3)


@pytest.fixture(scope="module")
def mapped(galaxies: Problem) -> Atlas:
    return atlas(galaxies, EM(), starts=STARTS, rule=RandomPoints())


def test_the_three_maxima_of_the_galaxies_are_found_with_their_basins(mapped):
    maxima = [basin for basin in mapped.optima if basin.kind == Kind.MAXIMUM]
    # Three digits as published.
    assert [round(basin.log_joint, 3) for basin in maxima] == [-203.482, -209.829, -212.136]
    low, high = mapped.best.share.interval
    assert low < 0.67 < high  # 674 of the first 1,000 starts
    assert mapped.best.count > maxima[2].count > maxima[1].count


def test_a_maximum_on_two_points_is_degenerate_and_comes_last(mapped):
    last = mapped.optima[-1]
    assert (last.kind, round(last.log_joint, 3)) == (Kind.DEGENERATE, -217.593)


def test_every_start_is_counted_once(mapped):
    counts = [basin.count for basin in mapped.optima]
    assert sum(counts) + sum(share.successes for share in mapped.others.values()) == STARTS
    assert [int(np.sum(mapped.place == i)) for i in range(len(counts))] == counts
    assert all(mapped.kinds[r] == mapped.optima[i].kind for r, i in enumerate(mapped.place) if i >= 0)


def test_components_are_in_canonical_order(mapped):
    for basin in mapped.optima:
        assert np.all(np.diff(np.asarray(basin.mixture.means)[:, 0]) > 0)


def test_an_atlas_is_the_same_after_json(mapped):
    again = Atlas.from_dict(json.loads(mapped.to_json()))
    assert again.to_json() == mapped.to_json()
    assert str(again) == str(mapped)


def test_the_table_names_every_optimum_and_what_it_says(mapped):
    text = str(mapped)
    assert all(f"{basin.log_joint:.3f}" in text for basin in mapped.optima)
    assert f"is reached from {mapped.best.count} of {STARTS} starts" in text
    assert len(mapped.lines) <= MOST_LINES + len(mapped.others)


def test_an_atlas_says_where_its_numbers_are_float32_and_keeps_it(galaxies, mapped):
    assert "float" not in str(mapped)
    trace = run(EndsOnly(inner=EM()), galaxies, draw_starts(RandomPoints(), galaxies, 2, 0), named_key(0, "em"))
    halved = jax.tree.map(lambda leaf: leaf.astype(np.float32), trace.mixtures)
    single = atlas_of(galaxies, replace(trace, mixtures=halved), method="em", rule="random_points")
    assert str(single).endswith("Computed in float32.")
    kept = single.to_dict()
    assert Atlas.from_dict(kept).reading == single.reading
    # A file that does not say has what was computed in float64.
    assert "float" not in Atlas.from_dict({k: v for k, v in kept.items() if k != "dtype"}).reading


def test_ends_alone_are_those_of_the_whole_run_and_no_race_drops_any(galaxies):
    starts = draw_starts(RandomPoints(), galaxies, 16, 0)
    method = EM(race=Race(after=2, keep=1))
    ends = run(EndsOnly(inner=method), galaxies, starts, named_key(0, "em"))
    whole = run(EM(), galaxies, starts, named_key(0, "em"))
    assert ends.num_rows == 2
    # Two programs round differently.
    np.testing.assert_allclose(ends.log_joint[:, -1], whole.log_joint[:, -1], rtol=1e-9)
    np.testing.assert_array_equal(ends.passes[:, -1], whole.passes[:, -1])
    same = atlas_of(galaxies, whole, method="em", rule="random_points")
    assert same.place.tolist() == atlas_of(galaxies, ends, method="em", rule="random_points").place.tolist()


def test_equal_optima_of_two_atlases_have_equal_numbers(galaxies, mapped):
    other = atlas(galaxies, EM(), starts=16, rule=KMeansPlusPlus(), seed=1)
    numbers = numbered([mapped, other], galaxies)
    values = dict(zip(numbers[0].tolist(), (basin.log_joint for basin in mapped.optima), strict=True))
    assert len(values) == len(mapped.optima)
    for number, basin in zip(numbers[1].tolist(), other.optima, strict=True):
        # Polished values of one optimum differ by rounding.
        assert number not in values or values[number] == pytest.approx(basin.log_joint, abs=1e-8)
    assert 0 in numbers[1]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"method": NUTS()}, "method: an atlas is of methods that climb to a point, got NUTS"),
        ({"starts": 0}, "starts: must be a whole number of at least 1, got 0"),
        ({"starts": True}, "starts: must be a whole number"),
    ],
)
def test_what_cannot_be_mapped_is_refused(galaxies, options, message):
    with pytest.raises(InputError, match=message):
        atlas(galaxies, **({"method": EM()} | options))


@pytest.mark.slow
class TestKnownAnswers:
    """Of the literature of these data, over as many starts as its shares need."""

    def test_galaxies_from_random_points(self, galaxies):
        found = atlas(galaxies, EM(), starts=1000, rule=RandomPoints())
        assert 0.55 < found.best.share.share < 0.7  # about three starts in five

    def test_one_start_in_eight_ends_on_the_plateau_of_faithful_waiting(self):
        problem = Problem(load_dataset("faithful").select(["waiting"]).x, 2, "tied")
        found = atlas(problem, EM(), starts=1000, rule=RandomPoints())
        assert [basin.kind for basin in found.optima] == [Kind.MAXIMUM, Kind.PLATEAU]
        plateau = found.optima[1]
        assert round(plateau.log_joint, 3) == -1095.289
        low, high = plateau.share.interval
        assert low < 1 / 8 < high

    @pytest.mark.parametrize("method", [EM(), GradientAscent(max_iterations=500)], ids=lambda m: m.method)
    def test_iris_without_a_prior_has_spikes(self, method):
        found = atlas(Problem(load_dataset("iris").x, 3), method, starts=300, rule=RandomPoints())
        assert round(found.best.log_joint, 3) == -180.185
        assert found.others[Kind.DEGENERATE].successes > 0
        assert any(basin.kind == Kind.DEGENERATE for basin in found.optima)


def test_an_atlas_of_missing_cells_is_one_of_the_methods_that_marginalise():
    x = load_dataset("faithful").x.copy()
    x[::10, 1] = np.nan
    problem = Problem(x, 2, missing="marginal")
    assert atlas(problem, EM(), starts=2, rule=KMeansPlusPlus()).optima
    with pytest.raises(InputError, match="online_em cannot marginalise missing cells"):
        EndsOnly(inner=METHODS["online_em"]()).admit(problem)
