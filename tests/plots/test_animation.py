"""An animation shows climbs from one start at equal prices: rows, components, titles, and no more frames than asked."""

from dataclasses import replace

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

import workbench as wb
from workbench import plots
from workbench.compare import Comparison
from workbench.errors import InputError
from workbench.plots.animation import FEWEST_FRAMES, HELD, MOST_FRAMES, MOST_MARKS, Film
from workbench.plots.style import CYCLE, DATA


def mixture(means: list[float], weight: float = 0.5) -> wb.Mixture:
    """Two round components in a plane."""
    places = [[mean, 0.0] for mean in means]
    return wb.Mixture.from_covariances([weight, 1 - weight], places, [np.eye(2), np.eye(2)])


ROWS = np.concatenate([np.random.default_rng(2).normal(centre, 1.0, (30, 2)) for centre in ((0, 0), (5, 0))])


@pytest.fixture(scope="module")
def plane(trace_of) -> Comparison:
    """EM in three rows at 0, 1 and 2 passes, and ascent in four at 0, 3, 6 and 9; two starts, the second the better."""
    problem = wb.Problem(ROWS, 2, columns=["$x_1$", "_y"])
    poor = [mixture([9.0, 8.0])]
    em = trace_of(problem, [poor * 3, [mixture([4.0, 1.0]), mixture([4.5, 0.5]), mixture([5.0, 0.0])]])
    climb = [mixture([mean, 5 - mean]) for mean in (4.0, 4.2, 4.4, 4.6)]
    ascent = trace_of(problem, [poor * 4, climb])
    return Comparison(problem, {"em": em, "ascent": replace(ascent, passes=3 * ascent.passes)}, columns=problem.columns)


def panels(count: int) -> list[Axes]:
    return list(Figure().subplots(1, count, squeeze=False)[0])


def ellipse(ax: Axes, component: int) -> np.ndarray:
    """The contour at one standard deviation, by its darkened colour."""
    dark = 0.6 * np.array(to_rgb(CYCLE[component]))
    inner, _ = [line for line in ax.lines if np.allclose(to_rgb(line.get_color()), dark)]
    return np.column_stack(inner.get_data())


def words(ax: Axes) -> list[str]:
    return ax.get_title(loc="left").split("\n")


@pytest.mark.parametrize("columns", [["a"], ["b"]])
def test_one_column_beside_a_background_has_its_own_box(trace_of, columns: list[str]) -> None:
    x = np.concatenate([ROWS, [[-9.0, 30.0]]])
    problem = wb.Problem(x, 2, columns=["a", "b"], background=True)
    assert problem.background is not None
    climb = [replace(mixture([mean, 5.0]), background=problem.background) for mean in (0.0, 0.5, 1.0)]
    (ax,) = panels(1)
    film = Film([ax], Comparison(problem, {"em": trace_of(problem, [climb])}, columns=("a", "b")), columns=columns)
    film.draw(2)
    (total,) = [line for line in ax.lines if line.get_linestyle() == "--"]
    place = ["a", "b"].index(columns[0])
    end = x[-1, place]
    far = np.argmin(np.abs(np.asarray(total.get_xdata()) - (end - 0.5 * np.sign(end))))
    # Far from the components the density is the background's alone.
    height = float(problem.background.weight) / np.ptp(x[:, place])
    assert np.asarray(total.get_ydata())[far] == pytest.approx(height, rel=1e-6)


def test_frames_lie_at_the_prices_at_which_some_method_has_a_row(plane: Comparison) -> None:
    film = Film(panels(2), plane)
    assert film.restart == 1
    assert film.passes.tolist() == [0, 1, 2, 3, 6, 9] and film.num_frames == 6
    assert Film(panels(1), plane, methods="ascent", restart=0).passes.tolist() == [0, 3, 6, 9]  # type: ignore[arg-type]


def test_each_panel_holds_the_last_mixture_that_cost_no_more(plane: Comparison) -> None:
    axes = panels(2)
    film = Film(axes, plane)
    # Components are numbered as tables number the end: by the first column, against the order of the traces.
    shown = {0: ((1.0, 4.0), (1.0, 4.0)), 2: ((0.0, 5.0), (1.0, 4.0)), 4: ((0.0, 5.0), (0.6, 4.4))}
    for frame, expected in shown.items():
        film.draw(frame)
        for ax, centres in zip(axes, expected, strict=True):
            for k, centre in enumerate(centres):
                contour = ellipse(ax, k)
                assert np.linalg.norm(contour - [centre, 0.0], axis=1) == pytest.approx(np.ones(len(contour)))
    likelihood = plane["ascent"].log_likelihood[1]
    assert words(axes[0])[:2] == ["em", "2 passes, CONVERGED"]
    assert words(axes[1]) == ["ascent", "6 passes", f"log-likelihood {likelihood[2]:.3f}"]
    film.draw(1)
    assert words(axes[0])[1] == "1 pass" and words(axes[1])[1] == "0 passes"


