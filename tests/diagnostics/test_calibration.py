"""Claims about calibration: uniform ranks pass at the stated rate, others fail, what is ranked is blind to labels."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import binomtest, chisquare, kstest

from workbench.diagnostics.calibration import (
    chi_square_p_value,
    effective_sizes,
    envelope,
    location_p_value,
    normal_scores,
    power,
    quantities,
    ranks_of,
    spread_p_value,
    thinned,
)
from workbench.errors import InputError
from workbench.mixture import COVARIANCES, ConjugatePrior, Mixture
from workbench.problem import Problem

Points = NDArray[np.float64]
M, L, BINS = 120, 31, 8
AT = np.array([[0.0, 60.0], [4.0, 80.0]])


def counts_of(truth: Points, draws: Points, seed: int = 0) -> NDArray[np.int64]:
    """How often each rank occurs, of truths [M] among draws [L, M]."""
    return np.bincount(ranks_of(truth, draws, np.random.default_rng(seed)), minlength=len(draws) + 1)


def uniform_counts(samples: int) -> NDArray[np.int64]:
    """[samples, L + 1]"""
    return np.random.default_rng(5).multinomial(M, np.full(L + 1, 1 / (L + 1)), samples)


@pytest.mark.parametrize("level", [0.01, 0.05, 0.2])
def test_uniform_ranks_are_accused_as_often_as_stated(level: float) -> None:
    samples = uniform_counts(4_000)
    # Four standard errors of a share of 4,000, and of one of the 20,000 that the test compares with.
    slack = 4 * np.sqrt(level * (1 - level) * (1 / 4_000 + 1 / 20_000))
    both = envelope(M, L)
    accused = np.mean([both.p_value(counts) < level for counts in samples])
    # Of a discrete statistic: at most as often, and at least half as often.
    assert 0.5 * level - slack < accused < level + slack
    accused = np.mean([chi_square_p_value(counts, BINS) < level for counts in samples])
    # Fifteen a bin: the chi-square distribution is off by less than a tenth of the level.
    assert abs(accused - level) < slack + 0.1 * level


@pytest.mark.parametrize(("shift", "width"), [(0.5, 1.0), (-0.5, 1.0), (0.0, 0.5), (0.0, 2.0)])
def test_draws_that_are_off_or_too_narrow_or_too_wide_fail_both_tests(shift: float, width: float) -> None:
    rng = np.random.default_rng(6)
    counts = counts_of(rng.normal(size=M), shift + width * rng.normal(size=(L, M)))
    assert envelope(M, L).p_value(counts) < 1e-3
    assert chi_square_p_value(counts, BINS) < 1e-3


def test_draws_of_the_right_distribution_pass_both_tests() -> None:
    rng = np.random.default_rng(7)
    counts = counts_of(rng.normal(size=M), rng.normal(size=(L, M)))
    assert envelope(M, L).p_value(counts) > 0.05
    assert chi_square_p_value(counts, BINS) > 0.05


def test_of_one_draw_the_simultaneous_test_is_the_binomial_test() -> None:
    for below in (0, 38, 50, 60, 72):
        exact = binomtest(below, M).pvalue
        # Four standard errors of a share of 20,000 simulated samples, and the one that is added to it.
        slack = 4 * np.sqrt(exact * (1 - exact) / 20_000) + 1 / 20_000
        assert envelope(M, 1).p_value(np.array([below, M - below])) == pytest.approx(exact, abs=slack)


def test_a_curve_leaves_the_band_just_where_the_test_fails() -> None:
    low, high = envelope(M, L).band(0.95)
    failed = 0
    for counts in uniform_counts(400):
        below = np.cumsum(counts)[:-1]
        inside = bool(np.all((low <= below) & (below <= high)))
        assert inside == (envelope(M, L).p_value(counts) >= 1 - 0.95)
        failed += not inside
    assert failed > 0


def test_the_chi_square_test_is_pearsons() -> None:
    for counts in uniform_counts(5):
        expected = chisquare(counts.reshape(BINS, -1).sum(1)).pvalue
        # The same sum in another order.
        assert chi_square_p_value(counts, BINS) == pytest.approx(expected, rel=1e-10)
    with pytest.raises(InputError, match="bins: must divide the 32 ranks"):
        chi_square_p_value(uniform_counts(1)[0], 7)


def test_a_rank_counts_the_draws_below_and_puts_ties_in_a_random_order() -> None:
    draws = np.array([[0.0, 5.0], [1.0, 5.0], [2.0, np.nan]])
    found = np.array([ranks_of(np.array([1.5, 5.0]), draws, np.random.default_rng(s)) for s in range(3_000)])
    assert np.all(found[:, 0] == 2)
    # Two ties, and what is not a number lies nowhere: uniform on 0, 1, 2.
    assert set(found[:, 1]) == {0, 1, 2}
    assert chisquare(np.bincount(found[:, 1])).pvalue > 0.01


def test_thinning_spreads_over_all_chains_from_the_first_draw_to_the_last() -> None:
    draws = np.arange(2 * 50).reshape(2, 50, 1)
    np.testing.assert_array_equal(thinned(draws, 100).ravel(), np.arange(100))
    kept = thinned(draws, 12).ravel()
    np.testing.assert_array_equal(kept, 9 * np.arange(12))


def test_an_effective_size_is_that_of_independent_draws_or_of_fewer() -> None:
    noise = np.random.default_rng(8).normal(size=(4, 250, 3))
    noise[..., 1] = np.repeat(noise[:, ::10, 1], 10, axis=1)
    noise[0, 7, 2] = np.nan
    sizes = effective_sizes(noise)
    # Estimated from autocorrelations of 1,000 draws: to a fifth.
    np.testing.assert_allclose(sizes, [1_000, 100, 0], rtol=0.2)


@pytest.mark.parametrize(
    "family", [f if f == "full" else pytest.param(f, marks=pytest.mark.slow) for f in sorted(COVARIANCES)]
)
def test_what_is_ranked_is_blind_to_labels_and_says_what_it_is(
    family: str,
    points: Points,
    random_mixture: Callable[..., Mixture],
    component_log_joint: Callable[[Mixture, Points], Points],
) -> None:
    problem, mixture = Problem(points, 3, family, ConjugatePrior()), random_mixture(points, 3, family, seed=4)
    found = jax.jit(quantities)(mixture, problem, AT)
    permuted = jax.jit(quantities)(mixture.permute(jnp.array([2, 0, 1])), problem, AT)
    for name, value in found.items():
        # Sums of three terms, or of sixty, in another order.
        np.testing.assert_allclose(value, permuted[name], rtol=1e-12)
    logs = component_log_joint(mixture, points)
    densities = np.log(np.exp(component_log_joint(mixture, AT)).sum(1))
    member = np.exp(logs[:2]) / np.exp(logs[:2]).sum(1, keepdims=True)
    together = member[0] @ member[1]
    expected = {
        "log_likelihood": np.log(np.exp(logs).sum(1)).sum(),
        "squared_weights": np.sum(np.asarray(mixture.weights) ** 2),
        "log_determinants": np.linalg.slogdet(np.asarray(mixture.covariances))[1].sum(),
        "co_clustering": np.log(together / (1 - together)),
        **{f"sorted_means[{i}]": mean for i, mean in enumerate(np.sort(np.asarray(mixture.means)[:, 0]))},
        **{f"log_density[{g}]": density for g, density in enumerate(densities)},
    }
    expected["log_joint"] = expected["log_likelihood"] + float(problem.log_prior(mixture))
    assert set(found) == set(expected)
    for name, value in expected.items():
        # SciPy's densities go through an eigendecomposition.
        np.testing.assert_allclose(found[name], value, rtol=1e-9)


def test_normal_scores_of_uniform_ranks_are_standard_normal_and_their_tests_exact() -> None:
    rng = np.random.default_rng(0)
    scores = np.array([normal_scores(rng.integers(0, L + 1, M), L, rng) for _ in range(2000)])
    assert kstest(scores.ravel(), "norm").pvalue > 1e-3
    for p_value in (location_p_value, spread_p_value):
        assert kstest([p_value(each) for each in scores], "uniform").pvalue > 1e-3


def test_place_and_spread_are_seen_by_their_own_tests() -> None:
    rng = np.random.default_rng(1)

    def ranks(scale: float, shift: float) -> NDArray[np.int64]:
        truth = rng.standard_normal(M)[:, None]
        return np.sum(shift + scale * rng.standard_normal((M, L)) < truth, axis=1)

    moved, narrow, wide = (normal_scores(ranks(*how), L, rng) for how in ((1.0, 0.6), (0.5, 0.0), (2.0, 0.0)))
    # A shift of .6 is 6.6 standard errors of a mean of 120 scores.
    assert location_p_value(moved) < 1e-4 < spread_p_value(moved)
    for scores in (narrow, wide):
        assert spread_p_value(scores) < 1e-4 < location_p_value(scores)


def test_the_power_is_that_of_the_tests_and_grows_with_the_error_and_the_data_sets() -> None:
    level = 0.01
    # Uniform ranks are found no more often than the level says, by any of four tests; three standard errors.
    assert power(100, 31, 8, level) <= 4 * level + 3 * np.sqrt(4 * level / 400)
    found = [power(n, 31, 8, level, scale=0.6) for n in (50, 200)]
    assert found[0] < found[1]
    assert power(100, 31, 8, level, shift=0.2) < power(100, 31, 8, level, shift=0.8)
    # A mean off by two sd puts nearly every rank at one end.
    assert power(100, 31, 8, level, shift=2.0) == 1.0
