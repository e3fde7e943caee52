"""Relabelled draws of a sampler: a label means the same component in every draw, so that parameters make sense."""

from typing import NamedTuple

import numpy as np

from workbench.errors import InputError
from workbench.loop.trace import Trace
from workbench.mixture import Mixture
from workbench.posterior.relabelling import RELABELLINGS, apply
from workbench.problem import Problem

# The algorithm that is used by default.
DEFAULT = "stephens"


class RelabelledDraws(NamedTuple):
    """Draws after relabelling, with the permutations that were applied."""

    mixtures: Mixture  # leaves [R, S, ...]
    permutations: np.ndarray  # [R, S, K]   component `permutations[r, s, k]` of the sampled draw is called k
    algorithm: str


def relabel(trace: Trace, problem: Problem, algorithm: str = DEFAULT) -> RelabelledDraws:
    """The draws of a sampler with their components in one order, chosen draw by draw.

    An algorithm determines the labels up to one order common to all draws. It is chosen so that the posterior means of
    the first coordinate of the means increase. Stephens' and the ECR algorithms hold R x S x K responsibilities of at
    most 1,000 rows in memory.

    Args:
        trace: of a sampler.
        problem: the problem of the trace.
        algorithm: a name in `RELABELLINGS`.

    Raises:
        InputError: the trace has no draws, or there is no such algorithm.
    """
    check_sampler(trace)
    if algorithm not in RELABELLINGS:
        raise InputError(f"relabelling: unknown algorithm {algorithm!r}; allowed: {', '.join(RELABELLINGS)}")
    scores = trace.log_joint[:, -trace.draws :]
    permutations = np.asarray(RELABELLINGS[algorithm](trace.answer, scores, problem))
    first = np.take_along_axis(np.asarray(trace.answer.means)[..., 0], permutations, axis=-1)
    permutations = permutations[..., np.argsort(np.mean(first, axis=(0, 1)), kind="stable")]
    return RelabelledDraws(apply(permutations, trace.answer), permutations, algorithm)


def check_sampler(trace: Trace) -> None:
    """Refuse a trace without posterior draws.

    Raises:
        InputError: the trace holds point estimates.
    """
    if not trace.is_sampler:
        raise InputError("trace: holds point estimates and no posterior draws; give the trace of a sampler, as of nuts")
