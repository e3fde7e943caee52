"""The claim on calibration: ranks beside exact posteriors by enumeration, and p-values and power in plain NumPy."""

import re
from typing import Any

import numpy as np
import pytest
from ledger_limits import limits_of
from ledger_runs import decided
from plain_posterior import Conjugate, half_of_allocations, log_likelihood
from scipy.special import gammaln, multigammaln
from scipy.stats import binom, chi2, chisquare, kstest, norm

from workbench.studies.calibration import Calibration

Array = np.ndarray

DRAWS, BINS, REPLICATIONS = 31, 8, 100
PRIOR = Conjugate(2.0, np.zeros(2), 0.2, 8.0, np.array([[3.0, 1.0], [1.0, 2.0]]))
AT = np.array([[0.0, 0.0], [2.0, 1.0]])
SIMULATED = 20_000

# Standard errors of a deviation that a right sampler shows once in a hundred thousand times.
ERRORS = 4.5


def quantities(weights: Array, means: Array, covariances: Array, x: Array) -> dict[str, Array]:
    """What the study ranks, of mixtures [B, ...] of two components, as its documentation lists it. [B] each"""
    likelihood = log_likelihood(weights, means, covariances, x)

    def log_odds(point: Array) -> Array:
        about = point - means
        squares = np.einsum("bki,bkij,bkj->bk", about, np.linalg.inv(covariances), about)
        logs = np.log(weights) - 0.5 * np.linalg.slogdet(covariances)[1] - 0.5 * squares
        return np.asarray(logs[:, 0] - logs[:, 1])

    a, b = log_odds(x[0]), log_odds(x[1])
    return {
        "log_joint": likelihood + PRIOR.log_density(weights, means, covariances),
        "log_likelihood": likelihood,
        "squared_weights": np.sum(weights**2, axis=1),
        "log_determinants": np.linalg.slogdet(covariances)[1].sum(axis=1),
        "co_clustering": np.logaddexp(a + b, 0.0) - np.logaddexp(a, b),
        "sorted_means[0]": means[:, :, 0].min(axis=1),
        "sorted_means[1]": means[:, :, 0].max(axis=1),
        "log_density[0]": log_likelihood(weights, means, covariances, AT[:1]),
        "log_density[1]": log_likelihood(weights, means, covariances, AT[1:]),
    }


def exact_draws(x: Array, count: int, rng: np.random.Generator) -> tuple[Array, Array, Array]:
    """Independent draws from the posterior of points [N, 2], up to labels: of an allocation, then given it."""
    (second,) = half_of_allocations(len(x))
    member = np.stack([1 - second, second], axis=1)  # [A, 2, N]
    n, first = member.sum(axis=2), member @ x
    shrinkage, degrees = PRIOR.shrinkage + n, PRIOR.degrees + n
    location = (first + PRIOR.shrinkage * PRIOR.location) / shrinkage[..., None]
    scatter = PRIOR.scatter + np.einsum("akn,ni,nj->akij", member, x, x)
    scatter = scatter + PRIOR.shrinkage * np.outer(PRIOR.location, PRIOR.location)
    scatter = scatter - shrinkage[..., None, None] * np.einsum("aki,akj->akij", location, location)
    logs = gammaln(n + PRIOR.concentration) - np.log(shrinkage) - 0.5 * degrees * np.linalg.slogdet(scatter)[1]
    logs = np.sum(logs + multigammaln(0.5 * degrees, 2), axis=1)
    chances = np.exp(logs - logs.max())
    z = rng.choice(len(chances), count, p=chances / chances.sum())
    gammas = rng.gamma(n[z] + PRIOR.concentration)
    # Inverse-Wishart by Bartlett's decomposition: Sigma^-1 = C A A^T C^T, with C C^T the inverse of the scatter.
    a = np.zeros((count, 2, 2, 2))
    a[..., 0, 0], a[..., 1, 1] = np.sqrt(rng.chisquare(degrees[z])), np.sqrt(rng.chisquare(degrees[z] - 1))
    a[..., 1, 0] = rng.standard_normal((count, 2))
    root = np.linalg.cholesky(np.linalg.inv(scatter[z])) @ a
    covariances = np.linalg.inv(root @ root.swapaxes(-1, -2))
    noise = np.linalg.cholesky(covariances) @ rng.standard_normal((count, 2, 2, 1))
    means = location[z] + noise[..., 0] / np.sqrt(shrinkage[z])[..., None]
    return gammas / gammas.sum(axis=1, keepdims=True), means, covariances


