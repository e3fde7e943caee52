"""Claims about the plots: they draw what the traces say, on the Axes given, and change nothing else."""

import dataclasses
import itertools
import subprocess
import sys

import jax
import matplotlib
import numpy as np
import pytest
from matplotlib.contour import ContourSet
from matplotlib.figure import Figure

import workbench as wb
from workbench import plots
from workbench.compare import Comparison
from workbench.compare.summary import statuses_and_mixing
from workbench.diagnostics import Status
from workbench.methods import METHODS
from workbench.plots.estimates import Gaussians
from workbench.plots.score import Gaps
from workbench.plots.style import CYCLE, plain, short_unit
from workbench.report.figures import figures_of, words_of


def jittered(mixture: wb.Mixture, chains: int, rows: int) -> wb.Mixture:
    """Mixtures around one, as a sampler's chain would visit. Leaves [R, T, ...]"""
    rng = np.random.default_rng(0)
    repeated = jax.tree.map(lambda leaf: np.broadcast_to(leaf, (chains, rows, *leaf.shape)), mixture)
    away = rng.normal(scale=0.05, size=repeated.means.shape)
    return dataclasses.replace(repeated, means=repeated.means + away)


@pytest.fixture(scope="session")
def two_columns(trace_of) -> Comparison:
    """EM, and a stand-in for a sampler: 4 rows of warm-up and 60 draws of 2 chains around EM's answer."""
    data = wb.load_dataset("faithful")
    problem = wb.Problem(data.x[::3], 2)
    made = wb.compare(problem, [wb.EM()], restarts=3, seed=0)
    around = jittered(made["em"].best(problem), 2, 64)
    traces = {"em": made["em"], "nuts": trace_of(problem, around, draws=60)}
    return dataclasses.replace(made, traces=traces, name="faithful", columns=data.columns, units=data.units)


@pytest.fixture(scope="session")
def one_column() -> Comparison:
    data = wb.load_dataset("galaxies").divide(1000)
    made = wb.compare(wb.Problem(data.x, 3), [wb.EM()], restarts=4, seed=0)
    return dataclasses.replace(made, columns=data.columns, units=data.units)


@pytest.fixture(scope="session")
def one_column_sampled(tiny_run) -> Comparison:
    """EM, gradient ascent and NUTS."""
    return tiny_run[1]


@pytest.fixture(scope="session")
def three_columns() -> Comparison:
    """Forty points, four full covariances and no prior: many restarts collapse, and some end above the best."""
    rng = np.random.default_rng(1)
    x = np.concatenate([rng.normal(0, 1, (25, 3)), rng.normal(3, 1, (15, 3))])
    made = wb.compare(wb.Problem(x, 4), [wb.EM()], restarts=30, seed=0)
    traces = {"em": made["em"], "_a $x$ b$": made["em"]}
    return dataclasses.replace(made, traces=traces, columns=("p_$", "b$2$", "_c"), units="none")


DRAWN = [
    (plots.score, "two_columns"),
    (plots.score, "one_column"),
    (plots.score, "three_columns"),
    (plots.fit, "two_columns"),
    (plots.fit, "one_column"),
    (plots.waterfall, "two_columns"),
    (plots.waterfall, "one_column"),
    (plots.waterfall, "three_columns"),
    (plots.posterior, "two_columns"),
    (plots.posterior, "one_column_sampled"),
]


def axes():
    figure = Figure()
    return figure, figure.subplots()


def render(figure: Figure) -> None:
    figure.draw_without_rendering()


def texts(ax) -> list[str]:
    return [text.get_text() for text in ax.get_legend().get_texts()]


@pytest.mark.parametrize(("draw", "name"), DRAWN)
def test_a_plot_draws_on_the_axes_it_is_given_and_changes_no_setting(draw, name, request) -> None:
    comparison = request.getfixturevalue(name)
    settings = dict(matplotlib.rcParams)
    figure, (ax, other) = (lambda f: (f, f.subplots(1, 2)))(Figure())
    assert draw(ax, comparison) is None
    render(figure)
    assert figure.axes == [ax, other]
    assert ax.has_data() and not other.has_data()
    assert ax.get_xlabel() and ax.get_ylabel()
    assert dict(matplotlib.rcParams) == settings


