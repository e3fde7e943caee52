"""The pooled evidence: the mean of the runs' estimates, on the scale on which they have no bias."""

import numpy as np
import pytest

from workbench.diagnostics import pooled_evidence


def test_it_is_the_logarithm_of_the_mean_with_the_means_error() -> None:
    values = np.array([0.5, 1.0, 2.0, 4.5])
    found = pooled_evidence(np.log(values))
    assert found.log_evidence == pytest.approx(np.log(values.mean()), rel=1e-14)
    assert found.standard_error == pytest.approx(values.std(ddof=1) / np.sqrt(4) / values.mean(), rel=1e-14)


def test_evidence_too_small_for_a_float_is_pooled_all_the_same() -> None:
    near, far = (pooled_evidence(np.log([1.0, 3.0]) + shift) for shift in (0.0, -1e5))
    # To the rounding of numbers of 1e5.
    assert far.log_evidence == pytest.approx(near.log_evidence - 1e5, abs=1e-10)
    assert far.standard_error == pytest.approx(near.standard_error, rel=1e-10)


def test_one_run_has_no_error_and_a_failed_run_spoils_the_whole() -> None:
    alone = pooled_evidence(np.array([-3.0]))
    assert alone.log_evidence == -3.0 and np.isnan(alone.standard_error)
    assert np.isnan(pooled_evidence(np.array([-3.0, np.nan]))[:2]).all()


def test_its_interval_is_students_and_there_is_none_where_one_run_outweighs_all_others() -> None:
    # Student's t of three degrees: its quantile at 0.8413 is 1.1969 (tables give 1.250 at 0.85 and 1.1887 at 0.84).
    agreeing = pooled_evidence(np.log([1.0, 1.1, 0.9, 1.05]))
    assert agreeing.half_width == pytest.approx(1.1969 * agreeing.standard_error, rel=1e-4)
    carried = pooled_evidence(np.array([-100.0, -103.0, -104.0, -105.0]))
    assert carried.is_carried and np.isnan(carried.half_width)
    assert pooled_evidence(np.array([-3.0])).is_carried
