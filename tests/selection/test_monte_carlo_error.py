"""The Monte Carlo errors of WAIC and PSIS-LOO are those that repeated samplers show."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from scipy.special import ndtr, stdtrit

from workbench.mixture import COVARIANCES, Mixture
from workbench.selection import CRITERIA, Score
from workbench.selection.candidate import Candidate
from workbench.selection.posterior import Posterior

X = np.array([-2.1, -1.2, -0.6, -0.3, 0.1, 0.4, 0.9, 1.6])[:, None]
CHAINS, DRAWS, REPEATS = 4, 250, 60
# Correlation of successive draws: an error that takes draws for independent would be less than half of the truth.
CORRELATION = 0.7


def candidate_of(seed: int, chains: int = CHAINS) -> Candidate:
    """A candidate whose posterior is N(0, 1 / 8) for the mean of one normal component, by correlated draws."""
    noise = np.random.default_rng(seed).normal(size=(DRAWS, chains))
    means = noise.copy()
    for s in range(1, DRAWS):
        means[s] = CORRELATION * means[s - 1] + np.sqrt(1 - CORRELATION**2) * noise[s]
    draws: Any = Mixture(
        np.ones((chains, DRAWS, 1)),
        means.T[:, :, None, None] / np.sqrt(len(X)),
        np.ones((chains, DRAWS, 1, 1, 1)),
        COVARIANCES["full"],
    )
    posterior = Posterior("gibbs", draws, 0.2, None, True, "")
    problem: Any = SimpleNamespace(x=X, num_points=len(X), weights=None, known=None)
    nothing: Any = None
    return Candidate(nothing, nothing, problem, nothing, posterior, posterior)


@pytest.mark.parametrize("name", ["waic", "loo"])
def test_the_monte_carlo_error_is_the_spread_of_repeated_samplers(name: str) -> None:
    scores: list[Score] = [CRITERIA[name].score(candidate_of(seed)) for seed in range(REPEATS)]
    spread = np.std([score.value for score in scores if score.value is not None], ddof=1)
    told = np.sqrt(np.mean([score.monte_carlo_error**2 for score in scores if score.monte_carlo_error is not None]))
    # The mean of the squares has no bias but for the factor of Student's t. Over 60 repeats the spread is known to 9 %
    # and the mean square, of three degrees of freedom each, to 5 %: three standard errors of both together.
    assert told / stdtrit(CHAINS - 1, ndtr(1.0)) == pytest.approx(spread, rel=0.32)


def test_one_chain_shows_no_monte_carlo_error() -> None:
    assert CRITERIA["waic"].score(candidate_of(0, chains=1)).monte_carlo_error is None


def test_a_difference_counts_the_monte_carlo_errors_of_both() -> None:
    one, other = Score(-4.0, None, np.array([-1.0, -3.0])), Score(-5.0, None, np.array([-2.0, -3.0]))
    plain = one.above(other)
    sampled = Score(-4.0, None, np.array([-1.0, -3.0]), monte_carlo_error=0.3).above(
        Score(-5.0, None, np.array([-2.0, -3.0]), monte_carlo_error=0.4)
    )
    assert plain is not None and plain.standard_error is not None and sampled is not None
    assert sampled.standard_error == pytest.approx(np.hypot(plain.standard_error, 0.5))


def test_a_stored_score_keeps_its_monte_carlo_error() -> None:
    score = Score(-4.0, 0.1, np.array([-4.0]), monte_carlo_error=0.25)
    assert Score.from_dict(score.to_dict()).monte_carlo_error == 0.25
