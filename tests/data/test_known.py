"""What is known of rows: numbers, names, and rows that a table left out."""

from typing import Any

import numpy as np
import pytest
from common_shape import D, K, N

from workbench.data import Wanted
from workbench.data.known import Known
from workbench.data.reading import read_table
from workbench.errors import InputError
from workbench.problem import Problem


def test_names_stand_for_components_in_sorted_order() -> None:
    known = Known.of(["b", "", "a", None, "b", "NA"], 6, 3)
    assert known is not None
    np.testing.assert_array_equal(known.components, [1, -1, 0, -1, 1, -1])
    assert known.told() == "3 of 6 rows have a known component: component 1 is a (1), component 2 is b (2)"
    np.testing.assert_array_equal(known.anchored(3), [True, True, False])
    numbers = Known.of(np.asarray([2.0, np.nan, -1.0, 0.0]), 4, 3)
    assert numbers is not None and numbers.names == ()
    np.testing.assert_array_equal(numbers.components, [2, -1, -1, 0])
    assert (
        numbers.told() == "2 of 4 rows have a known component: component 1 is number 0 (1), component 3 is number 2 (1)"
    )
    assert Known.of([-1, None, "?"], 3, 2) is None


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ([0, 1, 3], "data row 3 is '3'; components count from 0 to 2 here, in tables from 1: give such a number"),
        ([0, 1.5, 1], "data row 2 is '1.5'; components count from 0"),
        ([0, 1], r"shape is \[2\]; give one for each of 3 rows"),
        (["a", "b", "c"], "3 classes \\('a', 'b', 'c'\\), and components = 2"),
    ],
)
def test_what_is_no_component_is_one_message(given: list[object], why: str) -> None:
    with pytest.raises(InputError, match=f"^label_known: {why}"):
        Known.of(np.asarray(given, object), 3, 2 if "classes" in why else 3)


@pytest.mark.parametrize("what", ["label_known", "weights"])
def test_values_for_rows_that_were_left_out_are_one_message(what: str) -> None:
    held = np.random.default_rng(0).normal(size=(N, D))
    held[[3, 5], 0] = np.nan
    table = {"a": held[:, 0], "b": held[:, 1], "own": np.arange(N) % K}
    whole = read_table(table, columns=["a", "b"], missing="drop")

    def given(values: Any) -> dict[str, Any]:
        return {what: values}

    why = (
        rf"^{what}: has one for each of 60 rows, of which 2 with missing cells were left out; read them with the table"
    )
    with pytest.raises(InputError, match=why):
        Problem(whole, K, **given(table["own"]))
    own = read_table(table, wanted=Wanted(missing="drop", **given("own")))
    other = Problem(whole, K, **given(np.delete(table["own"], [3, 5])))
    for one, same in ((Problem(own, K).known, other.known), (Problem(own, K).weights, other.weights)):
        np.testing.assert_equal(one, same)
