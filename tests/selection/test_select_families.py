"""The grid of covariance families and components: one choice for each criterion over both."""

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure

from workbench.errors import InputError
from workbench.plots import selection as drawing
from workbench.report import figure, save_figure, selection_figure, show_selection
from workbench.selection import CRITERIA, Cell, Choice, FamilySelection, Score, Selection

# Two terms a point, by family and K.
TERMS = {
    "full": {1: [-4.0, -4.0], 2: [-2.0, -3.0], 3: [-2.0, -3.5]},
    "tied": {1: [-4.0, -4.0], 2: [-2.5, -2.0], 3: [-1.0, -2.0]},
}


def selection(family: str) -> Selection:
    choices = []
    for k, terms in TERMS[family].items():
        scores = {name: Score.of_terms(np.array(terms)) for name in CRITERIA}
        scores["bic"] = Score.of(sum(terms))
        if family == "tied" and k == 3:
            scores["loo"] = scores["loo"].reject("draws do not agree", "gibbs: R-hat 1.50")
        choices.append(Choice(k, 3 * k, -1.0, scores))
    return Selection("mine", f"two points; {family} covariance", tuple(choices))


@pytest.fixture
def grid() -> FamilySelection:
    return FamilySelection("mine", {family: selection(family) for family in TERMS})


def test_a_criterion_chooses_among_all_families_and_k(grid: FamilySelection) -> None:
    assert grid.best("bic") == Cell("tied", 3)
    assert grid.difference("bic", Cell("full", 2))[:2] == (pytest.approx(2.0), None)
    # Of one point the terms differ by 1, of the other by 1.
    assert grid.difference("waic", Cell("full", 2))[:2] == (pytest.approx(2.0), pytest.approx(0.0))


def test_what_is_not_eligible_is_chosen_in_no_family(grid: FamilySelection) -> None:
    assert grid.best("loo") == Cell("tied", 2)
    assert grid.difference("loo", Cell("tied", 3)) is None
    assert "Tied: left out, as not eligible: PSIS-LOO at K = 3 (draws do not agree)." in grid.reading


def test_a_family_that_cannot_be_fitted_keeps_no_other_from_being_chosen(
    grid: FamilySelection,
) -> None:
    """As mclust's NA: there is no such model, so that it might not be better."""
    none = {name: Score.missing("none of 8 starts ends in a sound mixture") for name in CRITERIA}
    missing = Choice(4, 12, None, none)
    why = "4 full covariances of 20 columns take 84 points at least, and there are 80"
    for choice, chosen in ((missing, None), (replace(missing, impossible=why), Cell("tied", 3))):
        full = replace(grid["full"], choices=(*grid["full"].choices, choice))
        found = FamilySelection("mine", {**grid.families, "full": full})
        assert found.chosen("bic") == chosen
        assert (f"Full: no such model: K = 4 ({why})." in found.reading) == (chosen is not None)
        assert full.chosen("bic") == (None if chosen is None else 2)
        assert ("none of 8 starts" in str(full)) == (chosen is None)
        assert Choice.from_dict(choice.to_dict()).impossible == choice.impossible


def test_a_family_that_is_refused_is_named_and_keeps_no_other_from_being_chosen(grid: FamilySelection) -> None:
    found = replace(grid, refused={"diagonal": "x: is odd."})
    assert found.chosen("bic") == Cell("tied", 3)
    assert "Refused, and so not in the choice: diagonal (x: is odd)." in found.reading
    assert found.to_dict()["refused"] == {"diagonal": "x: is odd."}
    assert "Refused" not in grid.reading


def test_the_reading_says_where_the_most_components_asked_are_best(grid: FamilySelection) -> None:
    assert grid.edge("bic") == "most" and grid.edge("loo") is None
    assert "BIC tied 3 (the most components asked)" in grid.reading


def test_a_table_has_a_column_for_each_family_and_one_mark(grid: FamilySelection) -> None:
    table = grid.table("loo")
    assert table.heads == ["K", "full", "tied"]
    assert table.lines() == [["1", "-8.00", "-8.00"], ["2", "-5.00", "-4.50 °"], ["3", "-5.50", "–"]]
    assert str(grid).count("PSIS-LOO:") == 1


def test_text_notebook_and_page_have_the_numbers_of_free_parameters(grid: FamilySelection) -> None:
    some = replace(
        grid, families={"full": grid["full"], "tied": replace(grid["tied"], choices=grid["tied"].choices[:2])}
    )
    assert some.parameters.heads == ["K", "full", "tied"]
    assert some.parameters.lines() == [["1", "3", "3"], ["2", "6", "6"], ["3", "9", "–"]]
    assert f"Free parameters:\n{some.parameters}\n" in str(some)
    assert f"<p>Free parameters</p>{some.parameters.to_html()}" in some._repr_html_()
    page = show_selection(some, {"seed": 0}).page.html()
    assert page.count("Free parameters of each family and K") == 1