def ecdf_statistics(counts: Array) -> Array:
    """The smallest two-sided tail of the numbers below each rank (Säilynoja et al. 2022), from counts [..., L + 1]."""
    below, share = np.cumsum(counts, axis=-1)[..., :-1], np.arange(1, DRAWS + 1) / (DRAWS + 1)
    total = counts.sum(axis=-1)[..., None]
    tails = np.minimum(binom.cdf(below, total, share), binom.sf(below - 1, total, share))
    return np.asarray(np.minimum(1.0, 2 * tails).min(axis=-1))


def scores_of(ranks: Array, rng: np.random.Generator) -> Array:
    """Normal numbers, if ranks are uniform (Cook, Gelman & Rubin 2006)."""
    return np.asarray(norm.ppf((ranks + rng.random(ranks.shape)) / (DRAWS + 1)))


def p_of_mean_and_square(mean: Array, square: Array) -> tuple[Array, Array]:
    """Two-sided p-values that the mean of normal scores is zero, and that their mean square is one."""
    total = REPLICATIONS * np.asarray(square)
    spread = 2 * np.minimum(chi2.cdf(total, REPLICATIONS), chi2.sf(total, REPLICATIONS))
    return 2 * norm.sf(np.abs(mean) * np.sqrt(REPLICATIONS)), np.minimum(1.0, spread)


@pytest.fixture(scope="module")
def calibrated(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Any]:
    """The decision and the findings of a smaller variant."""
    methods = "methods={ gibbs = { num_warmup = 50, num_samples = 100 }, cavi = { num_samples = 100 } }"
    settings = (f"replications={REPLICATIONS}", f"draws={DRAWS}", f"bins={BINS}", methods)
    decision, (findings,) = decided("samplers_are_calibrated", tmp_path_factory.mktemp("sbc"), *settings)
    return decision, findings


@pytest.fixture(scope="module")
def null() -> Array:
    """The statistic of the distribution function for uniform ranks, by a simulation of one's own."""
    rng = np.random.default_rng(11)
    uniform = np.full(DRAWS + 1, 1.0 / (DRAWS + 1))
    return np.asarray(ecdf_statistics(rng.multinomial(REPLICATIONS, uniform, SIMULATED)))


def test_ranks_are_those_that_exact_posteriors_expect(calibrated: tuple[Any, Any]) -> None:
    _, findings = calibrated
    study: Calibration = findings.study
    # The truths and the points are the study's. That they come from the prior and the truths is tested below.
    truths, _, points = study._simulated(study.methods["gibbs"].num_restarts(1))
    rng, many = np.random.default_rng(5), 1000
    below: dict[str, list[float]] = {}
    for r, x in enumerate(points):
        factors = np.asarray(truths.scales[r])
        truth = quantities(truths.weights[r][None], truths.means[r][None], (factors @ factors.swapaxes(1, 2))[None], x)
        for name, values in quantities(*exact_draws(x, many, rng), x).items():
            below.setdefault(name, []).append(float(np.mean(values < truth[name])))
    rows = {row["quantity"]: row for row in findings.where(method="gibbs").rows}
    assert set(rows) == set(below)
    for name, found in below.items():
        share = np.clip(found, 0.5 / many, 1.0 - 0.5 / many)
        assert kstest(share, "uniform").pvalue > 1e-5, name
        # A rank is binomial given the posterior: the mean rank is known far better than by its uniformity.
        variance = np.sum(share * (1 - share)) * (1 / DRAWS + 1 / many) / REPLICATIONS**2
        assert abs(rows[name]["mean_rank"] - np.mean(share)) < ERRORS * np.sqrt(variance), name
        chances = binom.pmf(np.arange(DRAWS + 1), DRAWS, share[:, None]).reshape(REPLICATIONS, BINS, -1).sum(axis=2)
        counts = np.reshape(rows[name]["counts"], (BINS, -1)).sum(axis=1)
        errors = np.sqrt(np.sum(chances * (1 - chances), axis=0))
        assert np.all(np.abs(counts - chances.sum(axis=0)) < ERRORS * errors), name


