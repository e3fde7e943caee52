"""Classification and uncertainty plots show what the mixture says of each row, and components as they are projected."""

import dataclasses
from typing import Any, Literal

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure

import workbench as wb
from workbench import plots
from workbench.compare import Comparison
from workbench.errors import InputError
from workbench.plots.classification import NOISE, UNCERTAINTY
from workbench.plots.estimates import Gaussians
from workbench.plots.style import CYCLE
from workbench.plots.view import view_of


@pytest.fixture(scope="module")
def iris(trace_of) -> Comparison:
    """EM's stand-in: the means and covariances of the three species."""
    data = wb.load_dataset("iris")
    assert data.labels is not None
    parts = [data.x[data.labels == name] for name in np.unique(data.labels)]
    mixture = wb.Mixture.from_covariances(
        np.full(3, 1 / 3), np.stack([part.mean(0) for part in parts]), np.stack([np.cov(part.T) for part in parts])
    )
    problem = wb.Problem(data, 3)
    reference = wb.Reference.of(data)
    return Comparison(problem, {"em": trace_of(problem, [[mixture]])}, reference, columns=data.columns, units="cm")


@pytest.fixture(scope="module")
def column(trace_of) -> Comparison:
    rng = np.random.default_rng(5)
    x = np.concatenate([rng.normal(0, 1, 40), rng.normal(6, 1, 20)])
    mixture = wb.Mixture.from_covariances([2 / 3, 1 / 3], [[0.0], [6.0]], [[[1.0]], [[1.0]]])
    problem = wb.Problem(x, 2, columns=["wait"])
    return Comparison(problem, {"em": trace_of(problem, [[mixture]])}, columns=("wait",), units="min")


def mixture_of(comparison: Comparison) -> wb.Mixture:
    best = comparison["em"].best(comparison.problem)
    assert best is not None
    return best.canonical()


def axes() -> Axes:
    return Figure().subplots()


def points_by_colour(ax: Axes) -> dict[str, np.ndarray]:
    found: dict[str, list[np.ndarray]] = {}
    for line in ax.lines:
        if line.get_marker() not in ("None", "none", None, "") and len(line.get_xdata()):
            found.setdefault(to_hex(line.get_color()).upper(), []).append(np.column_stack(line.get_data()))
    return {colour: np.concatenate(parts) for colour, parts in found.items()}


def same_rows(one: np.ndarray, other: np.ndarray) -> bool:
    return np.array_equal(one[np.lexsort(one.T)], other[np.lexsort(other.T)])


def test_each_row_has_the_colour_of_its_component(iris: Comparison) -> None:
    ax = axes()
    plots.classification(ax, iris, columns=["petal_length", "petal_width"])
    component = np.asarray(mixture_of(iris).predict(iris.problem.x))
    shown = points_by_colour(ax)
    for k in range(3):
        assert same_rows(shown[CYCLE[k]], iris.problem.x[component == k][:, 2:])
    legend = ax.get_legend()
    assert legend is not None
    assert [text.get_text() for text in legend.get_texts()] == [
        *(f"component {k}" for k in (1, 2, 3)), "setosa", "versicolor", "virginica",
        "components at 1\nand 2 standard\ndeviations",
    ]  # fmt: skip
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("petal_length (cm)", "petal_width (cm)")


def test_a_legend_above_says_what_the_ellipses_are_in_its_title(iris: Comparison) -> None:
    ax = axes()
    plots.classification(ax, iris, legend="above")
    legend = ax.get_legend()
    assert legend is not None
    assert legend.get_title().get_text() == "ellipses: components at 1 and 2 standard deviations"
    assert not any("deviations" in text.get_text() for text in legend.get_texts())


def test_each_row_has_the_colour_of_its_class_on_request(iris: Comparison) -> None:
    ax = axes()
    plots.classification(ax, iris, columns=["petal_width", "sepal_length"], colour="class", palette=["r", "g", "b"])
    shown = points_by_colour(ax)
    labels = iris.reference.labels
    for colour, name in (("#FF0000", "setosa"), ("#008000", "versicolor"), ("#0000FF", "virginica")):
        assert same_rows(shown[colour], iris.problem.x[labels == name][:, [3, 0]])


