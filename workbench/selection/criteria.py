"""The criteria: a description of each, and the score of one candidate by all of them."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

import jax

from workbench.data import Dataset
from workbench.experiment import Experiment
from workbench.selection.candidate import Candidate, climbed
from workbench.selection.fit_criteria import FOLDS, aic, bic, heldout, icl
from workbench.selection.posterior import Missing, chains_of, sampled
from workbench.selection.posterior_criteria import evidence, loo, waic
from workbench.selection.score import Score
from workbench.starts import draw_starts


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


@dataclass(frozen=True)
class Choice:
    """One K: the best fit and the score by every criterion."""

    components: int
    parameters: int  # number of free parameters
    log_likelihood: float | None  # of the best sound fit
    scores: dict[str, Score]
    stale: str | None = None  # the other code that made it, if it is stale

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        scores = {name: score.to_dict() for name, score in self.scores.items()}
        kept = {"components": self.components, "parameters": self.parameters, "log_likelihood": self.log_likelihood}
        return kept | {"scores": scores}

    @classmethod
    def from_dict(cls, stored: dict[str, Any]) -> "Choice":
        """Inverse of `to_dict`."""
        likelihood = stored["log_likelihood"]
        return cls(
            int(stored["components"]),
            int(stored["parameters"]),
            None if likelihood is None else float(likelihood),
            {name: Score.from_dict(stored["scores"][name]) for name in CRITERIA},
        )


def scored(experiment: Experiment, train: Dataset) -> Choice:
    """Climb, sample and score one K by every criterion.

    Most of the time is spent on compiling, which uses one core, so the climber and the sampler run in two threads.
    NumPyro's handlers are one stack for the whole process; only the sampler traces under them.
    """
    problem = experiment.problem(train)
    chains = chains_of(experiment, problem)
    wanted = max(experiment.restarts, 0 if chains is None else chains.num_chains)
    starts = draw_starts(experiment.starts, problem, wanted, experiment.seed)
    beside = ThreadPoolExecutor(max_workers=1)
    try:
        sampling = beside.submit(sampled, experiment, problem, starts)
        later, own = Missing("not sampled yet"), jax.tree.map(lambda leaf: leaf[: experiment.restarts], starts)
        climbing = Candidate(experiment, train, problem, climbed(experiment, problem, own), later, later)
        scores = {name: criterion.score(climbing) for name, criterion in CRITERIA.items() if not criterion.samples}
        posterior, particles = sampling.result()
    finally:
        # Without waiting: an interruption should not wait for the sampler, which otherwise has finished.
        beside.shutdown(wait=False, cancel_futures=True)
    candidate = replace(climbing, posterior=posterior, particles=particles)
    scores |= {name: criterion.score(candidate) for name, criterion in CRITERIA.items() if criterion.samples}
    return Choice(
        components=problem.components,
        parameters=candidate.num_parameters,
        log_likelihood=None if isinstance(candidate.fit, Missing) else candidate.fit.log_likelihood,
        scores={name: scores[name] for name in CRITERIA},
    )
