"""Intervals for a known mixture: where groups are clear they are those of the groups' own means and shares."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from workbench.engine.keys import restart_keys
from workbench.geometry.coverage import credible, in_order, percentile, wald
from workbench.methods import EM
from workbench.mixture import ConjugatePrior, FlatPrior, Mixture
from workbench.problem import Problem

N, R = 60, 4
KEYS = restart_keys(jax.random.key(3), R)


@pytest.fixture(scope="module")
def truth():
    """Groups so far apart that every point shows its label."""
    return Mixture.from_covariances([0.4, 0.6], [[-10.0], [10.0]], [[1.0]], "tied")


@pytest.fixture(scope="module")
def problem_under(truth):
    x = np.asarray(truth.sample(jax.random.key(0), 500)[0])
    return lambda prior: Problem(x, 2, "tied", prior)


def labelled_estimates(truth):
    """Estimates [R, 5] from the labels of each data set, and their standard errors: textbook formulas."""
    estimates, errors = [], []
    for key in KEYS:
        x, labels = (np.asarray(a) for a in truth.sample(jax.random.split(key)[0], N))
        groups = [x[labels == k, 0] for k in (0, 1)]
        n = np.asarray([len(group) for group in groups])
        w, means = n / N, [group.mean() for group in groups]
        variance = sum(np.sum((g - g.mean()) ** 2) for g in groups) / N
        estimates.append([*w, *means, variance])
        errors.append([*np.sqrt(w * w[::-1] / N), *np.sqrt(variance / n), variance * np.sqrt(2 / N)])
    return np.asarray(estimates), np.asarray(errors)


def test_wald_intervals_of_clear_groups_are_those_of_labelled_points(truth, problem_under) -> None:
    found = wald(problem_under(FlatPrior()), truth, KEYS, num_points=N, em=EM())
    estimates, errors = labelled_estimates(truth)
    # No point is in doubt by more than exp(-100); z to its six digits.
    np.testing.assert_allclose(found.low, estimates - 1.959964 * errors, rtol=1e-6)
    np.testing.assert_allclose(found.high, estimates + 1.959964 * errors, rtol=1e-6)


@pytest.mark.slow
def test_where_em_has_not_converged_there_is_no_interval(truth, problem_under) -> None:
    found = wald(problem_under(FlatPrior()), truth, KEYS, num_points=N, em=EM(max_iterations=1))
    assert np.all(np.isnan(found.low)) and np.all(np.isnan(found.high))


@pytest.mark.slow
def test_bootstrap_and_posterior_intervals_of_clear_groups_are_like_walds(truth, problem_under) -> None:
    estimates, errors = labelled_estimates(truth)
    chain = {"num_warmup": 20, "num_samples": 2000}
    # The default is scaled to all the data, whose groups are 20 apart: the variance would be half as large again.
    weak = ConjugatePrior(scatter=((1.0,),), mean_shrinkage=1e-3)
    for found in (
        percentile(problem_under(FlatPrior()), truth, KEYS, num_points=N, em=EM(), replicates=1000),
        credible(problem_under(weak), truth, KEYS, num_points=N, **chain),
    ):
        # Of a thousand draws the ends are off by 0.08 standard errors; the skewness of a variance's posterior, a prior
        # that counts as three points of sixty and a resampled kurtosis make up a few tenths.
        assert np.all(np.abs((found.low - (estimates - 1.96 * errors)) / errors) < 0.9)
        assert np.all(np.abs((found.high - (estimates + 1.96 * errors)) / errors) < 0.9)


def test_components_are_called_by_the_order_of_their_means(truth) -> None:
    np.testing.assert_array_equal(in_order(truth.permute(jnp.asarray([1, 0]))), in_order(truth))
    np.testing.assert_allclose(in_order(truth), [0.4, 0.6, -10.0, 10.0, 1.0])
