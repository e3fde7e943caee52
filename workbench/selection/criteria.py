"""The criteria: a description of each, and the function that scores a candidate."""

from collections.abc import Callable
from dataclasses import dataclass

from workbench.selection.aic import aic
from workbench.selection.bic import bic
from workbench.selection.candidate import Candidate
from workbench.selection.evidence import evidence
from workbench.selection.heldout import FOLDS, heldout
from workbench.selection.icl import icl
from workbench.selection.loo import loo
from workbench.selection.score import Score
from workbench.selection.waic import waic


@dataclass(frozen=True)
class Criterion:
    """A score of a candidate in nats, the larger the better."""

    heading: str
    summary: str
    score: Callable[[Candidate], Score]
    samples: bool = False  # whether it reads the posterior


# Related criteria stand together: AIC, held-out, WAIC and PSIS-LOO estimate how well new points are predicted, and BIC
# estimates the evidence.
CRITERIA: dict[str, Criterion] = {
    "aic": Criterion("AIC / -2", "log-likelihood of the best fit less its p free parameters", aic),
    "bic": Criterion("BIC / -2", "log-likelihood of the best fit less p/2 ln N", bic),
    "icl": Criterion("ICL / -2", "BIC, less what is unsure in giving each point to its most probable component", icl),
    "heldout": Criterion("held-out", f"log predictive density of the best fit, {FOLDS}-fold cross-validated", heldout),
    "waic": Criterion(
        "WAIC / -2", "log predictive density of the seen points, less its posterior variances", waic, True
    ),
    "loo": Criterion(
        "PSIS-LOO", "log predictive density of each point given all others, by importance sampling", loo, True
    ),
    "evidence": Criterion(
        "log evidence", "log probability of the points with all parameters integrated out", evidence, True
    ),
}
