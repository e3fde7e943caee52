"""The bins of histograms: of coarsely rounded values each holds as many possible values as the others."""

import numpy as np
import pytest
from matplotlib.figure import Figure

import workbench as wb
from workbench.plots.fit import MOST_BINS, histogram_edges


def possible(edges: list[float], step: float) -> set[int]:
    """How many multiples of the step, counted from the middle of the first, each bin holds."""
    lattice = np.arange(edges[0] + step / 2, edges[-1], step)
    return set(np.histogram(lattice, edges)[0].tolist())


def two_groups(count: int) -> np.ndarray:
    rng = np.random.default_rng(3)
    return np.concatenate([rng.normal(54, 6, count * 2 // 5), rng.normal(80, 6, count - count * 2 // 5)])


@pytest.mark.parametrize("step", [1.0, 0.1, 0.3, 5.0, 2.54])
@pytest.mark.parametrize("count", [300, 3000])
def test_each_bin_holds_equally_many_values_of_a_coarsely_rounded_column(step: float, count: int) -> None:
    x = np.rint(two_groups(count)) * step + 0.7
    edges = histogram_edges(x)
    assert len(possible(edges, step)) == 1
    # Half-way between values, not on one of them: rounding would decide to which bin it belongs.
    assert np.allclose((np.array(edges) - x[0]) / step % 1, 0.5, atol=1e-6)
    assert edges[0] < np.min(x) and np.max(x) < edges[-1]
    assert len(edges) - 1 <= MOST_BINS


def test_the_step_of_whole_numbers_is_their_common_divisor() -> None:
    # No two are one apart: the smallest difference is 2, and not all are multiples of it.
    x = np.repeat([0.0, 2.0, 5.0, 8.0, 10.0, 13.0], 10)
    assert set(np.diff(histogram_edges(x))) == {1.0}


def test_a_weighted_histogram_has_the_bins_of_the_repeated_rows() -> None:
    different, counts = np.unique(np.rint(two_groups(300)), return_counts=True)
    assert histogram_edges(different, counts.astype(float)) == histogram_edges(np.repeat(different, counts))


def test_the_waiting_times_of_faithful_show_two_groups_with_a_valley() -> None:
    waiting = wb.load_dataset("faithful").x[:, 1]
    heights, edges = np.histogram(waiting, histogram_edges(waiting))
    assert possible(edges.tolist(), 1.0) == {3}
    valley = np.min(heights[(edges[:-1] > 60) & (edges[1:] < 75)])
    assert valley < np.max(heights[edges[1:] < 60]) / 2
    assert valley < np.max(heights[edges[:-1] > 70]) / 4


def test_a_pile_of_ties_stands_out() -> None:
    x = np.concatenate([np.rint(two_groups(275)), np.full(25, 73.0)])
    edges = histogram_edges(x)
    with_pile, without = (np.histogram(values, edges)[0] for values in (x, x[:275]))
    pile = np.argmax(with_pile - without)
    assert with_pile[pile] == np.max(with_pile) > np.max(without)
    assert np.all(with_pile[[pile - 1, pile + 1]] < 0.7 * with_pile[pile])


@pytest.mark.parametrize("name", ["galaxies", "eruptions", "normal"])
def test_continuous_columns_keep_the_edges_of_numpy(name: str) -> None:
    x = {
        "galaxies": wb.load_dataset("galaxies").x[:, 0],
        "eruptions": wb.load_dataset("faithful").x[:, 0],  # rounded to thousandths: finely
        "normal": two_groups(500),
    }[name]
    assert histogram_edges(x) == np.histogram_bin_edges(x, "auto").tolist()


def test_values_that_differ_by_rounding_are_one() -> None:
    x = np.array([0.1 * (1 + 2), 0.3, *np.tile(np.arange(10) / 10, 10)])
    assert np.allclose(np.diff(histogram_edges(x)), 0.1)
    assert len(histogram_edges(np.zeros(5))) > 1


def test_the_outer_bins_of_few_values_are_seen_whole() -> None:
    x = np.repeat([1.0, 2.0, 3.0, 4.0], [5, 20, 20, 5])[:, None]
    results = wb.compare(wb.Problem(x, 1), {"em": wb.EM()}, restarts=1, seed=0)
    for draw in (wb.plots.fit, wb.plots.classification):
        ax = Figure().subplots()
        draw(ax, results)
        low, high = ax.get_xlim()
        assert low <= 0.5 and high >= 4.5
