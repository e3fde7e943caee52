"""Moves from one mixture to another, with which short EM searches for a higher optimum."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from workbench.starts.climbing import Climber
from workbench.starts.storage import Mixtures, Points

# The variance of a moved component is that of the average component, or up to this many times smaller, because the size
# of a group that has no component is not known.
SMALLER = 16.0


class Component(NamedTuple):
    """The replacement of the component that is moved."""

    weight: float  # before the weights are normalised
    mean: Points  # [D]
    covariance: Points  # in the shape of one component; unused if the covariance is shared


@dataclass(frozen=True)
class Moves:
    """Moves of mixtures of K components on rows z [N, D] in working units."""

    climber: Climber
    z: Points
    rng: np.random.Generator

    def of(self, mixture: Mixtures, others: Mixtures, count: int) -> Mixtures:
        """`count` variants of a mixture, by each kind of move in turn.

        Args:
            mixture: a mixture, without a leading axis.
            others: other mixtures [E, ...] of which parts can be taken; without any, another kind of move is used.
            count: how many variants.

        Returns:
            [C, ...].
        """
        variants = []
        for child in range(count):
            other = others.at(int(self.rng.integers(len(others.weights)))) if len(others.weights) else None
            variants.append(KINDS[child % len(KINDS)](self, mixture, other))
        weights, means, covariances = Mixtures.stack(variants)
        # A background keeps the weight that the mixture leaves for it.
        kept = np.sum(mixture.weights) / np.sum(weights, axis=1, keepdims=True)
        return Mixtures(weights * kept, means, covariances)

    def grafted(self, mixture: Mixtures, other: Mixtures | None) -> Mixtures:
        """A component moved to one of another mixture (the crossover of Pernkopf & Bouchaffra 2005, PAMI 27)."""
        if other is None:
            return self.near_a_row(mixture, other)
        place = int(self.rng.integers(len(other.weights)))
        own = other.covariances[place % len(other.covariances)]
        return self._placed(mixture, Component(other.weights[place], other.means[place], own))

    def reweighted(self, mixture: Mixtures, other: Mixtures | None) -> Mixtures:
        """The mixture after a step of EM with random weights of the rows.

        It reaches optima that differ by a few rows, which moves of whole components pass over (Elidan, Ninio, Friedman
        & Schuurmans 2002, "Data perturbation for escaping local maxima in learning", AAAI).
        """
        return self.climber.reweighted(Mixtures(*(leaf[None] for leaf in mixture)), self.rng).at(0)

    def spliced(self, mixture: Mixtures, other: Mixtures | None) -> Mixtures:
        """The first components of a mixture along a random direction, with the last of another mixture.

        This is the cut and splice of Deaven & Ho (1995), "Molecular geometry optimization with a genetic algorithm",
        Phys. Rev. Lett. 75. Components interact with their neighbours most, so neighbours stay together.
        """
        if other is None:
            return self.near_a_row(mixture, other)
        k, direction = len(mixture.weights), self.rng.normal(size=self.z.shape[1])
        first, last = (np.argsort(one.means @ direction) for one in (mixture, other))
        size = int(self.rng.integers(1, k))
        parts = (mixture, first[:size]), (other, last[size:])
        weights, means = (np.concatenate([one[leaf][places] for one, places in parts]) for leaf in (0, 1))
        if len(mixture.covariances) < k:  # the covariance is shared
            return Mixtures(weights, means, mixture.covariances)
        return Mixtures(weights, means, np.concatenate([one.covariances[places] for one, places in parts]))

    def near_a_row(self, mixture: Mixtures, other: Mixtures | None) -> Mixtures:
        """A component fitted to the nearest rows of a random row, between twice `fewest` and N / K of them."""
        n, d, fewest = *self.z.shape, self.climber.fewest
        least = min(n, 2 * max(fewest, 1))
        size = int(self._between(least, n // len(mixture.weights)))
        squares = np.sum((self.z - self.z[self.rng.integers(n)]) ** 2, axis=1)
        near = self.z[np.argpartition(squares, size - 1)[:size]]
        apart = near - np.mean(near, axis=0)
        own = self.climber.kind.of_dense(np.ones(1), (apart.T @ apart / size)[None])[0]
        # The average covariance, scaled to the volume of `size` points, counts as `fewest` points.
        volume = (size * len(mixture.weights) / n) ** (2.0 / d)
        covariance = (size * own + fewest * volume * _average(mixture)) / (size + fewest)
        return self._placed(mixture, Component(size / n, np.mean(near, axis=0), covariance))

    def at_any_row(self, mixture: Mixtures, other: Mixtures | None) -> Mixtures:
        """A component at a random row, with the average weight and a fraction of the average covariance."""
        row = self.z[self.rng.integers(len(self.z))]
        return self._placed(mixture, Component(1.0 / len(mixture.weights), row, _average(mixture) * self._share()))

    def far_from_all(self, mixture: Mixtures, other: Mixtures | None) -> Mixtures:
        """A component at a row drawn in proportion to its squared distance from the nearest mean, of random weight."""
        distances = np.min(np.sum((self.z[:, None] - mixture.means) ** 2, axis=-1), axis=1)  # [N]
        row = self.z[self.rng.choice(len(self.z), p=distances / np.sum(distances))]
        points = self._between(max(self.climber.fewest, 1), len(self.z) / len(mixture.weights))
        return self._placed(mixture, Component(points / len(self.z), row, _average(mixture) * self._share()))

    def _placed(self, mixture: Mixtures, new: Component) -> Mixtures:
        """The mixture with a random component replaced."""
        moved = self.rng.integers(len(mixture.weights))
        weights, means, covariances = (leaf.copy() for leaf in mixture)
        weights[moved], means[moved] = new.weight, new.mean
        if len(covariances) == len(weights):  # the covariance is not shared
            covariances[moved] = new.covariance
        return Mixtures(weights, means, covariances)

    def _share(self) -> float:
        return float(SMALLER ** -self.rng.random())

    def _between(self, least: float, most: float) -> float:
        """A random number whose logarithm is uniform."""
        return float(np.exp(self.rng.uniform(np.log(least), np.log(max(most, least)))))


# Every kind of move takes one turn, except that ten variants begin a second time.
Move = Callable[[Moves, Mixtures, Mixtures | None], Mixtures]
KINDS: tuple[Move, ...] = (
    Moves.grafted, Moves.reweighted, Moves.spliced, Moves.near_a_row, Moves.at_any_row, Moves.far_from_all
)  # fmt: skip


def _average(mixture: Mixtures) -> Points:
    """The weighted mean of the components' covariances, or the shared one, in the shape of one component."""
    if len(mixture.covariances) < len(mixture.weights):
        return mixture.covariances[0]
    return np.asarray(np.tensordot(mixture.weights, mixture.covariances, 1))
