"""AIC: the log-likelihood of the best fit less the number of free parameters."""

from workbench.selection.candidate import Candidate
from workbench.selection.posterior import Missing
from workbench.selection.score import Score


def aic(candidate: Candidate) -> Score:
    """`log L - p` (Akaike 1974, IEEE Trans. Automatic Control 19), -1/2 of the textbook's AIC."""
    fit = candidate.fit
    if isinstance(fit, Missing):
        return Score.missing(fit.why)
    return Score.of(fit.log_likelihood - fit.mixture.num_parameters, notes=fit.notes)
