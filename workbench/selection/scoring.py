"""Scoring one candidate: from its config to its score by every criterion."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import jax

from workbench.data import Dataset
from workbench.experiment import Experiment
from workbench.selection.candidate import Candidate, climbed
from workbench.selection.choice import Choice
from workbench.selection.criteria import CRITERIA
from workbench.selection.posterior import Missing, chains_of, sampled
from workbench.starts import draw_starts


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
