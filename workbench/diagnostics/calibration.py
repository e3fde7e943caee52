"""Simulation-based calibration: ranks of the truth among posterior draws, and a test that they are uniform.

If a mixture is drawn from the prior and points are drawn from the mixture, the mixture is itself a draw from the
posterior given those points. Its rank among L independent draws of a correct sampler is therefore uniform on 0, ..., L,
for every quantity that is ranked (Talts, Betancourt, Simpson, Vehtari & Gelman 2018, "Validating Bayesian inference
algorithms with simulation-based calibration", Theorem 1).
"""

from dataclasses import dataclass
from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.scipy.special import logsumexp
from jax.typing import ArrayLike

from workbench.diagnostics.predictive import evenly
from workbench.errors import InputError
from workbench.mixture import Mixture
from workbench.problem import Problem

# Number of simulated uniform samples that give the distribution of the test's statistic. A p-value is at least about
# one over this number, and one of 0.05 is accurate to 0.002.
SIMULATED = 20_000


def quantities(mixture: Mixture, problem: Problem, at: ArrayLike) -> dict[str, Array]:
    """The quantities to rank, by name. Each is a number [] that no permutation of labels changes.

    Quantities that depend on the points as well detect errors that no parameter alone shows: a sampler that returns the
    prior is calibrated for every parameter, but not for the likelihood (Modrák, Moon, Kim, Bürkner, Huurre,
    Faltejsková, Gelman & Vehtari 2023, "Simulation-based calibration checking for Bayesian computation: the choice of
    test quantities shapes sensitivity", Bayesian Analysis, sec. 3).

    Args:
        mixture: the truth, or a draw.
        problem: a problem with at least two points.
        at: places at which the log density is ranked; they do not depend on the points. [G, D]
    """
    log_likelihood = problem.log_likelihood(mixture)
    logs = jax.nn.log_softmax(mixture.component_log_joint(problem.rows.at(jnp.arange(2))))  # [2, K]
    pairs, same = logs[0][:, None] + logs[1], jnp.eye(mixture.num_components, dtype=bool)
    together, apart = (logsumexp(jnp.where(mask, pairs, -jnp.inf)) for mask in (same, ~same))
    k, d = mixture.means.shape
    halves = mixture.covariance.half_log_determinants(mixture.scales, k, d)  # [K]
    means, densities = jnp.sort(mixture.means[:, 0]), mixture.log_density(at)
    return {
        "log_joint": log_likelihood + problem.log_prior(mixture),
        "log_likelihood": log_likelihood,
        "squared_weights": jnp.sum(mixture.weights**2),
        "log_determinants": 2.0 * jnp.sum(halves),
        # Log-odds that one component made the first two points, because probabilities that round to one would be ties.
        "co_clustering": together - apart,
        **{f"sorted_means[{i}]": means[i] for i in range(len(means))},  # by their first coordinate
        **{f"log_density[{g}]": densities[g] for g in range(len(densities))},
    }


def effective_sizes(draws: np.ndarray) -> np.ndarray:
    """Bulk effective sample size of each column of draws [R, S, Q]; zero where a draw is not finite. [Q]"""
    # This import takes 0.8 s; the package promises to import in little more time than numpyro itself.
    from arviz_stats.base import array_stats  # type: ignore[attr-defined]

    def size(column: np.ndarray) -> float:
        """Effective sample size of draws [R, S]."""
        finite = np.all(np.isfinite(column))
        return float(array_stats.ess(column, chain_axis=0, draw_axis=1, method="bulk")) if finite else 0.0

    return np.asarray([size(column) for column in np.moveaxis(draws, -1, 0)])


def thinned(draws: np.ndarray, keep: int) -> np.ndarray:
    """`keep` draws [L, Q], spread evenly over the concatenated chains [R, S, Q].

    If the effective sample size is at least L, the draws are as far apart as after thinning by it.
    """
    flat = draws.reshape(-1, draws.shape[-1])
    return np.asarray(flat[evenly(len(flat), keep)])


