"""The evidence that the independent runs of a sampler tell together."""

from typing import NamedTuple

import numpy as np


class Evidence(NamedTuple):
    """ln P(x), all parameters integrated out, and its standard error over the runs; not a number from one run."""

    log_evidence: float
    standard_error: float


def pooled_evidence(log_evidence: np.ndarray) -> Evidence:
    """The logarithm of the runs' mean, because it is the evidence that each estimates without bias, not its logarithm.

    Args:
        log_evidence: one estimate for each run [R]. If one is not a number, neither is the whole.
    """
    peak = float(np.max(log_evidence))
    if not np.isfinite(peak):
        return Evidence(peak, np.nan)
    ratios = np.exp(log_evidence - peak)
    mean, runs = float(np.mean(ratios)), len(ratios)
    # d ln Z = dZ / Z
    error = float(np.std(ratios, ddof=1)) / mean / np.sqrt(runs) if runs > 1 else np.nan
    return Evidence(peak + np.log(mean), error)
