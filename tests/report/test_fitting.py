"""Figures in small sizes have their whole legend, wide axes and labels that do not overprint, or are refused."""

from itertools import combinations

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.legend import Legend

import workbench as wb
from workbench.compare import Comparison
from workbench.errors import InputError
from workbench.plots.style import Place
from workbench.report import figure
from workbench.report.fitting import settle

SIZE = (3.4, 2.6)


@pytest.fixture(scope="module")
def iris(trace_of) -> Comparison:
    """Three components and three classes in four columns."""
    data = wb.load_dataset("iris")
    return fitted(trace_of, data, np.unique(data.labels))


@pytest.fixture(scope="module")
def wide(trace_of) -> Comparison:
    """Twelve columns, of which a forest shows eight."""
    rng = np.random.default_rng(3)
    x = rng.normal(size=(60, 12)) + 6.0 * (np.arange(60) % 2)[:, None]
    names = tuple(f"x{d + 1}" for d in range(12))
    labels = np.array(["even", "odd"])[np.arange(60) % 2]
    data = wb.Dataset(name="wide", x=x, columns=names, labels=labels, units="cm", source="simulated")
    return fitted(trace_of, data, np.array(["even", "odd"]))


def fitted(trace_of, data: wb.Dataset, classes: np.ndarray) -> Comparison:
    """EM's stand-in: the means and covariances of the classes."""
    parts = [data.x[data.labels == name] for name in classes]
    mixture = wb.Mixture.from_covariances(
        np.full(len(parts), 1 / len(parts)),
        np.stack([part.mean(0) for part in parts]),
        np.stack([np.cov(part.T) + 0.01 * np.eye(part.shape[1]) for part in parts]),
    )
    problem = wb.Problem(data, len(parts))
    reference = wb.Reference.of(data)
    return Comparison(problem, {"em": trace_of(problem, [[mixture]])}, reference, columns=data.columns, units="cm")


def legends_of(made: Figure) -> list[Legend]:
    return [*made.legends, *(legend for ax in made.axes if (legend := ax.get_legend()) is not None)]


def check_whole(made: Figure) -> None:
    """Nothing is cut, and no two numbers on an axis touch."""
    made.draw_without_rendering()
    tight = made.get_tightbbox().extents * made.dpi
    assert np.all(tight[:2] >= -2) and np.all(tight[2:] <= np.asarray(made.bbox.max) + 2)
    for ax in made.axes:
        for along, labels in ((0, ax.get_xticklabels()), (1, ax.get_yticklabels())):
            low, high = (ax.get_xlim(), sorted(ax.get_ylim()))[along]
            shown = [label for label in labels if low <= label.get_position()[along] <= high and label.get_text()]
            boxes = [label.get_window_extent() for label in shown]
            for one, other in combinations(boxes, 2):
                assert one.max[along] <= other.min[along] or other.max[along] <= one.min[along]


def share_of_width(ax: Axes) -> float:
    return float(ax.get_position().width)


def test_a_classification_of_the_size_of_a_column_of_a_paper_is_whole(iris: Comparison) -> None:
    made = figure(iris, "classification", size=SIZE)
    check_whole(made)
    (legend,) = legends_of(made)
    names = [text.get_text() for text in legend.get_texts() if text.get_text().strip()]
    assert sorted(names) == ["component 1", "component 2", "component 3", "setosa", "versicolor", "virginica"]
    # Wider than all other entries, it would make a column of them as wide.
    assert legend.get_title().get_text() == "ellipses: components at 1 and 2 standard deviations"
    # The legend stood beside the axes' own width, and left them an eighth of the figure's.
    assert share_of_width(made.axes[0]) > 0.7


@pytest.mark.parametrize("place", ["inside", "right"])
def test_a_small_classification_says_what_its_ellipses_are_wherever_the_legend_is(
    iris: Comparison, place: Place
) -> None:
    made = figure(iris, "classification", size=SIZE, legend=place)
    check_whole(made)
    (legend,) = legends_of(made)
    last = legend.get_texts()[-1].get_text()
    assert " ".join(last.split()) == "components at 1 and 2 standard deviations"