def ranks_of(truth: np.ndarray, draws: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The number of draws [L, Q] below the truth [Q]; ties are put in a random order. [Q]

    A draw that is NaN does not count as below.
    """
    below, ties = np.sum(draws < truth, axis=0), np.sum(draws == truth, axis=0)
    return np.asarray(below + rng.integers(0, ties + 1))


def chi_square_p_value(counts: np.ndarray, bins: int) -> float:
    """The p-value of Pearson's test that ranks are uniform.

    Args:
        counts: number of occurrences of each of the ranks 0, ..., L. [L + 1]
        bins: number of bins, each of equally many ranks.

    Raises:
        InputError: the number of bins does not divide L + 1.
    """
    # This import is slow; the package promises to import in little more time than numpyro itself.
    from scipy.stats import chi2

    if len(counts) % bins:
        raise InputError(f"bins: must divide the {len(counts)} ranks that there are, got {bins}")
    observed = counts.reshape(bins, -1).sum(axis=1)
    expected = observed.sum() / bins
    return float(chi2.sf(np.sum((observed - expected) ** 2) / expected, bins - 1))


def normal_scores(ranks: np.ndarray, draws: int, rng: np.random.Generator) -> np.ndarray:
    """Standard normal numbers, if the ranks [M] among L = `draws` are uniform: `Phi^-1((rank + u) / (L + 1))`. [M]

    The uniform number u makes them exactly normal, though ranks are whole numbers.
    """
    # This import is slow; the package promises to import in little more time than numpyro itself.
    from scipy.stats import norm

    return np.asarray(norm.ppf((ranks + rng.random(len(ranks))) / (draws + 1)))


def location_p_value(scores: np.ndarray) -> float:
    """The two-sided p-value that normal scores [M] have the mean zero: small for draws that are too high or too low."""
    from scipy.stats import norm

    return float(2 * norm.sf(abs(np.mean(scores)) * np.sqrt(len(scores))))


def spread_p_value(scores: np.ndarray) -> float:
    """The two-sided p-value that normal scores [M] have a mean square of one: small for draws too narrow or too wide.

    The test, one-sided, is that of Cook, Gelman & Rubin (2006), "Validation of software for Bayesian models using
    posterior quantiles", Journal of Computational and Graphical Statistics 15, sec. 2.2.
    """
    from scipy.stats import chi2

    total = float(np.sum(scores**2))
    return float(min(1.0, 2 * min(chi2.cdf(total, len(scores)), chi2.sf(total, len(scores)))))


@dataclass(frozen=True)
class Envelope:
    """The simultaneous test of an empirical distribution function of uniform ranks, and its band.

    At rank i the number of replications of lower rank is binomial with probability `i / (L + 1)`. The statistic is the
    smallest of these L two-sided tail probabilities, and simulated uniform samples give its distribution (Säilynoja,
    Bürkner & Vehtari 2022, "Graphical test for discrete uniformity and its applications in goodness of fit evaluation
    and multiple sample comparison", Statistics and Computing 32, sec. 2.1 and Algorithm 1). A curve leaves the band of
    coverage c if and only if the test's p-value is below 1 - c.
    """

    tails: np.ndarray  # [L, replications + 1]   two-sided probability of every count at every rank
    simulated: np.ndarray  # [SIMULATED]   the statistic of uniform samples, ascending

    def p_value(self, counts: np.ndarray) -> float:
        """The probability that uniform ranks deviate as much, from the number of occurrences of each rank [L + 1]."""
        lower = np.cumsum(counts)[:-1]
        return float(self._p_value(np.min(self.tails[np.arange(len(lower)), lower])))

    def band(self, coverage: float) -> tuple[np.ndarray, np.ndarray]:
        """The fewest and the most replications below ranks 1, ..., L that the test accepts. [L], [L]"""
        passes = self._p_value(self.tails) >= 1.0 - coverage
        return np.argmax(passes, axis=1), passes.shape[1] - 1 - np.argmax(passes[:, ::-1], axis=1)

    def _p_value(self, statistic: np.ndarray) -> np.ndarray:
        extreme = np.searchsorted(self.simulated, statistic, side="right")
        return np.asarray((1 + extreme) / (1 + len(self.simulated)))


@cache
def envelope(replications: int, draws: int) -> Envelope:
    """The test for a number of replications, each ranked among `draws` = L draws; the same numbers every time."""
    # This import is slow; the package promises to import in little more time than numpyro itself.
    from scipy.stats import binom

    below = np.arange(1, draws + 1)[:, None] / (draws + 1)  # [L, 1]
    count = np.arange(replications + 1)
    lower = binom.cdf(count, replications, below)
    upper = binom.sf(count - 1, replications, below)
    tails = np.minimum(1.0, 2.0 * np.minimum(lower, upper))
    rng = np.random.default_rng(0)
    samples = rng.multinomial(replications, np.full(draws + 1, 1.0 / (draws + 1)), SIMULATED)
    statistics = np.min(tails[np.arange(draws), np.cumsum(samples, axis=1)[:, :-1]], axis=1)
    return Envelope(tails, np.sort(statistics))


# Data of so many made-up calibrations give the power to within 0.03.
POWER_SIMULATED = 400


@cache
def power(replications: int, draws: int, bins: int, level: float, *, scale: float = 1.0, shift: float = 0.0) -> float:
    """The probability that the four tests of one quantity find a sampler that is wrong in spread or place.

    The quantity is normal, and the sampler's draws have `scale` times its standard deviation and a mean that is off by
    `shift` of them.

    Args:
        replications: data sets.
        draws: L, among which the truth is ranked.
        bins: of the chi-square test.
        level: at which any test counts as failed.
        scale: 1 for a right spread.
        shift: 0 for a right place.
    """
    # This import is slow; the package promises to import in little more time than numpyro itself.
    from scipy.stats import norm

    rng, test = np.random.default_rng(0), envelope(replications, draws)
    below = norm.cdf((rng.standard_normal((POWER_SIMULATED, replications)) - shift) / scale)
    ranks = rng.binomial(draws, below)

    def smallest(ranks: np.ndarray) -> float:
        counts, scores = np.bincount(ranks, minlength=draws + 1), normal_scores(ranks, draws, rng)
        whole = chi_square_p_value(counts, bins), test.p_value(counts)
        return min(*whole, location_p_value(scores), spread_p_value(scores))

    return float(np.mean([smallest(each) < level for each in ranks]))
