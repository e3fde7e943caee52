"""Starts by short runs of EM, and the default rule, which alternates them with others.

A start by short EM is the best of many candidates, improved by moving one component at a time.
"""

from dataclasses import dataclass
from itertools import count
from typing import ClassVar, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from workbench.data.dataset import generator
from workbench.engine.hosts import from_first_host
from workbench.mixture import Mixture
from workbench.mixture.background import START
from workbench.problem import Problem
from workbench.starts.base import Start, observed
from workbench.starts.climbing import Climber
from workbench.starts.groups import RawKMeans, VariedSeeds, smoothed
from workbench.starts.hierarchical import Hierarchical
from workbench.starts.known import beside_background
from workbench.starts.moves import Moves
from workbench.starts.storage import Mixtures, Points, kind_of

# A restart begins with ten candidates and a short run from each, followed by rounds of as many moves. A short run is
# ten passes over the rows, in three leaps. Biernacki, Celeux & Govaert (2003) leave the numbers open, and find that a
# short run need not be close to convergence.
CANDIDATES, LEAPS = 10, 3

# The three highest of a round continue in the next one, together with the four highest so far, from which moves begin.
FINALISTS, KEPT = 3, 4

# A search ends after this many rounds per component in a row without improvement. A long one has that patience for each
# optimum in its pool: where the restarts before found the same optimum, there is hardly another to be found, and where
# each found its own, there are many (Boender & Rinnooy Kan 1987, "Bayesian stopping rules for multistart global
# optimization methods", Math. Program. 37, estimate the number of optima from the same counts).
PATIENCE = 3

# As long as no candidate ended usable, this many times as many rounds of new candidates.
MORE_PATIENCE = 8

# Ends that differ by less than `SAME` nats count as one optimum. A run that gains less than `SETTLED` has converged.
SAME, SETTLED = 0.05, 0.001

# The highest mixture finally continues for up to this many short runs: a mixture on its way into a spike, above all one
# on equal values, may not be recognisable for hundreds of steps.
SETTLING = 50

# A long search has a pool of at most this many ends of the restarts before.
POOL = 8

# If there are more rows than this, each restart uses a random sample of this size.
MOST_ROWS = 2**10

# The most multiplications in the rounds of one restart, which take about a fifth of a second; larger problems have
# fewer rounds. `EXPONENTIAL` is the cost of an exponential in multiplications.
MOST_WORK, EXPONENTIAL = 2**30, 16


class ShortEM(Start):
    """The best of ten short EM runs, then moves: a part of the mixture is placed elsewhere, and short EM runs again.

    Biernacki, Celeux & Govaert (2003), "Choosing starting values for the EM algorithm for getting the highest
    likelihood in multivariate Gaussian mixture models", CSDA 41, find that the best of many short runs leads EM to
    higher optima than the same effort in long runs. Zhao, Hautamaki, Karkkainen & Franti (2012), "Random swap EM
    algorithm for Gaussian mixture models", Pattern Recognition Letters 33, find that moving one component at a time
    leads out of optima in which one group has two components and another has none. `moves.py` has more kinds of moves.

    Restarts alternate between a search by itself and a long search, whose moves begin at the ends of all restarts
    before it and take parts of them. Restarts of one seed are therefore no independent trials. A start still depends on
    the problem, the seed and the restart only, because the restarts before it are always the same.

    Four mixtures are kept and continue, so that slowly rising ones have time. Runs are discarded if `Soundness` would
    call their end starved, singular or suspicious: the likelihood is unbounded, and the highest of many short runs
    would be a spike. The runs maximise the likelihood, whatever the prior.
    """

    rule: Literal["short_em"] = "short_em"
    summary: ClassVar[str] = (
        "the best of ten short EM runs, then parts moved while that climbs higher; long searches by turns"
    )
    climbs: ClassVar[bool] = True

    def searches(self, restarts: int) -> np.ndarray:
        """Every second restart begins at the ends of those before, and counts with the one before it. [R]"""
        return np.arange(restarts) // 2

    def draw(self, problem: Problem, restarts: int, seed: int) -> Mixture:
        """The end of each restart's search."""
        ends = self.search(problem, restarts, seed).mixtures
        # Linear algebra libraries may round differently on another host.
        return in_data_units(problem, Mixtures(*from_first_host(tuple(ends))))

    def search(self, problem: Problem, restarts: int, seed: int) -> "Kept":
        """The end of each restart's search, in working units, and its log-likelihood on the rows it used. [R, ...]"""
        pool = None
        ends: list[Kept] = []
        for restart in range(restarts):
            end = Search.of(problem, seed, restart).best(pool if restart % 2 else None)
            # A search ends at the order of weights; a start has its components in any order.
            order = generator(seed, f"order {restart}").permutation(problem.components)
            ends.append(end._replace(mixtures=end.mixtures.in_order(order[None])))
            pool = _highest(*_joined(ends[-1], pool), POOL)
        return Kept(Mixtures.join([end.mixtures for end in ends]), np.concatenate([end.values for end in ends]))