@pytest.mark.parametrize(("draw", "name"), DRAWN)
def test_a_plot_never_draws_what_is_not_finite_on_its_axis(draw, name, request) -> None:
    _, ax = axes()
    draw(ax, request.getfixturevalue(name))
    limits = [*ax.get_xlim(), *ax.get_ylim()]
    assert np.all(np.isfinite(limits))


def test_importing_the_plots_does_not_import_matplotlib() -> None:
    code = "import sys, workbench.plots; sys.exit('matplotlib' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_most_compared_methods_keep_their_colour_in_any_company() -> None:
    owned = ("em", "ascent", "nuts")
    alone = {name: plots.colours([name])[name] for name in owned}
    mixed = plots.colours(["mine", *reversed(METHODS), "yours"])
    assert {name: mixed[name] for name in owned} == alone
    others = [colour for name, colour in mixed.items() if name not in owned]
    assert not set(others) & set(alone.values())
    few = plots.colours(["mine", *owned, "squarem", "anderson", "online_em"])
    assert len(set(few.values())) == len(few)


@pytest.mark.parametrize("count", [1, 5, 7, 20])
def test_methods_have_different_colours_as_far_as_colours_go(count) -> None:
    names = [f"m{i}" for i in range(count)]
    assert len(set(plots.colours(names).values())) == min(count, len(CYCLE))


@pytest.mark.parametrize(
    ("units", "short"),
    [
        ("minutes (eruption duration; waiting time to next eruption)", "minutes"),
        ("1000 km/s", "1000 km/s"),
        ("log(ANC + 50), ANC = acid-neutralising capacity", "log(ANC + 50)"),
        ("mm (FL, RW, CL, CW, BD)", "mm"),
        ("10 x (mg per litre)", "10 x (mg per litre)"),
        ("mixed: relative weight; mg/100ml", ""),
        ("none", ""),
        ("", ""),
    ],
)
def test_an_axis_carries_a_unit_only_where_one_holds_for_all_columns(units, short) -> None:
    assert short_unit(units) == short


def test_axes_name_their_columns_and_units(two_columns, one_column) -> None:
    _, ax = axes()
    plots.fit(ax, two_columns)
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("eruptions (minutes)", "waiting (minutes)")
    _, ax = axes()
    plots.fit(ax, one_column)
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("velocity (1000 km/s)", "density")


def test_names_are_shown_as_typed_even_if_they_look_like_formulas_or_hidden_labels(three_columns) -> None:
    figure = Figure()
    grid = figure.subplots(3, 3)
    plots.pairs(grid, three_columns)
    render(figure)
    assert grid[2, 0].get_xlabel() == r"p_\$"
    assert any(r"_a \$x\$ b\$" in text for text in texts(grid[0, 1]))
    assert plain("a_b") == "a_b"


def test_the_panels_of_a_pair_plot_share_their_axes_along_rows_and_columns(three_columns) -> None:
    grid = Figure().subplots(3, 3)
    plots.pairs(grid, three_columns)
    assert len({ax.get_xlim() for ax in grid[:, 0]}) == 1
    assert len({ax.get_ylim() for ax in grid[2, :2]}) == 1


def test_the_curve_of_a_fit_is_the_density_of_its_mixture(one_column) -> None:
    """To 1e-12: both are float64 evaluations of the same formula."""
    mixture = one_column["em"].best(one_column.problem)
    gaussians = Gaussians.of(mixture)
    grid = gaussians.grid(0, 5.0, 40.0)
    expected = np.exp(np.asarray(mixture.log_density(grid[:, None])))
    np.testing.assert_allclose(gaussians.densities(0, grid).sum(0), expected, rtol=1e-12, atol=1e-300)


def test_an_ellipse_lies_at_its_radius_in_mahalanobis_distance(two_columns) -> None:
    gaussians = Gaussians.of(two_columns["em"].best(two_columns.problem))
    for contour, mean, covariance in zip(
        gaussians.ellipses((0, 1), 2.0), gaussians.means, gaussians.covariances, strict=True
    ):
        away = contour.T - mean
        distance = np.sqrt(np.sum(away * np.linalg.solve(covariance, away.T).T, -1))
        np.testing.assert_allclose(distance, 2.0, rtol=1e-10)