def test_rows_have_the_colours_of_their_components_mixed_by_responsibilities(plane: Comparison) -> None:
    (ax,) = panels(1)
    film = Film([ax], plane, methods=["em"], palette=["#ff0000", "#0000ff"])
    for frame, means in enumerate(([1.0, 4.0], [0.5, 4.5], [0.0, 5.0])):
        film.draw(frame)
        whole = ax.collections[0]
        place = np.asarray(whole.get_offsets())
        assert sorted(map(tuple, place)) == sorted(map(tuple, ROWS))
        red, _, blue, _ = np.asarray(whole.get_facecolor()).T
        # Two round components of one weight: log-odds are linear in the first column.
        odds = ((place[:, 0] - means[1]) ** 2 - (place[:, 0] - means[0]) ** 2) / 2
        np.testing.assert_allclose(red, 1 / (1 + np.exp(-odds)), atol=1e-12)
        np.testing.assert_allclose(red + blue, 1.0, atol=1e-12)
    assert (ax.get_xlabel(), ax.get_ylabel()) == (r"\$x_1\$", " _y")


def test_one_column_is_a_histogram_divided_by_responsibilities_under_densities(trace_of) -> None:
    x = np.concatenate([np.zeros(6), np.full(4, 2.0)])
    broad, narrow = (wb.Mixture.from_covariances([0.6, 0.4], [[0.0], [2.0]], [[[v]], [[v]]]) for v in (4.0, 1e-4))
    problem = wb.Problem(x, 2)
    comparison = Comparison(problem, {"em": trace_of(problem, [[broad, narrow]])})
    (ax,) = panels(1)
    film = Film([ax], comparison)
    for frame, each in enumerate((broad, narrow)):
        film.draw(frame)
        lower, upper = (patch.get_data() for patch in ax.patches)  # type: ignore[attr-defined]
        width = np.diff(lower.edges)
        shares = np.asarray(each.responsibilities(x[:, None])).mean(0)
        assert np.sum(lower.values * width) == pytest.approx(shares[0])
        assert np.sum(upper.values * width) == pytest.approx(1.0) and np.array_equal(upper.baseline, lower.values)
        grid, total = next(line for line in ax.lines if line.get_label() == "mixture").get_data()
        np.testing.assert_allclose(total, np.exp(each.log_density(np.asarray(grid)[:, None])), atol=1e-12)
    # The narrow one leaves the axes, where bars would otherwise be too low to see.
    assert ax.get_ylim()[1] < 2 * np.max(upper.values) < np.max(total)


def test_frames_and_marks_are_bounded(trace_of) -> None:
    rng = np.random.default_rng(0)
    problem = wb.Problem(rng.normal(size=(MOST_MARKS + 500, 2)), 2)
    steps = np.linspace(4.0, 0.0, 70)
    trace = trace_of(problem, [[mixture([mean, -mean]) for mean in steps]])
    ends = {"em": 1, "ascent": 3, "squarem": 7, "newton": 9, "anderson": 11, "natural_gradient": 13}
    several = {name: replace(trace, passes=factor * trace.passes) for name, factor in ends.items()}
    (ax,) = panels(1)
    film = Film([ax], Comparison(problem, {"em": trace}))
    assert film.num_frames == MOST_FRAMES and film.passes[[0, -1]].tolist() == [0, 69]
    assert len(ax.collections[0].get_offsets()) == MOST_MARKS
    assert ax.get_xlabel().endswith(f"{MOST_MARKS:,} of {MOST_MARKS + 500:,} rows are drawn")
    crowd = Film(panels(6), Comparison(problem, several))
    assert FEWEST_FRAMES <= crowd.num_frames <= MOST_FRAMES // 2 and crowd.passes[-1] == 13 * 69


