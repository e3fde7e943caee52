"""Starts by short runs of EM, and the default rule, which alternates them with others.

A start by short EM is the best of many candidates, improved by moving one component at a time.
"""

from itertools import count
from typing import ClassVar, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from workbench.data.dataset import generator
from workbench.engine.hosts import from_first_host
from workbench.mixture import Mixture
from workbench.problem import Problem
from workbench.starts.base import Start
from workbench.starts.climbing import Climber
from workbench.starts.groups import RawKMeans, VariedSeeds, smoothed
from workbench.starts.hierarchical import Hierarchical
from workbench.starts.kinds import Mixtures, Points, kind_of
from workbench.starts.moves import Moves

# A restart begins with ten candidates and ten steps from each, followed by rounds of as many moves with as many steps.
# Biernacki, Celeux & Govaert (2003) leave the numbers open, and find that a short run need not be close to convergence.
CANDIDATES, STEPS = 10, 10

# In each round the three highest mixtures continue, together with the four highest so far, from which moves begin.
FINALISTS, KEPT = 3, 4

# The search ends after this many rounds per component in a row without improvement, times the restart's term of Luby's
# sequence: 1, 1, 2, 1, 1, 2, 4 and so on. If there are many optima, one long search finds the best more reliably than
# the same number of rounds in short searches; if there are few, all rounds after the first are wasted. Without
# knowledge of the run times, no other sequence is better by more than a constant and a logarithm (Luby, Sinclair &
# Zuckerman 1993, "Optimal speedup of Las Vegas algorithms", Inf. Process. Lett. 47).
PATIENCE = 2

# As long as no candidate ended usable, this many times as many rounds of new candidates.
MORE_PATIENCE = 8

# Ends that differ by less than `SAME` nats count as one optimum. A run that gains less than `SETTLED` nats in ten steps
# has converged.
SAME, SETTLED = 0.05, 0.001

# The highest mixture finally continues for up to this many times ten steps: a mixture on its way into a spike, above
# all one on equal values, may not be recognisable for hundreds of steps.
SETTLING = 50

# If there are more rows than this, each restart uses a random sample of this size.
MOST_ROWS = 2**10

# The most multiplications in the rounds of one restart, which take about a fifth of a second; larger problems have
# fewer rounds. `EXPONENTIAL` is the cost of an exponential in multiplications.
MOST_WORK, EXPONENTIAL = 2**30, 16


class ShortEM(Start):
    """The best of ten short EM runs, then moves: one component is placed elsewhere, and short EM runs again.

    Biernacki, Celeux & Govaert (2003), "Choosing starting values for the EM algorithm for getting the highest
    likelihood in multivariate Gaussian mixture models", CSDA 41, find that the best of many short runs leads EM to
    higher optima than the same effort in long runs. Zhao, Hautamaki, Karkkainen & Franti (2012), "Random swap EM
    algorithm for Gaussian mixture models", Pattern Recognition Letters 33, find that moving one component at a time
    leads out of optima in which one group has two components and another has none. Four mixtures are kept and continue,
    so that slowly rising ones have time, and a moved component can be taken from another mixture (`moves.py`). Runs are
    discarded if `Soundness` would call their end starved, singular or suspicious: the likelihood is unbounded, and the
    highest of many short runs would be a spike. The runs maximise the likelihood, whatever the prior.
    """

    rule: Literal["short_em"] = "short_em"
    summary: ClassVar[str] = "the best of ten short EM runs, then components moved while that climbs higher"
    climbs: ClassVar[bool] = True

    def draw(self, problem: Problem, restarts: int, seed: int) -> Mixture:
        """Draw each restart with its own random generator."""
        x = np.asarray(problem.sample, float)
        starts = Mixtures.stack([_best(problem, x, generator(seed, f"short_em {r}"), r) for r in range(restarts)])
        # Linear algebra libraries may round differently on another host.
        return in_data_units(problem, Mixtures(*from_first_host(tuple(starts))))


class Kept(NamedTuple):
    """The highest usable ends of short runs, each of a different optimum."""

    mixtures: Mixtures  # [E, ...]
    values: Points  # [E]   log-likelihoods, the highest first


