"""The optima on which climbs end: two ends of equal value are distinct if there is a valley between them."""

from dataclasses import dataclass, replace

import jax
import numpy as np

from workbench.loop.run import score
from workbench.loop.trace import Trace
from workbench.mixture import Mixture
from workbench.mixture.matching import SAME, Components, match
from workbench.problem import Problem

# Two ends have equal values if their log_joint differ by at most this many nats.
WITHIN = 1e-3

# An optimum less than this many nats below the best is a rival: half the 95 % point of chi-squared with one degree of
# freedom, so that a likelihood interval for any parameter reaches from one to the other. The curvature at one of them
# knows nothing of the other, and neither do standard errors.
RIVAL = 1.92


@dataclass(frozen=True)
class Optimum:
    """An end value of log_joint and how many restarts ended there; only sound ends are counted."""

    log_joint: float
    restarts: int


def optima_of(problem: Problem, trace: Trace, sound: np.ndarray) -> tuple[Optimum, ...]:
    """The optima of the sound ends, highest first; ends of equal value and mixture are counted together. `sound` [R]"""
    scores, ends = trace.log_joint[:, -1], trace.ends
    groups: list[list[int]] = []
    for end in np.argsort(-scores, kind="stable"):
        if not sound[end]:
            continue
        near = (group for group in reversed(groups) if scores[group[0]] - scores[end] <= WITHIN)
        own = next((group for group in near if same_optimum(problem, _at(ends, group[0]), _at(ends, end))), None)
        if own is None:
            groups.append([int(end)])
        else:
            own.append(int(end))
    return tuple(Optimum(float(scores[group[0]]), len(group)) for group in groups)


def rivals_of(problem: Problem, trace: Trace, settled: np.ndarray, best: tuple[float, Mixture]) -> tuple[float, ...]:
    """The values of other optima within `RIVAL` nats of the best, each once, the highest first.

    `settled` [R] says which ends are sound and have met their stopping rule: a climb that stopped on its way to the
    best is no optimum, nor is an end from which there is no valley to cross. Ends of equal value are counted elsewhere.
    """
    scores, found = trace.log_joint[:, -1], list[float]()
    for end in np.argsort(-scores, kind="stable"):
        value = float(scores[end])
        if (
            not settled[end]
            or not WITHIN < best[0] - value < RIVAL
            or any(abs(value - other) <= WITHIN for other in found)
        ):
            continue
        if not same_optimum(problem, best[1], _at(trace.ends, end)):
            found.append(value)
    return tuple(found)


def same_optimum(problem: Problem, one: Mixture, other: Mixture) -> bool:
    """Whether two mixtures of equal value are the same optimum, up to labels of components that no known row fixes.

    They are if the complete data could hardly distinguish them (`mixture/matching.py`). Slow climbs can stop farther
    from their optimum than that, and on a plateau mixtures of equal value are far apart. Two mixtures are therefore
    also the same optimum if `log_joint` is no lower half way between them, component by component.
    """
    first, second = (Components.of(mixture, np.arange(mixture.num_components)) for mixture in (one, other))
    found = match(first, second, problem.interchangeable)
    if problem.num_points * found.divergence <= SAME:
        return True
    pairs = one, other.permute(found.order)
    weights, means, covariances = (
        np.mean([np.asarray(getattr(mixture, name)) for mixture in pairs], axis=0)
        for name in ("weights", "means", "covariances")
    )
    middle = Mixture.from_covariances(weights, means, covariances, one.covariance.name)
    if one.background is not None and other.background is not None:
        middle = replace(middle, background=one.background.between(other.background))
    values, _ = score(problem, jax.tree.map(lambda *leaves: np.stack(leaves)[None], one, middle, other))
    return bool(values[0, 1] >= min(values[0, 0], values[0, 2]) - WITHIN)


def _at(mixtures: Mixture, restart: int) -> Mixture:
    return jax.tree.map(lambda leaf: leaf[restart], mixtures)
