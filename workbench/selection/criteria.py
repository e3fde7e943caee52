"""The criteria: a description of each, and the score of one candidate by all of them."""

from collections.abc import Callable, Collection
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from threading import Lock
from typing import Any, NamedTuple

import jax
import numpy as np

from workbench.compare.remarks import needs
from workbench.data import Dataset
from workbench.experiment import Experiment
from workbench.mixture import Mixture
from workbench.problem import Problem
from workbench.selection.candidate import Candidate, climbed
from workbench.selection.fit_criteria import FOLDS, aic, bic, heldout, icl
from workbench.selection.posterior import Missing, Posterior, can_sample_beside, chains_of, sampled
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
    scores: dict[str, Score]  # by the criteria that were asked for
    smallest: float | None = None  # the points' worth of the smallest component of that fit: N times its weight
    stale: str | None = None  # the other code that made it, if it is stale
    impossible: str | None = None  # why there is no such model, if there are too few points for its covariances

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        scores = {name: score.to_dict() for name, score in self.scores.items()}
        kept = {"components": self.components, "parameters": self.parameters, "log_likelihood": self.log_likelihood}
        return kept | {"smallest_component": self.smallest, "scores": scores, "impossible": self.impossible}

    @classmethod
    def from_dict(cls, stored: dict[str, Any]) -> "Choice":
        """Inverse of `to_dict`."""
        likelihood, smallest = stored["log_likelihood"], stored.get("smallest_component")
        return cls(
            int(stored["components"]),
            int(stored["parameters"]),
            None if likelihood is None else float(likelihood),
            {name: Score.from_dict(stored["scores"][name]) for name in CRITERIA if name in stored["scores"]},
            None if smallest is None else float(smallest),
            impossible=None if (why := stored.get("impossible")) is None else str(why),
        )


class Begun(NamedTuple):
    """A candidate that the samplers' threads have taken on."""

    drawn: Future[tuple[Problem, Mixture]]  # the problem, and the starts of its climber and its sampler
    sampled: Future[tuple[Posterior | Missing, Posterior | Missing]]


class Sampling:
    """Threads that draw starts and sample, one candidate after another, in the order in which they begin.

    Compiling a program uses one core, and so do passes over few points. The climber therefore runs beside the samplers,
    and of these two candidates' side by side where they can: where they use NumPyro they take turns, because its
    handlers are one stack for the whole process, and where devices share the rows, because each uses all devices.

    Args:
        criteria: names of the criteria that are asked for; without one that needs draws, starts alone are drawn.
    """

    def __init__(self, criteria: Collection[str] = CRITERIA) -> None:
        self._samples = any(CRITERIA[name].samples for name in criteria)
        self._threads: ThreadPoolExecutor | None = None
        self._begun: dict[str, Begun] = {}
        self._turn = Lock()

    def begin(self, key: str, experiment: Experiment, train: Dataset) -> Begun:
        """Queue a candidate, unless one of this key has begun."""
        if key not in self._begun:
            self._threads = self._threads or ThreadPoolExecutor(max_workers=2)
            self._begun[key] = self._queue(self._threads, experiment, train)
        return self._begun[key]

    def end(self, key: str) -> None:
        """Forget a candidate that has been sampled. The threads end with the last one."""
        del self._begun[key]
        if not self._begun:
            self.stop()

    def stop(self) -> None:
        """Forget all candidates. It does not wait, because an interruption should not wait for the samplers."""
        self._begun.clear()
        if self._threads is not None:
            self._threads.shutdown(wait=False, cancel_futures=True)
        self._threads = None

    def _queue(self, threads: ThreadPoolExecutor, experiment: Experiment, train: Dataset) -> Begun:
        def starting() -> tuple[Problem, Mixture]:
            problem = experiment.problem(train)
            chains = chains_of(experiment, problem)
            wanted = max(experiment.restarts, 0 if chains is None else chains.num_chains)
            return problem, draw_starts(experiment.starts, problem, wanted, experiment.seed)

        none = Missing("no criterion that is asked for needs it")

        def sampling() -> tuple[Posterior | Missing, Posterior | Missing]:
            problem, starts = drawn.result()
            if self._threads is not threads:
                return none, none  # all candidates were forgotten meanwhile
            if can_sample_beside(experiment, problem):
                return sampled(experiment, problem, starts)
            with self._turn:
                return sampled(experiment, problem, starts)

        drawn = threads.submit(starting)
        return Begun(drawn, threads.submit(sampling if self._samples else lambda: (none, none)))


def scored(
    experiment: Experiment, train: Dataset, begun: Begun | None = None, criteria: Collection[str] = CRITERIA
) -> Choice:
    """Climb, sample if a criterion needs draws, and score one K.

    Args:
        experiment: the candidate's config.
        train: its points.
        begun: the candidate in the queue of a `Sampling`; by default a queue of its own.
        criteria: names of the criteria that score it.
    """
    if begun is None:
        own = Sampling(criteria)
        try:
            return scored(experiment, train, own.begin("", experiment, train), criteria)
        finally:
            own.stop()
    problem, starts = begun.drawn.result()
    later, own_starts = Missing("not sampled yet"), jax.tree.map(lambda leaf: leaf[: experiment.restarts], starts)
    climbing = Candidate(experiment, train, problem, climbed(experiment, problem, own_starts), later, later)
    asked = {name: criterion for name, criterion in CRITERIA.items() if name in criteria}
    scores = {name: criterion.score(climbing) for name, criterion in asked.items() if not criterion.samples}
    posterior, particles = begun.sampled.result()
    candidate = replace(climbing, posterior=posterior, particles=particles)
    scores |= {name: criterion.score(candidate) for name, criterion in asked.items() if criterion.samples}
    fit = None if isinstance(candidate.fit, Missing) else candidate.fit
    return Choice(
        components=problem.components,
        parameters=candidate.num_parameters,
        log_likelihood=None if fit is None else fit.log_likelihood,
        scores={name: scores[name] for name in asked},
        smallest=None if fit is None else problem.num_points * float(np.min(np.asarray(fit.mixture.weights))),
        impossible=needs(problem).removesuffix(". ") or None if fit is None else None,
    )