def test_a_row_with_missing_cells_is_hollow_at_its_completion(trace_of) -> None:
    x = ROWS.copy()
    x[::6, 1] = np.nan
    problem = wb.Problem(x, 2, missing="marginal")
    end = mixture([0.0, 5.0])
    comparison = Comparison(problem, {"em": trace_of(problem, [[end]])})
    (ax,) = panels(1)
    film = Film([ax], comparison, palette=["#ff0000", "#0000ff"])
    whole, hollow = ax.collections
    assert film.num_frames == 1
    assert (len(whole.get_offsets()), len(hollow.get_offsets())) == (50, 10)
    assert len(hollow.get_facecolor()) == 0 and ax.get_xlabel().endswith("hollow: cells missing, placed by completion")
    # It is coloured by the cell that it has.
    at = np.asarray(hollow.get_offsets())[:, 0]
    red = np.asarray(hollow.get_edgecolor())[:, 0]
    np.testing.assert_allclose(red, 1 / (1 + np.exp(-((at - 5) ** 2 - at**2) / 2)), atol=1e-12)


def test_a_spike_is_a_line_and_what_is_not_finite_leaves_the_mixture_before_it(trace_of) -> None:
    problem = wb.Problem(ROWS, 2)
    flat = np.array([[1.0, 0.0], [0.0, 1e-18]])
    spike = wb.Mixture.from_covariances([0.5, 0.5], [[0.0, 0.0], [5.0, 0.0]], [np.eye(2), flat])
    nothing = replace(spike, means=spike.means * np.nan)
    trace = trace_of(problem, [[mixture([0.0, 5.0]), spike, nothing]])
    (ax,) = panels(1)
    film = Film([ax], Comparison(problem, {"em": replace(trace, collapsed=np.array([True]))}))
    film.draw(1)
    line = ellipse(ax, 1)
    assert np.ptp(line[:, 0]) == pytest.approx(2.0) and np.ptp(line[:, 1]) < 1e-6
    film.draw(2)
    np.testing.assert_array_equal(ellipse(ax, 1), line)
    assert words(ax)[1].startswith("2 passes, ") and words(ax)[2] == "log-likelihood nan"


def test_rows_beyond_every_density_are_grey(trace_of) -> None:
    problem = wb.Problem(ROWS, 2)
    far = mixture([1e200, 2e200])
    (ax,) = panels(1)
    Film([ax], Comparison(problem, {"em": trace_of(problem, [[far, mixture([0.0, 5.0])]])}))
    np.testing.assert_allclose(np.asarray(ax.collections[0].get_facecolor())[:, :3], float(DATA))


def test_one_component_and_one_row_are_one_frame_without_a_legend_of_mixtures(trace_of) -> None:
    problem = wb.Problem(ROWS[:, :1], 1)
    one = wb.Mixture.from_covariances([1.0], [[2.5]], [[[7.0]]])
    (ax,) = panels(1)
    film = Film([ax], Comparison(problem, {"em": trace_of(problem, [[one]])}))
    assert film.num_frames == 1 and words(ax)[1] == "0 passes, CONVERGED"
    assert ax.get_legend_handles_labels()[1] == ["component 1"]


def test_the_animation_is_of_matplotlib_and_pauses_at_its_end(plane: Comparison) -> None:
    axes = panels(2)
    made = plots.animation(axes, plane, legend="above")
    assert made._repeat_delay == HELD and len(list(made.new_frame_seq())) == 6  # type: ignore[attr-defined]
    legend = axes[0].get_legend()
    assert legend is not None and [text.get_text() for text in legend.get_texts()] == ["component 1", "component 2"]
    # It draws the frames, and says nothing of an animation that was never shown.
    page = made.to_jshtml()
    assert page.count("data:image/png;base64") == 6
    assert words(axes[1])[1] == "9 passes, CONVERGED"


@pytest.mark.parametrize(
    ("keywords", "message"),
    [
        ({"methods": ["em", "nuts"]}, "methods: nuts: draws from a posterior and climbs to no end"),
        ({"methods": ["cem"]}, "methods: cem: the comparison has em, ascent, nuts"),
        ({"restart": 2}, "restart: give a whole number from 0 to 1, got 2"),
        ({"columns": ["z"]}, "columns: unknown column 'z'"),
        ({"palette": "blurple"}, "palette: blurple: is no colour"),
        ({"methods": ["em"]}, "axes: 1 are needed, one each for em, got 2"),
    ],
)
def test_a_wrong_argument_is_one_message(
    plane: Comparison, trace_of, keywords: dict[str, object], message: str
) -> None:
    draws = trace_of(plane.problem, [[mixture([0.0, 5.0])] * 2], draws=1)
    comparison = Comparison(plane.problem, {**plane, "nuts": draws})
    assert plots.climbing(comparison) == ["em", "ascent"]
    with pytest.raises(InputError, match=message):
        plots.animation(panels(2), comparison, **keywords)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="animation: none of nuts climbs; add a method that does"):
        plots.climbing(Comparison(plane.problem, {"nuts": draws}))
