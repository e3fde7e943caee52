"""A fit that replaces the answer of an earlier one says which of its settings, method and data were others."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import workbench as wb
from workbench.cli.earlier import replaced
from workbench.mixture.saved import save_mixture

ONE = wb.Mixture.from_covariances([1.0], [[0.0]], np.ones((1, 1, 1)))
ABOUT: dict[str, Any] = {
    "method": "em",
    "source": "a.csv, sha256 1",
    "settings": {"seed": 0, "data": {"missing": "drop"}, "methods": {"em": {"tolerance": 1e-10}}},
    "log_likelihood": -1.0,
}
START = "Replaced the answer of an earlier fit, of other settings: "


@pytest.mark.parametrize(
    ("new", "told"),
    [
        ({"log_likelihood": -2.0}, ""),
        ({"method": "ascent"}, 'method was "em".'),
        ({"source": "a.csv, sha256 2"}, 'source was "a.csv, sha256 1".'),
        ({"settings": {**ABOUT["settings"], "prior": {"family": "flat"}}}, "prior was not set."),
        (
            {"settings": {"seed": 1, "data": {"missing": "refuse"}, "methods": {}, "restarts": 3}},
            'seed was 0; data.missing was "drop"; methods.em was {"tolerance": 1e-10}; and 1 more.',
        ),
    ],
)
def test_the_differences_are_named(tmp_path: Path, new: dict[str, Any], told: str) -> None:
    save_mixture(tmp_path / "model.json", ONE, about=ABOUT)
    assert replaced(tmp_path / "model.json", ABOUT | new) == (START + told if told else "")


def test_a_file_that_does_not_say_its_settings_differs_by_what_it_says(tmp_path: Path) -> None:
    path = tmp_path / "model.json"
    assert replaced(path, ABOUT) == ""
    path.write_text("{", encoding="utf-8")
    assert replaced(path, ABOUT) == ""
    save_mixture(path, ONE, about={"method": "squarem"})
    assert replaced(path, ABOUT) == f'{START}method was "squarem".'
