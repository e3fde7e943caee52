"""Claims about escapes: slopes are those of the theory, and EM's own collapses are followed to their end."""

from pathlib import Path

import numpy as np
import pytest

from workbench.jobs.study import run_study
from workbench.report.study_panels import escapes
from workbench.studies import Findings
from workbench.studies.collapse import Escapes
from workbench.studies.reading import read_study

CONFIG = Path(__file__).parents[2] / "experiments" / "escape.toml"


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Findings:
    simulate = {"components": 2, "dimensions": 2, "points": 16, "separation": 2.0}
    values = {
        "subjects": [
            {"name": "cloud", "data": {"simulate": simulate}, "model": {"components": 3}, "rows": [0]},
        ],
        "widths": 12,
        "steps": 2,
        "restarts": 16,
        "iterations": 60,
    }
    return run_study(Escapes.model_validate(values), out=tmp_path_factory.mktemp("escape"))


@pytest.mark.parametrize("way", ["held", "settled"])
def test_slopes_are_those_of_the_theory(found: Findings, way: str) -> None:
    curve = found.where(way=way)
    assert len(curve.rows) == 12
    assert np.all(curve.column("theory") == -2.0)
    # What the others leave on the point is of the order of the width, squared: below 1e-8 where the fit begins.
    np.testing.assert_allclose(curve.column("slope"), -2.0, atol=1e-4)


def test_em_climbs_at_every_step_until_it_collapses(found: Findings) -> None:
    curve = found.where(way="em")
    steps, heights = curve.column("step"), curve.column("log_likelihood")
    assert 1 < len(steps) < 60
    np.testing.assert_array_equal(steps, np.arange(len(steps)))
    # Rounding of a sum of 16 terms.
    assert np.all(np.diff(heights) > -1e-10)
    assert curve.column("log_sigma")[-1] < curve.column("log_sigma")[0]


def test_the_figure_names_every_subject_with_its_slope(found: Findings) -> None:
    left, right = escapes(found).axes
    assert [text.get_text() for text in left.get_legend().get_texts()] == ["cloud: -2"]
    assert len(right.lines[0].get_xdata()) == len(found.where(way="em").rows)


def test_the_shipped_subjects_can_be_had() -> None:
    study = read_study(CONFIG)
    assert isinstance(study, Escapes)
    dimensions = {s.problem(study.seed, CONFIG.parent).num_dimensions for s in study.subjects}
    assert dimensions == {1, 2, 4}
