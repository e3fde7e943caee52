"""BIC: the log-likelihood of the best fit less `(ln N) / 2` for each free parameter."""

import math

from workbench.selection.candidate import Candidate
from workbench.selection.posterior import Missing
from workbench.selection.score import Score


def bic(candidate: Candidate) -> Score:
    """`log L - (p / 2) ln N` (Schwarz 1978, Annals of Statistics 6).

    It is -1/2 of the textbook's BIC, and half of mclust's.
    """
    fit = candidate.fit
    if isinstance(fit, Missing):
        return Score.missing(fit.why)
    price = 0.5 * math.log(candidate.problem.num_points)
    return Score.of(fit.log_likelihood - price * fit.mixture.num_parameters, notes=fit.notes)
