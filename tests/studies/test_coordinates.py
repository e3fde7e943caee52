"""The study of coordinates: every climb stands once, every restart is counted once, and raw coordinates can be left."""

from pathlib import Path
from typing import Any

import pytest

from workbench.geometry.stability import Outcome
from workbench.studies import Findings
from workbench.studies.coordinates import OWN, Coordinates

CONFIG: dict[str, Any] = {
    "study": "coordinates",
    "restarts": 2,
    "subjects": [
        {"name": "acidity", "data": {"dataset": "acidity"}, "model": {"components": 2, "covariance": "spherical"}}
    ],
    "charts": [
        {"name": "naive", "weights": "raw", "scales": "raw"},
        {"name": "free", "weights": "softmax", "scales": "log_cholesky"},
    ],
    "methods": {
        "em": {"method": "em", "tolerance": 1e-13},
        # So long a step leaves wherever there is a border.
        "gradient": {"method": "ascent", "optimizer": "gradient", "learning_rate": 2.0, "max_iterations": 20},
    },
}

# Compiles many programs.
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def findings() -> Findings:
    study = Coordinates.model_validate(CONFIG)
    (cell,) = study.cells()
    return Findings(study, [cell | row for row in study.measure(cell, Path())])


def test_every_method_stands_once_in_every_chart_it_can_have(findings: Findings) -> None:
    found = [(row["method"], row["chart"]) for row in findings.rows]
    assert found == [("em", OWN), ("gradient", "naive"), ("gradient", "free")]


def test_every_restart_has_one_outcome(findings: Findings) -> None:
    for row in findings.rows:
        assert sum(int(str(row[outcome.value])) for outcome in Outcome) == row["restarts"] == 2


def test_only_raw_coordinates_are_left(findings: Findings) -> None:
    left = dict(zip(findings.column("chart"), findings.column(Outcome.LEFT.value), strict=True))
    assert left["naive"] > 0 and left["free"] == 0 and left[OWN] == 0


def test_em_tells_its_passes_to_the_best(findings: Findings) -> None:
    (row,) = findings.where(method="em").rows
    assert isinstance(row["passes"], float) and 1 <= row["passes"] <= float(str(row["passes_in_all"]))
