"""Counted shares: the interval is Wilson's, and covers as often as it says."""

import numpy as np
import pytest
from scipy.stats import binom, binomtest

from workbench.diagnostics.proportion import Proportion
from workbench.errors import InputError


@pytest.mark.parametrize(("successes", "trials"), [(0, 5), (5, 5), (1, 7), (81, 263), (1, 1)])
@pytest.mark.parametrize("confidence", [0.8, 0.95])
def test_the_interval_is_scipys(successes, trials, confidence):
    expected = binomtest(successes, trials).proportion_ci(confidence, method="wilson")
    # Rounding of a few operations on numbers below one.
    assert Proportion(successes, trials).interval_at(confidence) == pytest.approx(tuple(expected), abs=1e-14)


def test_its_ends_solve_wilsons_equation():
    counted = Proportion(3, 20)
    for p in counted.interval:
        # 1.959964: the upper 2.5 % point of the normal distribution, to the digits given.
        assert abs(counted.share - p) / np.sqrt(p * (1 - p) / 20) == pytest.approx(1.959964, rel=1e-6)


def test_it_covers_nineteen_times_of_twenty_on_average_over_probabilities():
    n, intervals = 30, [Proportion(s, 30).interval for s in range(31)]
    probabilities = np.linspace(0.02, 0.98, 97)
    inside = np.array([[low <= p <= high for low, high in intervals] for p in probabilities])
    covered = np.sum(inside * binom.pmf(np.arange(n + 1), n, probabilities[:, None]), axis=1)
    # Brown, Cai & DasGupta (2001), fig. 11: the mean coverage of Wilson's interval is the nominal one, to a hundredth.
    assert np.mean(covered) == pytest.approx(0.95, abs=0.01)


def test_none_and_all_leave_room():
    assert Proportion(0, 8).interval[0] == 0.0 and Proportion(0, 8).interval[1] > 0.2
    assert Proportion(8, 8).interval[1] == 1.0 and Proportion(8, 8).interval[0] < 0.8


@pytest.mark.parametrize(("successes", "trials", "says"), [(0, 0, "trials"), (-1, 3, "successes"), (4, 3, "successes")])
def test_counts_that_cannot_be_are_refused(successes, trials, says):
    with pytest.raises(InputError, match=says):
        Proportion(successes, trials)