def test_an_uncertainty_of_the_size_of_a_column_of_a_paper_is_whole(iris: Comparison) -> None:
    made = figure(iris, "uncertainty", size=SIZE)
    check_whole(made)
    assert len(legends_of(made)) == 1
    assert share_of_width(made.axes[0]) > 0.45  # a colour bar takes the rest


def test_a_legend_has_a_line_for_colours_and_one_for_shapes_where_they_fit(iris: Comparison) -> None:
    (legend,) = legends_of(figure(iris, "classification"))
    # Read line by line; a legend is filled column by column.
    names = np.reshape([text.get_text() for text in legend.get_texts()], (3, 2)).T.tolist()
    assert names == [["component 1", "component 2", "component 3"], ["setosa", "versicolor", "virginica"]]


def test_a_forest_shows_every_column_and_fewer_panels_abreast_where_it_is_narrow(iris: Comparison) -> None:
    titles = [ax.get_xlabel().replace("\n", " ") for ax in figure(iris, "forest").axes if ax.axison]
    columns = ("sepal_length", "sepal_width", "petal_length", "petal_width")
    assert titles == ["weight", *(f"{what} of {name} (cm)" for what in ("mean", "sd") for name in columns)]
    made = figure(iris, "forest", size=SIZE, columns=["petal_length"])
    check_whole(made)
    boxes = [ax.xaxis.label.get_window_extent() for ax in made.axes if ax.axison]
    assert len(boxes) == 3 and not any(one.overlaps(other) for one, other in combinations(boxes, 2))


def test_a_forest_names_the_columns_that_it_leaves_out(wide: Comparison) -> None:
    made = figure(wide, "forest")
    assert sum(ax.axison for ax in made.axes) == 1 + 2 * 8
    assert [text.get_text() for text in made.texts] == ["not shown: x9, x10, x11, x12; --columns chooses"]
    asked = figure(wide, "forest", columns=["x12"])
    assert asked.texts == [] and asked.axes[1].get_xlabel() == "mean of x12 (cm)"


@pytest.mark.parametrize(
    ("name", "size", "keywords"),
    [
        ("classification", (1.0, 1.0), {}),
        ("classification", (2.4, 2.0), {}),
        ("classification", (1.6, 2.6), {"legend": "right"}),
        ("classification", (2.0, 1.5), {"legend": "inside"}),
        ("uncertainty", (1.5, 1.0), {}),
        ("forest", SIZE, {}),
    ],
)
def test_a_size_that_is_too_small_is_refused_with_the_remedy(
    name: str, size: tuple[float, float], keywords: dict[str, str], iris: Comparison
) -> None:
    with pytest.raises(
        InputError, match=rf"size: {size[0]:g}x{size[1]:g} is too small for the figure '{name}': it "
    ) as told:
        figure(iris, name, size=size, **keywords)  # type: ignore[arg-type]
    assert "; give more inches (its own size is" in str(told.value)
    # A forest of one method has no legend.
    assert ("--legend none" in str(told.value)) is (name != "forest")
    assert ("--columns" in str(told.value)) is (name == "forest")


def test_ticks_are_made_fewer_until_they_are_apart_and_fixed_ones_are_a_fault() -> None:
    def axes() -> tuple[Figure, Axes]:
        made = Figure(figsize=(2.0, 2.0), layout="constrained")
        ax = made.subplots()
        ax.set_xlim(1000.0, 1000.9)
        ax.ticklabel_format(useOffset=False)
        return made, ax

    made, ax = axes()
    ax.locator_params(axis="x", nbins=9)
    assert settle(made) is None
    check_whole(made)
    made, ax = axes()
    ax.set_xticks(np.linspace(1000.0, 1000.9, 10))
    assert settle(made) == "makes tick labels overprint"