def test_the_grid_of_a_density_meets_the_narrowest_component() -> None:
    narrow = Gaussians(np.ones(1), np.array([[0.123456]]), np.array([[[1e-10]]]))
    grid = narrow.grid(0, -5.0, 5.0)
    assert narrow.densities(0, grid).max() == pytest.approx(1 / np.sqrt(2 * np.pi * 1e-10), rel=1e-9)


def test_collapsed_restarts_above_the_best_are_counted_and_do_not_stretch_the_axis(three_columns) -> None:
    gaps = Gaps.of(three_columns).below(three_columns["em"].log_joint[:, -1])
    above = gaps[gaps < -1e-3]
    assert len(above) > 0
    _, ax = axes()
    plots.waterfall(ax, three_columns)
    assert any(f"{len(above)} above, by up to {-above.min():,.3g}" in note.get_text() for note in ax.texts)
    assert min(ax.get_ylim()) > -1.0
    _, ax = axes()
    plots.score(ax, three_columns)
    assert "collapsed, above the best" in texts(ax)
    assert np.all(np.asarray(ax.get_ylim()) > 0)


@pytest.mark.parametrize(("draw", "name"), DRAWN)
def test_a_legend_lies_within_ordinary_axes(draw, name, request) -> None:
    figure, ax = axes()
    draw(ax, request.getfixturevalue(name))
    render(figure)
    inner, legend = ax.get_window_extent(), ax.get_legend().get_window_extent()
    assert inner.x0 <= legend.x0 and legend.x1 <= inner.x1 and inner.y0 <= legend.y0 and legend.y1 <= inner.y1


@pytest.mark.parametrize("place", ["above", "right"])
@pytest.mark.parametrize("draw", [plots.score, plots.fit, plots.waterfall, plots.posterior])
def test_a_legend_outside_lies_within_a_figure_that_makes_room(draw, place, two_columns) -> None:
    figure = Figure(figsize=(9, 6), layout="constrained")
    ax = figure.subplots()
    draw(ax, two_columns, legend=place)
    render(figure)
    inner, legend = ax.get_window_extent(), ax.get_legend().get_window_extent()
    assert legend.y0 >= inner.y1 - 1 if place == "above" else legend.x0 >= inner.x1 - 1
    assert legend.x0 >= 0 and legend.y0 >= 0 and legend.x1 <= figure.bbox.x1 and legend.y1 <= figure.bbox.y1


@pytest.mark.parametrize("draw", [plots.score, plots.fit])
def test_a_plot_shows_the_methods_that_are_chosen_in_their_own_colours(draw, two_columns) -> None:
    _, ax = axes()
    draw(ax, two_columns, methods=["nuts"])
    assert len(texts(ax)) == 1 and texts(ax)[0].startswith("nuts")
    shade = plots.colours(two_columns)["nuts"]
    assert shade in {line.get_color() for line in ax.lines}
    assert plots.colours(two_columns)["em"] not in {line.get_color() for line in ax.lines}
    with pytest.raises(wb.InputError, match="the comparison has em, nuts"):
        draw(ax, two_columns, methods=["em", "gibs"])
    with pytest.raises(wb.InputError, match="allowed: inside, above, right, False"):
        draw(ax, two_columns, legend="below")


@pytest.mark.parametrize("width", [3.2, 6.4])
@pytest.mark.parametrize("against", ["passes", "seconds"])
def test_labels_of_prices_do_not_overprint_each_other(width, against, two_columns, one_column) -> None:
    for comparison in (two_columns, one_column):
        figure = Figure(figsize=(width, 4))
        ax = figure.subplots()
        plots.score(ax, comparison, against, legend=False)
        render(figure)
        shown = [label.get_window_extent() for label in ax.get_xticklabels() if label.get_text()]
        ends = sorted((box.x0, box.x1) for box in shown)
        assert len(ends) >= 2
        assert all(before[1] < after[0] for before, after in itertools.pairwise(ends))