def _best(problem: Problem, x: Points, rng: np.random.Generator, restart: int) -> Mixtures:
    """The start of one restart, in working units and without a leading axis, from rows x [N, D] in the data's units."""
    k = problem.components
    if len(x) > MOST_ROWS:
        x = x[np.sort(rng.choice(len(x), MOST_ROWS, replace=False))]
    z = (x - np.asarray(problem.rows.shift)) @ np.asarray(problem.rows.inverse).T
    climber = Climber.of(z, problem.covariance, k, x)
    numbers = count(restart * CANDIDATES)

    def candidates() -> Mixtures:
        return Mixtures.stack([_candidate(problem, x, z, rng, next(numbers)) for _ in range(CANDIDATES)])

    first = children = candidates()
    kept, highest, still, patience = None, -np.inf, 0, PATIENCE * k * luby(restart + 1)
    with np.errstate(all="ignore"):  # mixtures that are not finite are discarded
        for _ in range(_rounds(climber, k) if k > 1 else 1):
            kept = _round(climber, children, kept)
            still = 0 if kept is not None and kept.values[0] > highest + SAME else still + 1
            if still == patience * (MORE_PATIENCE if kept is None else 1):
                break
            if kept is None:
                children = candidates()
                continue
            highest = max(highest, kept.values[0])
            # The highest in half of the rounds, otherwise any of those kept.
            parent = int(rng.integers(2) * rng.integers(len(kept.values)))
            children = Moves(climber, z, rng).of(kept.mixtures, parent, CANDIDATES) if k > 1 else children
        # The second candidate has wide components at random rows, which are never singular.
        return first.at(1) if kept is None else _settled(climber, kept)


def luby(term: int) -> int:
    """A term of Luby's sequence, counted from 1: term 2^i - 1 is 2^(i - 1), after which the sequence repeats."""
    length = term.bit_length()
    return 2 ** (length - 1) if term == 2**length - 1 else luby(term - 2 ** (length - 1) + 1)


def _rounds(climber: Climber, components: int) -> int:
    """The largest number of rounds of moves, which is smaller for more rows and columns."""
    climbs = (CANDIDATES + FINALISTS + KEPT) * STEPS
    work = 2 * climbs * components * climber.num_rows * (climber.features.shape[1] + EXPONENTIAL)
    return int(max(2, MOST_WORK // work))


def _round(climber: Climber, children: Mixtures, kept: Kept | None) -> Kept | None:
    """The mixtures kept after short runs of the children, then of the best of these and of those kept so far."""
    chosen = _highest(climber, children, FINALISTS)
    pool = [some.mixtures for some in (kept, chosen) if some is not None]
    return _highest(climber, Mixtures(*map(np.concatenate, zip(*pool, strict=True))), KEPT) if pool else None


def _highest(climber: Climber, mixtures: Mixtures, most: int) -> Kept | None:
    """The highest usable ends of short runs, one of each of at most `most` optima; None if no end is usable."""
    ends, values = climber.climb(mixtures, STEPS)
    values = np.where(climber.usable(ends), values, -np.inf)
    places: list[int] = []
    for place in np.argsort(-values):
        if np.isfinite(values[place]) and np.all(np.abs(values[places] - values[place]) > SAME):
            places.append(int(place))
    places = places[:most]
    return Kept(Mixtures(*(leaf[places] for leaf in ends)), values[places]) if places else None


def _settled(climber: Climber, kept: Kept) -> Mixtures:
    """The highest mixture that is still usable after EM has continued from it, without a leading axis."""
    for place, value in enumerate(kept.values):
        one = Mixtures(*(leaf[[place]] for leaf in kept.mixtures))
        for _ in range(SETTLING):
            before = value
            one, (value,) = climber.climb(one, STEPS)
            if not value - before > SETTLED or not climber.usable(one)[0]:
                break
        if np.isfinite(value) and climber.usable(one)[0]:
            return one.at(0)
    return kept.mixtures.at(0)


def _candidate(problem: Problem, x: Points, z: Points, rng: np.random.Generator, number: int) -> Mixtures:
    """A mixture by varied seeds, or with wide components at random rows, alternately.

    x and z [N, D] are the rows in the data's and in working units.
    """
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
    return Mixtures(weights, means, kind_of(family).of_dense(weights, dense))


def in_data_units(problem: Problem, working: Mixtures) -> Mixture:
    """Mixtures in the data's units, leaves [R, ...], from mixtures in working units."""
    family, shift, matrix = problem.covariance, np.asarray(problem.rows.shift), np.asarray(problem.rows.matrix)
    transformed = kind_of(family).scales(working.covariances, matrix)
    shape = family.shape(problem.components, problem.num_dimensions)
    leaves = (working.weights, shift + working.means @ matrix.T, transformed.reshape(len(transformed), *shape))
    weights, means, scales = (jnp.asarray(leaf, problem.dtype) for leaf in leaves)
    return Mixture(weights, means, scales, family)


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
        turns = np.arange(restarts) % len(TURNS)
        places = {rule: np.flatnonzero([TURNS[turn] is rule for turn in turns]) for rule in dict.fromkeys(TURNS)}
        drawn = [rule.draw(problem, len(mine), seed) for rule, mine in places.items() if len(mine)]
        # Reorder from rule by rule to the order of the restarts.
        order = np.argsort(np.concatenate(list(places.values())))
        return jax.tree.map(lambda *leaves: np.concatenate(leaves)[order], *drawn)
