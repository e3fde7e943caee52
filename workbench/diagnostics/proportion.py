"""A proportion of counted successes, with its confidence interval."""

import math
from dataclasses import dataclass
from statistics import NormalDist

from workbench.errors import InputError


@dataclass(frozen=True)
class Proportion:
    """The number of successes in a number of independent trials.

    Raises:
        InputError: there are no trials, or the number of successes is not between zero and that of trials.
    """

    successes: int
    trials: int

    def __post_init__(self) -> None:
        if self.trials < 1:
            raise InputError(f"trials: must be at least 1, got {self.trials}")
        if not 0 <= self.successes <= self.trials:
            raise InputError(f"successes: must lie between 0 and trials = {self.trials}, got {self.successes}")

    @property
    def share(self) -> float:
        """Successes over trials: the maximum likelihood estimate of the probability."""
        return self.successes / self.trials

    @property
    def interval(self) -> tuple[float, float]:
        """The 95 % confidence interval."""
        return self.interval_at(0.95)

    def interval_at(self, confidence: float) -> tuple[float, float]:
        """The probabilities p that lie within z standard errors, `sqrt(p (1 - p) / n)`, of the share.

        This is Wilson's interval (1927, "Probable inference, the law of succession, and statistical inference", JASA
        22). Unlike the interval with the standard error at the share itself, it does not shrink to a point if no trial
        or every trial succeeded.

        Args:
            confidence: the share of intervals that contain the probability, in (0, 1).
        """
        z, n, p = NormalDist().inv_cdf(0.5 + 0.5 * confidence), self.trials, self.share
        centre = (p + z**2 / (2 * n)) / (1 + z**2 / n)
        half = z * math.sqrt(p * (1 - p) / n + z**2 / (4 * n**2)) / (1 + z**2 / n)
        # These ends are exact for no or only successes, where rounding would miss them by an eps.
        low = 0.0 if self.successes == 0 else centre - half
        high = 1.0 if self.successes == n else centre + half
        return low, high
