"""Ties: the most frequent row and values are found in any layout and for any number of points."""

from collections import Counter

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from workbench.data import moments, ties_of

CELLS = st.lists(st.tuples(st.integers(0, 2), st.integers(0, 3)), min_size=2, max_size=40)


@given(CELLS)
def test_ties_are_the_most_frequent_row_and_value_of_each_column(cells: list[tuple[int, int]]) -> None:
    x = np.array(cells, float)
    most = [Counter(cells).most_common(1)[0][1], *(Counter(column).most_common(1)[0][1] for column in zip(*cells))]  # noqa: B905
    found = {tie.column: tie for tie in ties_of(x)}
    assert {column: tie.points for column, tie in found.items()} == {
        column: points for column, points in zip((None, 0, 1), most, strict=True) if points > 1
    }
    for tie in found.values():
        assert tie.match(x).sum() == tie.points
        assert tie.num_points == len(cells)


def test_of_one_column_a_row_is_its_value() -> None:
    (tie,) = ties_of(np.array([[1.0], [0.0], [0.0]]))
    assert (tie.column, tie.value, tie.points) == (0, (0.0,), 2)


def test_what_does_not_repeat_is_no_tie() -> None:
    assert ties_of(np.arange(6.0).reshape(3, 2)) == ()


def test_all_points_are_counted_where_some_are_looked_at(monkeypatch) -> None:
    x = np.random.default_rng(0).normal(size=(1000, 1))
    x[::2] = 3.0
    monkeypatch.setattr(moments, "SOUGHT_ROWS", 100)
    assert ties_of(x)[0].points == 500


def test_a_tie_is_told_in_the_words_of_the_data() -> None:
    x = np.array([[255.0, 0.0], [255.0, 0.0], [1.0, 2.0]])
    rows, first, _ = ties_of(x)
    assert rows.text(("R", "G")) == "2 of 3 rows are equal (R = 255, G = 0)"
    assert first.text(("R", "G")) == "2 of 3 values of R are equal (255)"
