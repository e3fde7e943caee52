"""Starts by short runs of EM: of many candidates those whose short climbs end highest, then one component at a time
moved elsewhere, over and over, and kept where a short climb ends higher."""

from itertools import count
from typing import ClassVar, Literal, NamedTuple

import jax.numpy as jnp
import numpy as np

from workbench.data.randomness import generator
from workbench.engine.hosts import from_first_host
from workbench.mixture import Mixture
from workbench.problem import Problem
from workbench.starts.base import Start
from workbench.starts.climbing import Climber, Mixtures, Points, kind_of
from workbench.starts.groups import smoothed
from workbench.starts.kmeans import VariedSeeds
from workbench.starts.moves import Moves

# Ten random positions and ten steps from each (Biernacki, Celeux & Govaert 2003 leave the numbers open, and find that a
# short run need not be near its end); then rounds of as many moves of as many steps.
CANDIDATES, STEPS = 10, 10

# The three highest of each round climb on beside the four highest so far, which moves begin from.
FINALISTS, KEPT = 3, 4

# Rounds end when so many in a row have led no higher, times the restart's term of Luby's sequence: 1, 1, 2, 1, 1, 2, 4
# and so on. Where optima are many, one long search finds the best more surely than as many rounds in short ones; where
# they are few, all rounds after the first are wasted. With times that nobody knows beforehand, no other sequence is
# better by more than a constant and a logarithm (Luby, Sinclair & Zuckerman 1993, "Optimal speedup of Las Vegas
# algorithms", Inf. Process. Lett. 47).
PATIENCE = 8

# Ends are one optimum where they differ by less, in nats; and a climb is at its end where it gains less in ten steps.
SAME, SETTLED = 0.05, 0.001

# The highest mixture climbs so many times ten steps in the end: what is on its way into a spike, above all one on equal
# values, can take hundreds to be seen.
SETTLING = 50

# Of more rows a random sample climbs, another for each restart.
MOST_ROWS = 2**10

# Multiplications in the rounds of one restart, a fifth of a second or so: of many numbers fewer rounds. An exponential
# takes as long as so many.
MOST_WORK, EXPONENTIAL = 2**30, 16


class ShortEM(Start):
    """The best of ten short EM runs, and then moves: one component begins elsewhere, and short EM runs again.

    Biernacki, Celeux & Govaert (2003), "Choosing starting values for the EM algorithm for getting the highest
    likelihood in multivariate Gaussian mixture models", CSDA 41, find that the best of many short runs leads EM higher
    than as many long ones; Zhao, Hautamaki, Karkkainen & Franti (2012), "Random swap EM algorithm for Gaussian mixture
    models", Pattern Recognition Letters 33, that moving one component at a time leads out of optima where a group has
    two components and another has none. Four mixtures are kept and climb on, so that what rises slowly has time to, and
    a component can be that of another (`moves.py`). Runs that end where `Soundness` would call the mixture starved,
    singular or suspicious are left out: the likelihood is unbounded, and the highest of many short runs would be a
    spike. They climb the likelihood, whatever the prior.
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


class Kept(NamedTuple):
    """The highest usable ends of short climbs, each another optimum."""

    mixtures: Mixtures  # [E, ...]
    values: Points  # [E], the highest first


def _best(problem: Problem, x: Points, rng: np.random.Generator, restart: int) -> Mixtures:
    """The start of one restart from rows x [N, D], in working units, without a leading axis."""
    k = problem.components
    if len(x) > MOST_ROWS:
        x = x[np.sort(rng.choice(len(x), MOST_ROWS, replace=False))]
    z = (x - np.asarray(problem.rows.shift)) @ np.asarray(problem.rows.inverse).T
    climber = Climber.of(z, problem.covariance, k, x)
    numbers = count(restart * CANDIDATES)

    def candidates() -> Mixtures:
        return Mixtures.stack([_candidate(problem, x, z, rng, next(numbers)) for _ in range(CANDIDATES)])

    first = children = candidates()
    kept, highest, still, patience = None, -np.inf, 0, PATIENCE * luby(restart + 1)
    with np.errstate(all="ignore"):  # what is not finite is left out
        for _ in range(_rounds(climber, k) if k > 1 else 1):
            kept = _round(climber, children, kept)
            if kept is None:
                children, highest = candidates(), -np.inf
                continue
            still = 0 if kept.values[0] > highest + SAME else still + 1
            if still == patience:
                break
            highest = max(highest, kept.values[0])
            # The highest every other time.
            parent = int(rng.integers(2) * rng.integers(len(kept.values)))
            children = Moves(climber, z, rng).of(kept.mixtures, parent, CANDIDATES) if k > 1 else children
        # Wide components at random rows are never singular.
        return first.at(1) if kept is None else _settled(climber, kept)


def luby(term: int) -> int:
    """The term of Luby's sequence, counted from 1: 2^(i - 1) at place 2^i - 1, and after that the sequence again."""
    length = term.bit_length()
    return 2 ** (length - 1) if term == 2**length - 1 else luby(term - 2 ** (length - 1) + 1)


def _rounds(climber: Climber, components: int) -> int:
    """How many rounds of moves, at most: fewer for many rows and columns."""
    climbs = (CANDIDATES + FINALISTS + KEPT) * STEPS
    work = 2 * climbs * components * climber.num_rows * (climber.features.shape[1] + EXPONENTIAL)
    return int(max(2, MOST_WORK // work))


def _round(climber: Climber, children: Mixtures, kept: Kept | None) -> Kept | None:
    """What is kept after short climbs of the children and, of the highest, further ones beside those kept so far."""
    chosen = _highest(climber, children, FINALISTS)
    pool = [some.mixtures for some in (kept, chosen) if some is not None]
    return _highest(climber, Mixtures(*map(np.concatenate, zip(*pool, strict=True))), KEPT) if pool else None


def _highest(climber: Climber, mixtures: Mixtures, most: int) -> Kept | None:
    """Of usable ends of short climbs the highest of so many optima; none where none is usable."""
    ends, values = climber.climb(mixtures, STEPS)
    values = np.where(climber.usable(ends), values, -np.inf)
    places: list[int] = []
    for place in np.argsort(-values):
        if np.isfinite(values[place]) and np.all(np.abs(values[places] - values[place]) > SAME):
            places.append(int(place))
    places = places[:most]
    return Kept(Mixtures(*(leaf[places] for leaf in ends)), values[places]) if places else None


def _settled(climber: Climber, kept: Kept) -> Mixtures:
    """The highest that is still usable when it has climbed on, without a leading axis."""
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
    return Mixtures(weights, means, kind_of(family).of_dense(weights, dense))


def in_data_units(problem: Problem, found: Mixtures) -> Mixture:
    """Mixtures in the data's units, leaves [R, ...], from working units."""
    family, shift, matrix = problem.covariance, np.asarray(problem.rows.shift), np.asarray(problem.rows.matrix)
    moved = kind_of(family).scales(found.covariances, matrix)
    shape = family.shape(problem.components, problem.num_dimensions)
    leaves = (found.weights, shift + found.means @ matrix.T, moved.reshape(len(moved), *shape))
    weights, means, scales = (jnp.asarray(leaf, problem.dtype) for leaf in leaves)
    return Mixture(weights, means, scales, family)