def test_a_waterfall_marks_every_finite_end_once(three_columns) -> None:
    _, ax = axes()
    plots.waterfall(ax, three_columns)
    marks = [line for line in ax.lines if len(line.get_xdata()) == 1 and line.get_marker() != "None"]
    ends = [verdict for name in three_columns for verdict in statuses_and_mixing(three_columns, name)[0]]
    assert len(marks) == sum(verdict.status != Status.NONFINITE for verdict in ends)


def test_no_drawn_gap_of_a_sound_comparison_is_above_the_best(two_columns) -> None:
    gaps = Gaps.of(two_columns)
    assert gaps.sound
    assert all(np.nanmin(gaps.below(trace.log_joint[:, -1])) >= 0 for trace in two_columns.values())


def test_a_row_too_low_for_any_axis_is_left_out() -> None:
    below = Gaps(-400.0, True).below(np.array([-410.0, -1e302, -np.inf, np.nan]))
    np.testing.assert_array_equal(below, [10.0, np.nan, np.nan, np.nan])


def test_posterior_without_a_sampler_and_fit_of_many_columns_say_what_to_do(one_column, three_columns) -> None:
    _, ax = axes()
    with pytest.raises(wb.InputError, match="leave this plot out"):
        plots.posterior(ax, one_column)
    with pytest.raises(wb.InputError, match=r"use pairs\(axes, comparison\)"):
        plots.fit(ax, three_columns)
    with pytest.raises(wb.InputError, match="C at most 3"):
        plots.pairs(Figure().subplots(4, 4), three_columns)


def test_methods_without_a_sound_answer_are_named_and_not_drawn(one_column) -> None:
    trace = one_column["em"]
    collapsed = dataclasses.replace(trace, collapsed=np.ones_like(trace.collapsed))
    nothing = dataclasses.replace(one_column, traces={"em": collapsed})
    _, ax = axes()
    plots.fit(ax, nothing)
    assert texts(ax) == ["em: no sound answer"]
    _, ax = axes()
    plots.score(ax, nothing)
    assert "none is sound" in ax.get_ylabel()


@pytest.mark.parametrize("draw", [plots.score, plots.waterfall, plots.fit])
def test_a_run_without_a_finite_score_still_gives_a_plot(draw, one_column) -> None:
    trace = one_column["em"]
    lost = dataclasses.replace(trace, log_joint=np.full_like(trace.log_joint, np.nan))
    figure, ax = axes()
    draw(ax, dataclasses.replace(one_column, traces={"em": lost}))
    render(figure)


@pytest.mark.parametrize("draw", [plots.score, plots.waterfall, plots.fit, plots.posterior])
def test_samplers_alone_give_a_plot(draw, two_columns) -> None:
    figure, ax = axes()
    draw(ax, dataclasses.replace(two_columns, traces={"nuts": two_columns["nuts"]}))
    render(figure)


def test_draws_of_many_samplers_have_a_panel_each_on_one_scale(one_column_sampled) -> None:
    (name,) = (name for name, trace in one_column_sampled.items() if trace.is_sampler)
    several = {f"{name}_{r}": one_column_sampled[name] for r in range(3)}
    both = one_column_sampled.traces | several
    panels = figures_of(dataclasses.replace(one_column_sampled, traces=both), "posterior")["posterior"].axes
    drawn = [text.get_text() for ax in panels if ax.get_legend() for text in ax.get_legend().get_texts()]
    # Each sampler in one panel, and every other method in all of them.
    for sampler in (name, *several):
        assert sum(text.startswith(f"{sampler}: ") for text in drawn) == 1
    assert sum(text.startswith("em ") for text in drawn) == 4
    assert len({ax.get_ylim() for ax in panels if ax.get_legend()}) == 1
    with pytest.raises(wb.InputError, match="the comparison has"):
        plots.posterior(axes()[1], one_column_sampled, methods=["gone"])