class Kept(NamedTuple):
    """Ends of runs; those that a search keeps are usable, each of a different optimum, the highest first."""

    mixtures: Mixtures  # [E, ...]
    values: Points  # [E]   log-likelihoods in working units


@dataclass(frozen=True)
class Search:
    """The search of one restart, on rows in the data's units x [N, D] and in working units z [N, D]."""

    problem: Problem
    x: Points
    z: Points
    climber: Climber
    rng: np.random.Generator
    restart: int

    @classmethod
    def of(cls, problem: Problem, seed: int, restart: int) -> "Search":
        """The search of a restart, on a sample of the observations if there are many."""
        rng = generator(seed, f"short_em {restart}")
        x = np.asarray(observed(problem, MOST_ROWS, rng), float)
        z = (x - np.asarray(problem.rows.shift)) @ np.asarray(problem.rows.inverse).T
        outside = None
        if problem.background is not None:
            outside = float(jnp.sum(problem.background.log_thinness) + problem.rows.log_determinant)
        climber = Climber.of(z, problem.covariance, problem.components, x, outside)
        return cls(problem, x, z, climber, rng, restart)

    def best(self, pool: Kept | None) -> Kept:
        """The highest mixture found; its value is -inf if nothing usable was.

        Args:
            pool: ends of the restarts before, from which a search with more than the least patience begins.
        """
        k, patience = self.problem.components, PATIENCE * self.problem.components
        numbers = count(self.restart * CANDIDATES)

        def candidates() -> Mixtures:
            return Mixtures.stack([self._candidate(next(numbers)) for _ in range(CANDIDATES)])

        first = children = candidates()
        kept = young = None
        if pool is not None:
            patience *= len(pool.values)
            kept = Kept(pool.mixtures.some(slice(KEPT)), pool.values[:KEPT])
            children = self._children(kept, pool) if k > 1 else first
        highest, still = -np.inf, 0
        with np.errstate(all="ignore"):  # mixtures that are not finite are discarded
            for _ in range(_rounds(self.climber, k) if k > 1 else 2):
                young, kept = _round(self.climber, children, young, kept)
                parents = kept or young
                reached = max((some.values[0] for some in (young, kept) if some is not None), default=-np.inf)
                still = 0 if reached > highest + SAME else still + 1
                highest = max(highest, reached)
                if still == patience * (MORE_PATIENCE if parents is None else 1):
                    break
                children = candidates() if parents is None or k == 1 else self._children(parents, pool)
            # The second candidate has wide components at random rows, which are never singular.
            return Kept(first.some(slice(1, 2)), np.array([-np.inf])) if kept is None else _settled(self.climber, kept)

    def _children(self, kept: Kept, pool: Kept | None) -> Mixtures:
        """Moves of the highest mixture in half of the rounds, otherwise of any of those kept."""
        parent = int(self.rng.integers(2) * self.rng.integers(len(kept.values)))
        mixtures, values = (kept.mixtures, kept.values) if pool is None else _joined(kept, pool)
        others = np.flatnonzero(np.abs(values - kept.values[parent]) > SAME)
        return Moves(self.climber, self.z, self.rng).of(kept.mixtures.at(parent), mixtures.some(others), CANDIDATES)

    def _candidate(self, number: int) -> Mixtures:
        """A mixture by varied seeds, or with wide components at random rows, alternately."""
        x, z, rng, problem = self.x, self.z, self.rng, self.problem
        k, d, family = problem.components, x.shape[1], problem.covariance
        if number % 2:
            weights, means = np.full(k, 1.0 / k), z[rng.choice(len(z), k, replace=False)]
            # In working units the data have unit covariance; K components of this size fill the same volume.
            dense = np.tile(np.eye(d) * k ** (-2.0 / d), (k, 1, 1))
        else:
            groups = VariedSeeds().group(x, k, rng, number // 2)
            shift, inverse = np.asarray(problem.rows.shift), np.asarray(problem.rows.inverse)
            weights, means = np.maximum(groups.counts, 1.0), (groups.means - shift) @ inverse.T
            weights = weights / np.sum(weights)
            dense = inverse @ smoothed(groups, family.fewest_points(d)) @ inverse.T
        covariances = self.climber.kind.of_dense(weights, dense)
        return Mixtures(weights if self.climber.outside is None else weights * (1.0 - START), means, covariances)


def _rounds(climber: Climber, components: int) -> int:
    """The largest number of rounds of moves, which is smaller for more rows and columns."""
    climbs = (CANDIDATES + FINALISTS + KEPT) * (3 * LEAPS + 1)
    work = 2 * climbs * components * climber.num_rows * (climber.features.shape[1] + EXPONENTIAL)
    return int(max(2, MOST_WORK // work))


def _round(
    climber: Climber, children: Mixtures, young: Kept | None, kept: Kept | None
) -> tuple[Kept | None, Kept | None]:
    """The best of the children after a short run, and of the young and those kept after another of theirs."""
    parts = [children, *(some.mixtures for some in (young, kept) if some is not None)]
    ends, values = climber.leap(Mixtures.join(parts), LEAPS)
    values = np.where(climber.usable(ends), values, -np.inf)
    born, grown = slice(CANDIDATES), slice(CANDIDATES, None)
    return (
        _highest(ends.some(born), values[born], FINALISTS), _highest(ends.some(grown), values[grown], KEPT)
    )  # fmt: skip


def _highest(mixtures: Mixtures, values: Points, most: int) -> Kept | None:
    """The highest of the usable mixtures, one of each of at most `most` optima; None if none is usable.

    Their components are in the order of their weights, because an optimum has many labellings, which are equally high,
    and rounding must not decide which of them the search goes on with.
    """
    places: list[int] = []
    for place in np.argsort(-values):
        if np.isfinite(values[place]) and np.all(np.abs(values[places] - values[place]) > SAME):
            places.append(int(place))
    chosen = np.asarray(places[:most], int)
    ordered = mixtures.some(chosen).in_order(np.argsort(mixtures.weights[chosen], axis=1))
    return Kept(ordered, values[chosen]) if places else None


def _joined(some: Kept, others: Kept | None) -> Kept:
    """Those of both, in no order."""
    if others is None:
        return some
    return Kept(Mixtures.join([some.mixtures, others.mixtures]), np.concatenate([some.values, others.values]))


def _settled(climber: Climber, kept: Kept) -> Kept:
    """The highest mixture that is still usable after EM has continued from it."""
    for place, value in enumerate(kept.values):
        one = kept.mixtures.some(slice(place, place + 1))
        for _ in range(SETTLING):
            before = value
            one, (value,) = climber.leap(one, LEAPS)
            if not value - before > SETTLED or not climber.usable(one)[0]:
                break
        if np.isfinite(value) and climber.usable(one)[0]:
            return Kept(one, np.array([value]))
    return Kept(kept.mixtures.some(slice(1)), kept.values[:1])


def in_data_units(problem: Problem, working: Mixtures) -> Mixture:
    """Mixtures in the data's units, leaves [R, ...], from mixtures in working units."""
    family, shift, matrix = problem.covariance, np.asarray(problem.rows.shift), np.asarray(problem.rows.matrix)
    beside = problem.background is not None
    transformed = kind_of(family, beside_background=beside).scales(working.covariances, matrix)
    shape = family.shape(problem.components, problem.num_dimensions)
    kept = np.sum(working.weights, axis=1, keepdims=True)
    leaves = (working.weights / kept, shift + working.means @ matrix.T, transformed.reshape(len(transformed), *shape))
    weights, means, scales = (jnp.asarray(leaf, problem.dtype) for leaf in leaves)
    if problem.background is None:
        return Mixture(weights, means, scales, family)
    left = jnp.asarray(np.maximum(1.0 - kept[:, 0], np.finfo(problem.dtype).eps), problem.dtype)
    return Mixture(weights, means, scales, family, problem.background.weighing(left))


# Short EM takes every second turn, because it finds the best optima when used alone. Between its turns come
# hierarchical clustering, k-means in the data's own units, and varied seeds, which lead to optima that it can miss. The
# first eight starts include both hierarchical starts from all rows. benchmarks/starts.py compares the rules.
SHORT, GROUPS = ShortEM(), Hierarchical()
TURNS: tuple[Start, ...] = (GROUPS, SHORT, RawKMeans(), SHORT, GROUPS, SHORT, VariedSeeds(), SHORT)


class Alternating(Start):
    """Every second start is by short EM; the others are by hierarchical clustering, k-means and varied seeds in turn.

    The starts of each rule are used in its own order.
    """

    rule: Literal["alternating"] = "alternating"
    summary: ClassVar[str] = "short_em every second time; hierarchical, raw_kmeans, hierarchical, varied_seeds between"
    climbs: ClassVar[bool] = True

    def draw(self, problem: Problem, restarts: int, seed: int) -> Mixture:
        """The first starts of each rule, at the positions of its turns."""
        places = self._places(restarts)
        drawn = [
            beside_background(problem, rule.draw(problem, len(mine), seed))
            for rule, mine in places.items()
            if len(mine)
        ]
        # Reorder from rule by rule to the order of the restarts.
        order = np.argsort(np.concatenate(list(places.values())))
        return jax.tree.map(lambda *leaves: np.concatenate(leaves)[order], *drawn)

    def searches(self, restarts: int) -> np.ndarray:
        """Those of each rule. [R]"""
        found = np.zeros(restarts, int)
        for number, (rule, mine) in enumerate(self._places(restarts).items()):
            found[mine] = number + len(TURNS) * rule.searches(len(mine))
        return found

    def _places(self, restarts: int) -> dict[Start, np.ndarray]:
        """The restarts of each rule."""
        turns = np.arange(restarts) % len(TURNS)
        return {rule: np.flatnonzero([TURNS[turn] is rule for turn in turns]) for rule in dict.fromkeys(TURNS)}