def test_more_than_two_columns_are_shown_in_their_principal_components(iris: Comparison) -> None:
    x = iris.problem.x
    view = view_of(iris, Gaussians.of(mixture_of(iris)))
    # By NumPy's singular values of the standardised columns.
    z = (x - x.mean(0)) / x.std(0)
    _, values, axes_of = np.linalg.svd(z, full_matrices=False)
    np.testing.assert_allclose(np.abs(view.x), np.abs(z @ axes_of[:2].T), atol=1e-12)
    share = values**2 / np.sum(values**2)
    assert view.labels[0] == f"PC 1 of standardised columns ({100 * share[0]:.0f} %)"
    # The image of each component has the mean and covariance of the image of its own draws' moments.
    labels = iris.reference.labels
    for k, name in enumerate(("setosa", "versicolor", "virginica")):
        part = view.x[labels == name]
        np.testing.assert_allclose(view.gaussians.means[k], part.mean(0), atol=1e-12)
        np.testing.assert_allclose(view.gaussians.covariances[k], np.cov(part.T), atol=1e-12)


def test_marks_are_the_larger_and_darker_the_less_sure(iris: Comparison) -> None:
    figure = Figure()
    ax = figure.subplots()
    marks = plots.uncertainty(ax, iris, columns=["sepal_width", "petal_width"])
    chance = 1 - np.asarray(mixture_of(iris).responsibilities(iris.problem.x)).max(1)
    order = np.argsort(chance, kind="stable")
    np.testing.assert_array_equal(np.asarray(marks.get_array()), chance[order])
    np.testing.assert_array_equal(np.asarray(marks.get_offsets()), iris.problem.x[order][:, [1, 3]])
    sizes = marks.get_sizes()
    assert np.all(np.diff(sizes) >= 0) and sizes[-1] > 2 * sizes[0]
    assert marks.get_clim() == pytest.approx((0, 2 / 3))
    figure.draw_without_rendering()
    lightness = np.asarray(marks.to_rgba(np.linspace(0, 2 / 3, 9)))[:, :3] @ [0.299, 0.587, 0.114]
    assert np.all(np.diff(lightness) < 0)


def test_one_column_is_a_divided_histogram_and_a_curve(column: Comparison) -> None:
    ax = axes()
    plots.classification(ax, column)
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("wait (min)", "density")
    # Bars of both components, whose areas are the shares of the rows.
    bars = [(bar.get_facecolor()[:3], bar.get_width() * bar.get_height()) for bar in ax.patches]
    areas = [sum(area for colour, area in bars if to_hex(colour).upper() == CYCLE[k]) for k in range(2)]
    assert areas == pytest.approx([40 / 60, 20 / 60])
    ax = axes()
    marks = plots.uncertainty(ax, column)
    x, chance = np.asarray(marks.get_offsets()).T
    by_hand = 1 / (1 + np.exp(-np.abs(np.log(2) - (x**2 - (x - 6) ** 2) / 2)))
    np.testing.assert_allclose(chance, 1 - by_hand, atol=1e-12)
    assert ax.get_ylabel() == UNCERTAINTY


