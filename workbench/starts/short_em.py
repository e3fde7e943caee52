"""Starts by short runs of EM: of many candidates the one whose short climb ends highest, then one component at a time
moved elsewhere, over and over, and kept where a short climb ends higher."""

from typing import ClassVar, Literal

import jax.numpy as jnp
import numpy as np

from workbench.data.randomness import generator
from workbench.engine.hosts import from_first_host
from workbench.mixture import Mixture
from workbench.problem import Problem
from workbench.starts.base import Start
from workbench.starts.climbing import KINDS, Climber, Mixtures, Points
from workbench.starts.groups import smoothed
from workbench.starts.kmeans import VariedSeeds

# Ten random positions and ten steps from each (Biernacki, Celeux & Govaert 2003 leave the numbers open, and find that a
# short run need not be near its end); as many moves of as many steps, in twice as many rounds.
CANDIDATES, STEPS, ROUNDS = 10, 10, 20

# A component that moves is as large as the average one, or up to this many times smaller by variance: how large the
# group is that has no component, nobody knows.
SMALLER = 16.0

# Of more rows a random sample climbs, another for each restart.
MOST_ROWS = 2**10

# Multiplications in the moves of one restart, a tenth of a second or so: of many numbers fewer rounds. An exponential
# takes as long as so many.
MOST_WORK, EXPONENTIAL = 2**29, 16


class ShortEM(Start):
    """The best of ten short EM runs, and then random swaps: a component moves to a random row, and short EM runs again.

    Biernacki, Celeux & Govaert (2003), "Choosing starting values for the EM algorithm for getting the highest
    likelihood in multivariate Gaussian mixture models", CSDA 41, find that the best of many short runs leads EM higher
    than as many long ones; Zhao, Hautamaki, Karkkainen & Franti (2012), "Random swap EM algorithm for Gaussian mixture
    models", Pattern Recognition Letters 33, that moving one component at a time leads out of optima where a group has
    two components and another has none. Runs that end where `Soundness` would call the mixture starved, singular or
    suspicious are left out: the likelihood is unbounded, and the highest of many short runs would be a spike. They
    climb the likelihood, whatever the prior.
    """

    rule: Literal["short_em"] = "short_em"
    summary: ClassVar[str] = "the best of ten short EM runs, then components moved while that climbs higher"
    climbs: ClassVar[bool] = True

    def draw(self, problem: Problem, restarts: int, seed: int) -> Mixture:
        """Each restart by a generator of its own."""
        x = np.asarray(problem.sample, float)
        found = Mixtures.stack([_best(problem, x, generator(seed, f"short_em {r}"), r) for r in range(restarts)])
        # Libraries of linear algebra may round otherwise on another host.
        return in_data_units(problem, Mixtures(*from_first_host(tuple(found))))


def _best(problem: Problem, x: Points, rng: np.random.Generator, restart: int) -> Mixtures:
    """The start of one restart from rows x [N, D], in working units, without a leading axis."""
    k = problem.components
    if len(x) > MOST_ROWS:
        x = x[np.sort(rng.choice(len(x), MOST_ROWS, replace=False))]
    z = (x - np.asarray(problem.rows.shift)) @ np.asarray(problem.rows.inverse).T
    climber = Climber.of(z, problem.covariance, k)
    numbers = range(restart * CANDIDATES, (restart + 1) * CANDIDATES)
    first = Mixtures.stack([_candidate(problem, x, z, rng, number) for number in numbers])
    with np.errstate(all="ignore"):  # what is not finite is left out
        best, value = _highest(climber, first)
        if best is None:
            best = first.at(1)  # wide components at random rows: never singular
        work = 2 * CANDIDATES * STEPS * k * len(z) * (climber.features.shape[1] + EXPONENTIAL)
        for _ in range(min(ROUNDS, max(1, MOST_WORK // work)) if k > 1 else 0):
            moved, reached = _highest(climber, _swapped(best, z, rng))
            if moved is not None and reached > value:
                best, value = moved, reached
    return best


def _candidate(problem: Problem, x: Points, z: Points, rng: np.random.Generator, number: int) -> Mixtures:
    """Varied seeds, or wide components at random rows, by turns; x and z [N, D] are rows in both units."""
    k, d, family = problem.components, x.shape[1], problem.covariance
    if number % 2:
        weights, means = np.full(k, 1.0 / k), z[rng.choice(len(z), k, replace=False)]
        # Working units give the data unit covariance; K components fill as much space.
        dense = np.tile(np.eye(d) * k ** (-2.0 / d), (k, 1, 1))
    else:
        groups = VariedSeeds().group(x, k, rng, number // 2)
        shift, inverse = np.asarray(problem.rows.shift), np.asarray(problem.rows.inverse)
        weights, means = np.maximum(groups.counts, 1.0), (groups.means - shift) @ inverse.T
        weights = weights / np.sum(weights)
        dense = inverse @ smoothed(groups, family.fewest_points(d)) @ inverse.T
    return Mixtures(weights, means, KINDS[family.name].of_dense(weights, dense))


def _highest(climber: Climber, mixtures: Mixtures) -> tuple[Mixtures | None, float]:
    """Of usable ends of short climbs the highest, and its log-likelihood; none where none is usable."""
    ends, values = climber.climb(mixtures, STEPS)
    values = np.where(climber.usable(ends), values, -np.inf)
    best = int(np.argmax(values))
    return (ends.at(best), float(values[best])) if np.isfinite(values[best]) else (None, -np.inf)


def _swapped(mixture: Mixtures, z: Points, rng: np.random.Generator) -> Mixtures:
    """The mixture so many times, in each one component at a random row, of average weight and a size of chance."""
    weights, means, covariances = (np.repeat(leaf[None], CANDIDATES, axis=0) for leaf in mixture)
    each, k = np.arange(CANDIDATES), len(mixture.weights)
    moved = rng.integers(k, size=CANDIDATES)
    means[each, moved] = z[rng.integers(len(z), size=CANDIDATES)]
    weights[each, moved] = 1.0 / k
    if len(mixture.covariances) == k:
        average = np.tensordot(mixture.weights, mixture.covariances, 1)
        shares = SMALLER ** -rng.random(CANDIDATES)
        covariances[each, moved] = shares.reshape(-1, *(1,) * average.ndim) * average
    return Mixtures(weights / np.sum(weights, axis=1, keepdims=True), means, covariances)


def in_data_units(problem: Problem, found: Mixtures) -> Mixture:
    """Mixtures in the data's units, leaves [R, ...], from working units."""
    family, shift, matrix = problem.covariance, np.asarray(problem.rows.shift), np.asarray(problem.rows.matrix)
    means = shift + found.means @ matrix.T
    if family.has_correlations:
        scales = matrix @ np.linalg.cholesky(found.covariances)
    else:
        scales = np.sqrt(found.covariances) * np.diagonal(matrix)[: found.covariances.shape[-1]]
    scales = scales.reshape(len(means), *family.shape(problem.components, problem.num_dimensions))
    weights, means, scales = (jnp.asarray(leaf, problem.dtype) for leaf in (found.weights, means, scales))
    return Mixture(weights, means, scales, family)
