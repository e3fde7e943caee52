"""The studies of uncertainty: known figures, and refusals where there is no standard error."""

from pathlib import Path

import numpy as np
import pytest

from workbench.geometry.standard_errors import Labelled
from workbench.methods import Gibbs
from workbench.studies.subjects import Subject
from workbench.studies.uncertainty import WAYS, Coverage, StandardErrors

# Compiles many programs.
pytestmark = pytest.mark.slow


def study_of(dataset: str, components: int, covariance: str, **changes: object) -> StandardErrors:
    model = {"components": components, "covariance": covariance}
    data = {"dataset": dataset, "divide_by": 1000.0 if dataset == "galaxies" else 1.0}
    subject = Subject.model_validate({"name": "one", "data": data, "model": model})
    return StandardErrors(subjects=(subject,), **changes)


def test_a_spread_is_refused_where_labels_are_in_doubt() -> None:
    study = study_of("acidity", 2, "tied")
    clear = np.arange(40) >= 2  # five in a hundred: as many as are allowed
    values = np.random.default_rng(0).normal(size=(40, 3))
    errors, why = study.spread(Labelled(values, clear))
    np.testing.assert_allclose(errors, values.std(axis=0, ddof=1))
    assert why == ""
    errors, why = study.spread(Labelled(values, clear & (np.arange(40) != 9)))
    assert errors is None
    assert "labels in doubt in 7.5%" in why


@pytest.mark.slow
@pytest.mark.timeout(2400)
def test_every_way_agrees_on_acidity() -> None:
    study = study_of("acidity", 2, "tied", replicates=500, sampler=Gibbs(num_samples=1000, num_chains=2))
    rows = study.measure(dict(study.cells()[0]), Path())
    assert [row["parameter"] for row in rows] == ["weight 1", "weight 2", "mean 1", "mean 2", "variance"]
    assert {row["note"] for row in rows} == {""}
    table = np.asarray([[row[way] for way in WAYS] for row in rows])
    # The published figures, to their digits.
    np.testing.assert_allclose(table[:, 0], [0.0404, 0.0404, 0.0474, 0.0630, 0.0223], atol=5e-5)
    np.testing.assert_allclose(table[:, 1], table[:, 0], rtol=1e-8)
    np.testing.assert_allclose(table[:, 2], table[:, 0], rtol=1e-5)
    # To the next order in 1 / N, and 500 replicates.
    np.testing.assert_allclose(table[:, 3:], np.repeat(table[:, :1], 4, axis=1), rtol=0.3)


@pytest.mark.slow
@pytest.mark.timeout(2400)
def test_coverage_is_counted_for_every_parameter_and_way() -> None:
    study = Coverage(separations=(4.0,), points=(50,), replications=40, replicates=20, num_samples=100, num_warmup=20)
    rows = study.measure(dict(study.cells()[0]), Path())
    assert len(rows) == 3 * 4
    for row in rows:
        assert row["covered"] == pytest.approx(row["coverage"] * 40)
        assert row["low"] < row["coverage"] < row["high"] or row["coverage"] in (0.0, 1.0)
        # At least 34 of 40 hold the truth but for one time in ten thousand, and so few replicates lose some more.
        assert row["coverage"] > 0.7
        assert row["missing"] == 0 and row["mean_width"] > 0
