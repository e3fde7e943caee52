"""Moves of one component of a mixture, with which short EM searches for a higher optimum."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from workbench.starts.climbing import Climber
from workbench.starts.kinds import Mixtures, Points

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

    def of(self, kept: Mixtures, parent: int, count: int) -> Mixtures:
        """`count` copies of one of the `kept` mixtures [E, ...], each with one random component moved. [C, ...]

        Kinds of moves take turns. In the rounds of 38 problems that led to a higher optimum, moves to a component of
        another mixture were the most frequent, two to one, so they have two turns of five.
        """
        mixture = kept.at(parent)
        weights, means, covariances = (np.repeat(leaf[None], count, axis=0) for leaf in mixture)
        owns = len(mixture.covariances) == len(mixture.weights)  # the covariance is not shared
        others = [place for place in range(len(kept.weights)) if place != parent]
        kinds: tuple[Callable[[Mixtures], Component], ...] = (
            self._near_a_row, self._at_any_row, self._far_from_all
        )  # fmt: skip
        for child in range(count):
            moved = self.rng.integers(len(mixture.weights))
            turn = child % 5
            if turn in (0, 2) and others:
                new = self._of(kept.at(int(self.rng.choice(others))))
            else:
                new = kinds[max(turn - 2, 0)](mixture)
            weights[child, moved], means[child, moved] = new.weight, new.mean
            if owns:
                covariances[child, moved] = new.covariance
        return Mixtures(weights / np.sum(weights, axis=1, keepdims=True), means, covariances)

    def _of(self, other: Mixtures) -> Component:
        """A component of another mixture (the crossover of Pernkopf & Bouchaffra 2005, PAMI 27)."""
        place = int(self.rng.integers(len(other.weights)))
        return Component(other.weights[place], other.means[place], other.covariances[place % len(other.covariances)])

    def _at_any_row(self, mixture: Mixtures) -> Component:
        """A component at a random row, with the average weight and a fraction of the average covariance."""
        row = self.z[self.rng.integers(len(self.z))]
        return Component(1.0 / len(mixture.weights), row, _average(mixture) * self._share())

    def _far_from_all(self, mixture: Mixtures) -> Component:
        """A component at a row drawn in proportion to its squared distance from the nearest mean, of random weight."""
        distances = np.min(np.sum((self.z[:, None] - mixture.means) ** 2, axis=-1), axis=1)  # [N]
        row = self.z[self.rng.choice(len(self.z), p=distances / np.sum(distances))]
        points = self._between(max(self.climber.fewest, 1), len(self.z) / len(mixture.weights))
        return Component(points / len(self.z), row, _average(mixture) * self._share())

    def _near_a_row(self, mixture: Mixtures) -> Component:
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
        return Component(size / n, np.mean(near, axis=0), covariance)

    def _share(self) -> float:
        return float(SMALLER ** -self.rng.random())

    def _between(self, least: float, most: float) -> float:
        """A random number whose logarithm is uniform."""
        return float(np.exp(self.rng.uniform(np.log(least), np.log(max(most, least)))))


def _average(mixture: Mixtures) -> Points:
    """The weighted mean of the components' covariances, or the shared one, in the shape of one component."""
    if len(mixture.covariances) < len(mixture.weights):
        return mixture.covariances[0]
    return np.asarray(np.tensordot(mixture.weights, mixture.covariances, 1))