@pytest.mark.parametrize(
    ("keywords", "message"),
    [
        ({"columns": ["petal_lenght"]}, "columns: unknown column 'petal_lenght'. Did you mean 'petal_length'"),
        ({"columns": ["petal_length", "petal_width", "sepal_width"]}, "columns: 3 are more than a plane has"),
        ({"colour": "species"}, "colour: unknown 'species'; allowed: component, class"),
        ({"palette": "blurple"}, "palette: blurple: is no colour and no colour map"),
        ({"palette": []}, "palette: empty: is no colour"),
        ({"legend": "below"}, "legend: unknown 'below'"),
        ({"method": "nuts"}, "nuts: failed: it has no run"),
    ],
)
def test_a_wrong_argument_is_one_message(iris: Comparison, keywords: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        plots.classification(axes(), iris, **keywords)  # type: ignore[arg-type]


def test_classes_are_coloured_only_where_they_are_known(iris: Comparison) -> None:
    without = dataclasses.replace(iris, reference=wb.Reference())
    with pytest.raises(InputError, match="colour: no classes are known"):
        plots.classification(axes(), without, colour="class")
    ax = axes()
    plots.classification(ax, without, legend=False, palette="viridis")
    assert ax.get_legend() is None and len(points_by_colour(ax)) == 3


def test_weighted_values_draw_as_the_repeated_rows_do(trace_of) -> None:
    # 53 values, each of which counts one to nine times.
    rng = np.random.default_rng(7)
    x = np.concatenate([rng.normal(0, 1, 35), rng.normal(6, 1, 18)])[:, None]
    weights = rng.integers(1, 10, 53).astype(float)
    mixture = wb.Mixture.from_covariances([2 / 3, 1 / 3], [[0.0], [6.0]], [[[1.0]], [[1.0]]])
    bars = []
    for problem in (wb.Problem(x, 2, weights=weights), wb.Problem(np.repeat(x, weights.astype(int), axis=0), 2)):
        ax = axes()
        plots.classification(ax, Comparison(problem, {"em": trace_of(problem, [[mixture]])}))
        bars.append([(bar.get_x(), bar.get_y(), bar.get_width(), bar.get_height()) for bar in ax.patches])
    np.testing.assert_allclose(*bars, atol=1e-12)
    assert sum(width * height for _, _, width, height in bars[0]) == pytest.approx(1.0)


def test_principal_components_of_weighted_rows_are_those_of_the_repeated_rows(trace_of) -> None:
    rng = np.random.default_rng(11)
    x = rng.normal(size=(30, 3)) @ [[1.0, 0.5, 0.0], [0.0, 1.0, 0.7], [0.0, 0.0, 1.0]]
    weights = rng.integers(1, 5, 30).astype(int)
    mixture = wb.Mixture.from_covariances([1.0], [x.mean(0)], [np.cov(x.T)])
    views = []
    for problem in (wb.Problem(x, 1, weights=weights.astype(float)), wb.Problem(np.repeat(x, weights, axis=0), 1)):
        comparison = Comparison(problem, {"em": trace_of(problem, [[mixture]])})
        views.append(view_of(comparison, Gaussians.of(mixture)))
    np.testing.assert_allclose(np.repeat(views[0].x, weights, axis=0), views[1].x, atol=1e-12)
    assert views[0].labels == views[1].labels


@pytest.fixture(scope="module")
def holes(trace_of) -> Comparison:
    """Two clear groups that one Gaussian completes badly, and rows of which either cell is missing."""
    rng = np.random.default_rng(2)
    x = np.concatenate([rng.normal([0, 0], [1, 0.3], (60, 2)), rng.normal([1, 4], [1, 0.3], (20, 2))])
    x[::5, 0], x[2::5, 1] = np.nan, np.nan
    mixture = wb.Mixture.from_covariances(
        [0.75, 0.25], [[0.0, 0.0], [1.0, 4.0]], [np.diag([1.0, 0.09]), np.diag([1.0, 0.09])]
    )
    problem = wb.Problem(x, 2, missing="marginal", columns=["a", "b"])
    return Comparison(problem, {"em": trace_of(problem, [[mixture]])}, columns=("a", "b"))


def test_rows_with_missing_cells_have_the_label_that_their_own_cells_give_and_hollow_marks(holes: Comparison) -> None:
    problem, mixture = holes.problem, mixture_of(holes)
    component = np.asarray(mixture.predict(problem.x, missing="marginal"))
    # The completed cells would give other labels to some.
    assert np.any(component != np.asarray(mixture.predict(problem.sample)))
    ax = axes()
    plots.classification(ax, holes)
    shown = points_by_colour(ax)
    for k in range(2):
        assert same_rows(shown[CYCLE[k]], problem.sample[component == k])
    hollow = [np.column_stack(line.get_data()) for line in ax.lines if line.get_markerfacecolor() == "white"]
    assert same_rows(np.concatenate(hollow), problem.sample[np.isnan(problem.x).any(axis=1)])
    assert ax.get_xlabel() == "a\nhollow: cells missing, placed by completion"
    # Of one column, rows are completed that have no cell there.
    view = view_of(holes, Gaussians.of(mixture), ["b"])
    np.testing.assert_array_equal(view.completed, np.isnan(problem.x[:, 1]))


def test_the_uncertainty_of_a_row_with_missing_cells_is_that_given_its_own_cells(holes: Comparison) -> None:
    problem = holes.problem
    chance = 1 - np.asarray(mixture_of(holes).responsibilities(problem.x, missing="marginal")).max(1)
    ringed = np.isnan(problem.x).any(axis=1)
    # The least sure on top of others of their kind, and the ringed on top of all.
    order = np.concatenate(
        [rows[np.argsort(chance[rows], kind="stable")] for rows in map(np.flatnonzero, (~ringed, ringed))]
    )
    ax = axes()
    marks = plots.uncertainty(ax, holes)
    np.testing.assert_array_equal(np.asarray(marks.get_array()), chance[order])
    np.testing.assert_array_equal(np.asarray(marks.get_offsets()), problem.sample[order])
    np.testing.assert_array_equal(np.asarray(marks.get_linewidths()) > 0, ringed[order])
    assert ax.get_xlabel() == "a\nringed: cells missing, placed by completion"


def test_a_few_rows_with_missing_cells_lie_above_thousands_of_others_and_are_no_smaller_than_on_few(trace_of) -> None:
    rng = np.random.default_rng(4)
    x = rng.normal(size=(5000, 2))
    x[:6, 0] = np.nan
    mixture = wb.Mixture.from_covariances([0.5, 0.5], [[-1.0, 0.0], [1.0, 0.0]], [np.eye(2), np.eye(2)])
    problem = wb.Problem(x, 2, missing="marginal")
    comparison = Comparison(problem, {"em": trace_of(problem, [[mixture]])})
    ax = axes()
    plots.classification(ax, comparison)
    drawn = [line for line in ax.lines if line.get_linestyle() == "None" and len(line.get_xdata())]
    hollow = [line for line in drawn if line.get_markerfacecolor() == "white"]
    others = [line for line in drawn if line not in hollow]
    assert sum(len(line.get_xdata()) for line in hollow) == 6
    assert min(line.get_zorder() for line in hollow) > max(line.get_zorder() for line in others)
    assert min(line.get_markersize() for line in hollow) > max(line.get_markersize() for line in others)
    marks = plots.uncertainty(axes(), comparison)
    assert np.all(np.asarray(marks.get_linewidths())[-6:] > 0)
    assert np.min(marks.get_sizes()[-6:]) >= 14.0 > np.min(marks.get_sizes())


def test_whole_rows_have_no_note_and_no_rings(iris: Comparison) -> None:
    ax = axes()
    marks = plots.uncertainty(ax, iris)
    assert "missing" not in ax.get_xlabel() and not np.any(marks.get_linewidths())


@pytest.mark.parametrize("colour", ["component", "class"])
@pytest.mark.parametrize("known", [False, True])
def test_rows_of_a_background_are_crosses_darker_than_other_marks_and_named(
    known: bool, colour: Literal["component", "class"], trace_of: Any
) -> None:
    if colour == "class" and not known:
        return
    rng = np.random.default_rng(3)
    x = np.vstack([rng.normal(0, 1, (60, 2)), rng.normal(8, 1, (60, 2)), [[0.0, 10.0], [11.0, -4.0]]])
    problem = wb.Problem(x, 2, background=True)
    assert problem.background is not None
    mixture = wb.Mixture.from_covariances([0.5, 0.5], [[0.0, 0.0], [8.0, 8.0]], [np.eye(2), np.eye(2)])
    mixture = dataclasses.replace(mixture, background=problem.background.weighing(0.05))
    reference = wb.Reference(labels=np.repeat(["a", "b"], 61)) if known else wb.Reference()
    comparison = Comparison(problem, {"em": trace_of(problem, [[mixture]])}, reference)
    taken = np.asarray(mixture_of(comparison).predict(x)) < 0
    assert taken[-2:].all() and taken.sum() < 20
    ax = axes()
    plots.classification(ax, comparison, colour=colour)
    crosses = [line for line in ax.lines if line.get_marker() == "x"]
    drawn = np.concatenate([np.column_stack(line.get_data()) for line in crosses if len(line.get_xdata())])
    assert same_rows(drawn, x[taken])
    assert all(line.get_markeredgewidth() > 0 for line in crosses)
    if colour == "component":
        assert {to_hex(line.get_color()) for line in crosses} == {to_hex(NOISE)}
        assert all(line.get_alpha() >= 0.7 for line in crosses if len(line.get_xdata()))
    assert [line.get_label() for line in crosses if not len(line.get_xdata())] == ["background"]