def test_only_a_choice_with_a_column_of_smallest_components_speaks_of_them(grid: FamilySelection) -> None:
    assert "The smallest component is" in str(grid["full"])
    for shown in (str(grid), grid._repr_html_(), show_selection(grid, {"seed": 0}).page.html()):
        assert "smallest component" not in " ".join(shown.split()).lower()
        assert "less than a nat." in " ".join(shown.split())


def test_json_and_csv_tell_differences_from_the_best_of_the_grid(grid: FamilySelection) -> None:
    stored = json.loads(grid.to_json())
    assert stored["best"]["bic"] == {"covariance": "tied", "components": 3}
    rows = list(csv.DictReader(io.StringIO(grid.to_csv())))
    assert len(rows) == 6 * len(CRITERIA)
    (row,) = (r for r in rows if (r["covariance"], r["components"], r["criterion"]) == ("full", "2", "bic"))
    assert float(row["below_best"]) == pytest.approx(2.0)


def test_notebooks_show_a_table_for_each_criterion(grid: FamilySelection) -> None:
    shown = grid._repr_html_()
    assert shown.count("<table") == 1 + sum(bool(grid.scores(name)) for name in CRITERIA)


def test_page_and_figure_show_every_family(grid: FamilySelection, tmp_path: Path) -> None:
    shown = show_selection(grid, {"seed": 0})
    page = shown.page.html()
    assert all(f">{family}</th>" in page for family in TERMS)
    assert grid.reading in page
    (drawn,) = shown.draw(tmp_path)
    assert drawn.read_bytes().startswith(b"\x89PNG")


def test_a_criterion_is_a_figure_of_its_own(grid: FamilySelection, tmp_path: Path) -> None:
    made = figure(grid, "bic", size=(4.0, 3.0))
    (ax,) = made.axes
    assert (ax.get_xlabel(), ax.get_title()) == ("components K", "BIC: tied 3")
    assert [text.get_text() for text in made.legends[0].get_texts()] == ["full", "tied"]
    assert save_figure(made, tmp_path / "bic.pdf").read_bytes().startswith(b"%PDF")
    (alone,) = figure(selection("full"), "bic").axes
    assert alone.get_title() == "BIC: K = 2"
    assert tuple(figure(grid, "selection", size=(8.0, 4.0)).get_size_inches()) == (8.0, 4.0)
    with pytest.raises(InputError, match=r"unknown figure 'bik'\. Did you mean 'bic'"):
        figure(grid, "bik")
    with pytest.raises(InputError, match="palette: the figure 'bic' has legend, size"):
        figure(grid, "bic", palette="tab10")


@pytest.mark.parametrize("asked", [range(1, 8), range(1, 13), range(1, 31), (1, 2, 3, 4, 10, 11, 12, 40)])
def test_the_figure_numbers_k_without_overlap_and_marks_every_k(asked: Sequence[int]) -> None:
    made = Figure(figsize=(2.9, 2.7), layout="constrained")
    ax = made.subplots()
    drawing._components(ax, list(asked))
    made.draw_without_rendering()
    boxes = [label.get_window_extent() for label in ax.get_xticklabels() if label.get_text()]
    assert len(boxes) >= 3 and all(one.x1 < two.x0 for one, two in pairwise(boxes))
    assert sorted([*ax.get_xticks(), *ax.get_xticks(minor=True)]) == sorted(asked)


@pytest.mark.parametrize("criteria", [["bic"], ["bic", "icl"], list(CRITERIA)])
def test_no_panel_of_the_figure_is_empty(criteria: list[str]) -> None:
    families = {}
    for family in TERMS:
        whole = selection(family)
        choices = [replace(c, scores={name: c.scores[name] for name in criteria}) for c in whole.choices]
        families[family] = replace(whole, choices=tuple(choices))
    made = selection_figure(FamilySelection("mine", families))
    drawn = [ax for ax in made.axes if ax.lines]
    assert len(drawn) == len(criteria)
    legends = [*made.legends, *(ax.get_legend() for ax in made.axes if ax.get_legend() is not None)]
    assert [[text.get_text() for text in legend.get_texts()] for legend in legends] == [list(families)]
    assert len(made.axes) - len(drawn) == (0 if made.legends else 1)
    made.draw_without_rendering()
    assert max(ax.get_window_extent().x1 for ax in drawn) > 0.93 * made.bbox.width