def test_p_values_and_the_figure_follow_from_the_counts(calibrated: tuple[Any, Any], null: Array) -> None:
    decision, findings = calibrated
    rng, adjusted = np.random.default_rng(6), dict[str, list[float]]()
    for row in findings.rows:
        counts = np.asarray(row["counts"])
        assert counts.sum() == REPLICATIONS and row["tests"] == 4 * 9
        whole = chisquare(counts.reshape(BINS, -1).sum(axis=1)).pvalue
        assert row["p_chi_square"] == pytest.approx(whole, rel=1e-9)
        p = float(np.mean(null <= ecdf_statistics(counts) * (1 + 1e-12)))
        # Two simulations of as many samples.
        assert abs(row["p_ecdf"] - p) < ERRORS * np.sqrt(2 * p * (1 - p) / SIMULATED) + 2 / SIMULATED
        # Scores have a random part of their own, which so many sets of them show.
        scores = scores_of(np.broadcast_to(np.repeat(np.arange(DRAWS + 1), counts), (500, REPLICATIONS)), rng)
        for name, values in (("mean_score", scores.mean(axis=1)), ("mean_square_score", (scores**2).mean(axis=1))):
            assert abs(row[name] - values.mean()) < ERRORS * values.std(), name
        location, spread = p_of_mean_and_square(row["mean_score"], row["mean_square_score"])
        assert (row["p_location"], row["p_spread"]) == pytest.approx((location, spread), rel=1e-9)
        smallest = min(whole, row["p_ecdf"], float(location), float(spread))
        adjusted.setdefault(row["method"], []).append(min(1.0, row["tests"] * smallest))
        assert row["p_adjusted"] == pytest.approx(adjusted[row["method"]][-1], rel=1e-9)
    # One sampler, so that no other test counts; the approximation is told apart.
    assert decision.value == pytest.approx(min(adjusted["gibbs"]), rel=1e-9)
    assert f"That of approximations: {min(adjusted['cavi']):.3g}." in decision.note


def test_the_power_is_that_of_a_simulation_of_ones_own(calibrated: tuple[Any, Any], null: Array) -> None:
    decision, _ = calibrated
    limits, level, rng = limits_of("samplers_are_calibrated"), 0.01 / 36, np.random.default_rng(7)
    critical = np.sort(null)[int(level * (len(null) + 1)) - 1]
    told = [float(p) for p in re.findall(r"with(?: probability)? (\d\.\d\d)\b", decision.note)]
    for scale, shift, printed in ((limits["scale"], 0.0, told[0]), (1.0, limits["shift"], told[1])):
        below = norm.cdf((rng.standard_normal((1000, REPLICATIONS)) - shift) / scale)
        ranks = rng.binomial(DRAWS, below)
        counts = np.stack([np.bincount(each, minlength=DRAWS + 1) for each in ranks])
        scores = scores_of(ranks, rng)
        location, spread = p_of_mean_and_square(scores.mean(axis=1), (scores**2).mean(axis=1))
        whole = chisquare(counts.reshape(1000, BINS, -1).sum(axis=2), axis=1).pvalue
        found = (np.minimum(whole, np.minimum(location, spread)) < level) | (ecdf_statistics(counts) <= critical)
        power = float(np.mean(found))
        # 400 made-up calibrations there and 1,000 here, and two decimals.
        assert abs(printed - power) < ERRORS * np.sqrt(power * (1 - power) * (1 / 400 + 1 / 1000)) + 0.02
