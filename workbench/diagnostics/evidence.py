"""The evidence that the independent runs of a sampler tell together."""

from typing import NamedTuple

import numpy as np
from scipy.special import ndtr, stdtrit


class Evidence(NamedTuple):
    """ln P(x), all parameters integrated out, and its standard error over the runs; not a number from one run."""

    log_evidence: float
    standard_error: float
    runs: int = 1
    largest_share: float = 1.0  # of the mean, that one run holds

    @property
    def is_carried(self) -> bool:
        """Whether one run outweighs all the others together: then their spread says nothing of the mean's error."""
        return self.runs < 2 or (self.runs > 2 and not self.largest_share <= 0.5)

    @property
    def half_width(self) -> float:
        """Half of the interval that holds the truth as often as one standard error of a normal estimate does: 68 %.

        By Student's t, because the spread of a few runs is known little better than they are: 1.2 standard errors of
        four runs. Not a number where one run carries the mean.
        """
        if self.is_carried:
            return np.nan
        return float(stdtrit(self.runs - 1, ndtr(1.0))) * self.standard_error


def pooled_evidence(log_evidence: np.ndarray) -> Evidence:
    """The logarithm of the runs' mean, because it is the evidence that each estimates without bias, not its logarithm.

    Args:
        log_evidence: one estimate for each run [R]. If one is not a number, neither is the whole.
    """
    peak = float(np.max(log_evidence))
    if not np.isfinite(peak):
        return Evidence(peak, np.nan, len(log_evidence))
    ratios = np.exp(log_evidence - peak)
    mean, runs = float(np.mean(ratios)), len(ratios)
    share = float(np.max(ratios) / np.sum(ratios))
    # d ln Z = dZ / Z
    error = float(np.std(ratios, ddof=1)) / mean / np.sqrt(runs) if runs > 1 else np.nan
    return Evidence(peak + np.log(mean), error, runs, share)
