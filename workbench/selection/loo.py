"""PSIS-LOO: each point is predicted from the posterior of all others, by reweighting draws given all points."""

import math

import numpy as np

from workbench.selection.candidate import Candidate
from workbench.selection.pointwise import log_likelihoods
from workbench.selection.posterior import Missing
from workbench.selection.score import Score

# The largest tail shape k of a point's importance weights at which the sum over draws is reliable.
LIMIT = 0.7


def loo(candidate: Candidate) -> Score:
    """`sum_n ln P(x_n | all other points)` by Pareto-smoothed importance sampling.

    Vehtari, Gelman & Gabry (2017), Statistics and Computing 27; the limit on k also falls with few draws (Vehtari,
    Simpson, Gelman, Yao & Gabry 2024, JMLR 25). Not eligible where a point's k is beyond it, or the draws disagree.
    """
    posterior = candidate.posterior
    if isinstance(posterior, Missing):
        return Score.missing(posterior.why)
    # Imported late: it takes 0.8 s, and the package should import almost as quickly as NumPyro.
    from arviz_stats.base import array_stats  # type: ignore[attr-defined]

    terms, shapes = [], []
    for block in log_likelihoods(posterior.draws, candidate.problem.x):
        found = array_stats.loo(block, chain_axis=-2, draw_axis=-1, r_eff=posterior.efficiency)
        terms.append(np.atleast_1d(found[0]))
        shapes.append(np.atleast_1d(found[1]))
    draws = math.prod(posterior.draws.weights.shape[:2])
    limit = min(1.0 - 1.0 / math.log10(draws), LIMIT)
    # Not "greater than", because a NaN counts as beyond the limit.
    bad, total = int(np.sum(~(np.concatenate(shapes) <= limit))), len(candidate.problem.x)
    score = Score.of_terms(np.concatenate(terms))
    if bad:
        note = f"{bad} of {total} points ({bad / total:.0%}) have a Pareto k above {limit:.2g}"
        score = score.reject("Pareto k too large", note)
    return posterior.judge(score)
