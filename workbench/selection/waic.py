"""WAIC: how well the posterior predicts the points it has seen, less a correction for having seen them."""

import numpy as np
from scipy.special import logsumexp

from workbench.selection.candidate import Candidate
from workbench.selection.pointwise import log_likelihoods
from workbench.selection.posterior import Missing
from workbench.selection.score import Score

# The largest posterior variance of one point's log-likelihood at which WAIC is reliable (Vehtari, Gelman & Gabry 2017,
# Statistics and Computing 27).
LIMIT = 0.4


def waic(candidate: Candidate) -> Score:
    """`sum_n ln mean_s P(x_n | s) - var_s ln P(x_n | s)`: Watanabe 2010, JMLR 11, -1/2 of the deviance's scale."""
    posterior = candidate.posterior
    if isinstance(posterior, Missing):
        return Score.missing(posterior.why)
    terms, variances = [], []
    for block in log_likelihoods(posterior.draws, candidate.problem.x):
        values = block.reshape(len(block), -1)  # [B, R S]
        variances.append(np.var(values, axis=1, ddof=1))
        terms.append(logsumexp(values, axis=1) - np.log(values.shape[1]) - variances[-1])
    large = int(np.sum(np.concatenate(variances) > LIMIT))
    total = len(candidate.problem.x)
    warning = [
        f"{large} of {total} points ({large / total:.0%}) have a variance above {LIMIT}, where WAIC is unreliable"
    ]
    return posterior.judge(Score.of_terms(np.concatenate(terms), warning if large else []))
