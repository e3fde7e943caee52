"""Agreement of relabelling algorithms on the same draws, and the cost of each."""

import time
from typing import NamedTuple

import jax
import numpy as np

from workbench.mixture import Mixture
from workbench.posterior.relabelling.base import Relabelling
from workbench.problem import Problem


class Relabelled(NamedTuple):
    """The result of one algorithm and its cost."""

    permutations: np.ndarray  # [R, S, K]
    seconds: float
    compile_seconds: float


def timed(relabelling: Relabelling, mixtures: Mixture, log_joint: np.ndarray, problem: Problem) -> Relabelled:
    """Relabel twice: the first call compiles, and the second is timed."""
    mixtures = jax.block_until_ready(mixtures)
    begun = time.perf_counter()
    relabelling(mixtures, log_joint, problem)
    compiled = time.perf_counter()
    permutations = relabelling(mixtures, log_joint, problem)
    seconds = time.perf_counter() - compiled
    return Relabelled(permutations, seconds, max(compiled - begun - seconds, 0.0))


def agreement(one: np.ndarray, other: np.ndarray) -> float:
    """Share of the draws on which two sets of permutations [R, S, K] agree, up to one permutation common to all."""
    k = one.shape[-1]
    # The place in one algorithm's order of the component that the other puts in place k. It is the same for all draws
    # if the two agree.
    places = np.argsort(one.reshape(-1, k), axis=-1)
    relative = np.take_along_axis(places, other.reshape(-1, k), axis=-1)
    return float(np.unique(relative, axis=0, return_counts=True)[1].max() / len(relative))


def agreement_matrix(permutations: dict[str, np.ndarray]) -> np.ndarray:
    """`agreement` of every pair, in the order of the dictionary; symmetric, ones on the diagonal. [M, M]"""
    return np.array([[agreement(a, b) for b in permutations.values()] for a in permutations.values()])