def test_labels_that_chains_disagree_on_change_colour_and_relabelled_ones_do_not(two_columns) -> None:
    trace = two_columns["nuts"]
    swapped = jax.tree.map(np.array, trace.mixtures)
    for leaf in (swapped.weights, swapped.means, swapped.scales):
        leaf[1] = leaf[1, :, ::-1]
    comparison = dataclasses.replace(two_columns, traces={"nuts": dataclasses.replace(trace, mixtures=swapped)})
    axes = Figure().subplots(1, 2)
    plots.labels(axes, comparison, "nuts")
    sampled, relabelled = ([line.get_ydata().mean() for line in ax.lines if len(line.get_xdata()) > 2] for ax in axes)
    # Two chains of two components, one colour after the other; draws scatter by 0.05, and the groups lie 2 apart.
    assert abs(sampled[0] - sampled[2]) > 1 and abs(relabelled[0] - relabelled[2]) < 0.5
    assert relabelled[0] < relabelled[1]
    with pytest.raises(wb.InputError, match="give the trace of a sampler"):
        plots.labels(axes, two_columns, "em")


def test_a_fit_shows_the_mean_of_a_samplers_draws_and_not_one_of_them(one_column_sampled, two_columns) -> None:
    _, ax = axes()
    plots.fit(ax, one_column_sampled)
    assert "nuts: posterior mean" in texts(ax)
    (curve,) = (line for line in ax.lines if line.get_label() == "nuts: posterior mean")
    draws = one_column_sampled["nuts"].answer
    flat = jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:]), draws)
    at = curve.get_xdata()[::50, None]
    densities = np.exp(jax.vmap(lambda mixture: mixture.log_density(at))(flat))
    # The same formula, summed in another order.
    np.testing.assert_allclose(curve.get_ydata()[::50], np.mean(densities, axis=0), rtol=1e-10, atol=1e-300)
    (shade,) = (found for found in ax.collections if len(found.get_paths()) == 1 and len(found.get_facecolor()))
    assert shade.get_paths()[0].vertices[:, 1].max() >= curve.get_ydata().max()
    figure, ax = axes()
    plots.fit(ax, two_columns)
    render(figure)
    assert any(isinstance(found, ContourSet) for found in ax.collections)


def test_a_sampler_without_a_finite_draw_is_named_and_not_drawn(two_columns) -> None:
    trace = two_columns["nuts"]
    lost = dataclasses.replace(trace, mixtures=jax.tree.map(lambda leaf: np.full_like(leaf, np.nan), trace.mixtures))
    _, ax = axes()
    plots.fit(ax, dataclasses.replace(two_columns, traces={"nuts": lost}))
    assert texts(ax) == ["nuts: no finite draw"]


def test_co_clustering_has_a_panel_for_each_answer_in_one_order(two_columns, one_column) -> None:
    figure = Figure()
    panels = figure.subplots(1, 2).tolist()
    images = plots.clustering(panels, two_columns)
    render(figure)
    assert [ax.get_title() for ax in panels] == ["em", "nuts"]
    assert {image.get_clim() for image in images} == {(0.0, 1.0)}
    point, draws = (np.asarray(ax.images[0].get_array()) for ax in panels)
    # The draws lie a hundredth of the distance between the groups about the estimate.
    assert np.corrcoef(point.ravel(), draws.ravel())[0, 1] > 0.9
    _, ax = axes()
    trace = one_column["em"]
    nothing = dataclasses.replace(trace, collapsed=np.ones_like(trace.collapsed))
    assert plots.clustering([], dataclasses.replace(one_column, traces={"em": nothing})) == []
    plots.clustering([ax], one_column)
    assert ax.get_ylabel() == "points by velocity (1000 km/s)"


@pytest.mark.parametrize("against", ["passes", "seconds"])
def test_the_score_can_be_drawn_against_either_price(against, two_columns) -> None:
    _, ax = axes()
    plots.score(ax, two_columns, against=against)
    assert against in ax.get_xlabel()
    assert ax.get_ylim()[0] > ax.get_ylim()[1], "up is better"


def test_a_pair_plot_of_some_columns_says_of_how_many(three_columns):
    grid = Figure().subplots(2, 2)
    plots.pairs(grid, three_columns)
    assert "the first 2 of 3 columns" in grid[0, 1].get_legend().get_title().get_text()
    words = words_of("fit", 8).caption
    assert words.endswith("Of 8 columns the first 6 are shown.")
    assert "are shown" not in words_of("fit", 6).caption
