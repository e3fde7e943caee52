"""A precision other than float64 is reported, for current computations and for stored arrays."""

import numpy as np
import pytest

from workbench.engine.devices import dtype_name, precision_note


@pytest.mark.parametrize(
    ("dtypes", "note"),
    [
        ((), ""),
        (("float64", "float64"), ""),
        (("float32",), "Computed in float32."),
        (("float64", "float32", "float64"), "Computed in float32 and float64."),
    ],
)
def test_any_precision_but_float64_is_said(dtypes: tuple[str, ...], note: str) -> None:
    assert precision_note(*dtypes) == note


def test_numbers_have_the_precision_of_their_arrays_and_not_of_today() -> None:
    single, double = np.zeros(1, np.float32), np.zeros(1)
    assert dtype_name() == dtype_name(double) == "float64"  # conftest switches it on
    assert precision_note(dtype_name(single)) == "Computed in float32."
    assert precision_note(dtype_name(single, double)) == "Computed in float32 and float64."
