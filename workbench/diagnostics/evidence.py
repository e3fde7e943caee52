"""The evidence ln P(x), pooled over the independent runs of a sampler."""

from typing import NamedTuple

import numpy as np
from scipy.special import ndtr, stdtrit


class Evidence(NamedTuple):
    """ln P(x), with all parameters integrated out, and its standard error over the runs, which is NaN for one run."""

    log_evidence: float
    standard_error: float
    runs: int = 1
    largest_share: float = 1.0  # the largest run's share of the sum over the runs

    @property
    def is_carried(self) -> bool:
        """Whether one run outweighs all others together; the spread then says nothing about the error of the mean."""
        return self.runs < 2 or (self.runs > 2 and not self.largest_share <= 0.5)

    @property
    def half_width(self) -> float:
        """Half the width of the 68 % interval, the coverage of one standard error of a normal estimate.

        It uses Student's t, because the spread of a few runs is itself uncertain: with four runs it is 1.2 standard
        errors. It is NaN if one run outweighs all others together.
        """
        if self.is_carried:
            return np.nan
        return float(stdtrit(self.runs - 1, ndtr(1.0))) * self.standard_error


def pooled_evidence(log_evidence: np.ndarray) -> Evidence:
    """The logarithm of the mean over the runs: each estimates the evidence without bias, not its logarithm.

    Args:
        log_evidence: one estimate for each run [R]. If one is NaN, so is the result.
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
