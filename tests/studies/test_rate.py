from pathlib import Path

import numpy as np
import pytest
from scipy.stats import chi2

from workbench.engine.keys import named_key
from workbench.errors import InputError
from workbench.geometry.rate import crossing, fits
from workbench.studies.base import Findings
from workbench.studies.coupling import Coupling
from workbench.studies.rate import TOLERANCES, Overspecified, Rate, crossing_of
from workbench.studies.subjects import Subject


def test_a_curve_crosses_zero_where_a_straight_line_does() -> None:
    assert crossing(np.array([1.0, 2.0, 4.0]), np.array([-2.0, -1.0, 1.0])) == pytest.approx(3.0)
    assert crossing(np.array([1.0, 2.0, 4.0]), np.array([-2.0, np.nan, 2.0])) == pytest.approx(2.5)
    assert crossing(np.array([1.0, 2.0]), np.array([1.0, 2.0])) is None


def test_the_crossing_over_replications_has_the_interval_of_their_mean() -> None:
    # EM's rate falls by a tenth for each deviation.
    rows = [
        {"subject": "simulated", "replication": r, "separation": s, "rate": 1 - 0.1 * s,
         "em_to": [10.0] * len(TOLERANCES), "lbfgs_to": [10.0 * np.exp(s - place + t) for t in range(len(TOLERANCES))]}
        for r, place in enumerate((2.0, 3.0))
        for s in (4.0, 0.0)
    ]  # fmt: skip
    found = crossing_of(Findings(Rate(), rows), tolerance=TOLERANCES[0])
    assert found is not None
    assert found.missing == pytest.approx(0.75)
    tighter = crossing_of(Findings(Rate(), rows), tolerance=TOLERANCES[1])
    assert tighter is not None and tighter.separation == pytest.approx(1.5)
    assert (found.separation, found.crossed, found.replications) == (pytest.approx(2.5), 2, 2)
    # Student's t with one degree of freedom, 12.706, times a standard error of a half.
    assert found.high - found.separation == pytest.approx(12.706 / 2, rel=1e-3)


def test_one_replication_decides_no_crossing() -> None:
    rows = [
        {"subject": "simulated", "replication": 0, "separation": s, "rate": 0.5,
         "em_to": [10.0] * len(TOLERANCES), "lbfgs_to": [10.0 * s] * len(TOLERANCES)}
        for s in (0.5, 2.0)
    ]  # fmt: skip
    assert crossing_of(Findings(Rate(), rows), TOLERANCES[-1]) is None
    with pytest.raises(InputError, match="tolerance: must be one of those"):
        crossing_of(Findings(Rate(), rows), 0.3)


def test_the_study_of_the_statistical_rate_gives_every_size_the_slope_over_all() -> None:
    study = Overspecified(weights=(0.7,), points=(100, 400), replications=20)
    rows = study.measure(dict(study.cells()[0]), Path())
    assert [row["points"] for row in rows] == [100, 400]
    assert rows[0]["slope"] == rows[1]["slope"] < 0
    assert rows[0]["at_zero"] == 0


def test_with_equal_weights_half_of_the_estimates_are_an_atom_at_zero() -> None:
    (row, _) = Overspecified(weights=(0.5,), points=(200, 400), replications=200).measure({"weight": 0.5}, Path())
    # P(chi-square with N degrees of freedom is at most N) is a little above one half; three standard errors of a share.
    assert row["at_zero"] / 200 == pytest.approx(chi2.cdf(200, 200), abs=3 * 0.5 / np.sqrt(200))
    found = fits(named_key(0, "0.5 200"), 0.5, 200, 200)
    atom = found.second_moment <= 1.0
    # EM is still on its way to zero there, and elsewhere it is at a root of its own equation.
    assert np.max(found.theta[atom]) < np.median(found.theta[~atom])
    assert row["mean_error_apart"] == pytest.approx(np.mean(np.abs(found.theta[~atom])))


@pytest.mark.slow
@pytest.mark.parametrize(("column", "rate"), [("waiting", 0.658), ("eruptions", 0.589), (None, 0.777)])
def test_em_has_the_published_rate_predicted_and_counted(column, rate) -> None:
    data = {"dataset": "acidity"} if column is None else {"dataset": "faithful", "columns": [column]}
    subject = Subject.model_validate({"name": "one", "data": data, "model": {"components": 2}})
    study = Rate(subjects=(subject,), separations=(), restarts=4)
    (row,) = study.measure(dict(study.cells()[0]), Path())
    assert row["status"] == "maximum"
    # Published to three decimals.
    assert row["rate"] == pytest.approx(rate, abs=6e-4)
    assert row["counted_rate"] == pytest.approx(row["rate"], abs=2e-3)
    assert row["identity_gap"] < 1e-8
    assert row["em_arrived"] == row["gradient_arrived"] == row["lbfgs_arrived"] == 4
    # The slowest direction takes the longest; a random start has less of it.
    assert 0.6 * row["em_predicted"] < row["em"] < row["em_predicted"] + 2


def test_simulated_subjects_are_fitted_with_the_family_and_the_size_asked_for() -> None:
    study = Rate(components=3, dimensions=2, covariance="tied", separations=(8.0,), replications=1, restarts=1)
    (row,) = study.measure(dict(study.cells()[0]), Path())
    assert row["status"] == "maximum"
    # Two weights, three means and one covariance, in two columns.
    assert row["parameters"] == 2 + 3 * 2 + 3
    # From 8 standard deviations each group is known, and EM is at the optimum after a pass or two.
    assert row["rate"] < 0.05 and row["em"] <= 3


@pytest.mark.slow
def test_starts_in_the_basin_of_a_higher_optimum_are_not_counted() -> None:
    # A nat below a low and flat maximum, three of four starts lie in the basin of a higher one, whose climbs pass every
    # level of the lower in two steps.
    study = Rate(separations=(2.0,), replications=9, restarts=4)
    (row,) = study.measure(dict(study.cells()[8]), Path())
    assert row["status"] == "maximum" and row["em_arrived"] < 4
    assert row["em"] > 0.5 * row["em_predicted"] > 1000
    assert row["counted_rate"] == pytest.approx(row["rate"], abs=1e-4)


@pytest.mark.slow
def test_overlap_couples_the_equations_and_one_gaussian_has_nothing_to_couple() -> None:
    study = Coupling(components=(1, 2), separations=(2.0, 8.0), dimensions=1, points=500, replications=1, restarts=2)
    one, near, far = (study.measure(dict(cell), Path())[0] for cell in study.cells())
    # Rounding of the two triangular solves that whiten the Hessian.
    assert one["share"] < 1e-12 and one["left_by_each"] < 1e-10 and one["left_by_all"] < 1e-10
    assert near["share"] > 3 * far["share"] > 0
    assert max(near["share_given_labels"], far["share_given_labels"]) < 1e-8
