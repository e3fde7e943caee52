"""Moves of one component of a mixture, among which short EM seeks a higher optimum."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from workbench.starts.climbing import Climber, Mixtures, Points

# A component that moves is as large as the average one, or up to this many times smaller by variance: how large the
# group is that has no component, nobody knows.
SMALLER = 16.0


class Component(NamedTuple):
    """What stands in the place of the component that moves."""

    weight: float  # before weights are made to sum to one
    mean: Points  # [D]
    covariance: Points  # in the shape of one component; of no meaning where the covariance is shared


@dataclass(frozen=True)
class Moves:
    """Moves of mixtures of K components on rows z [N, D] in working units."""

    climber: Climber
    z: Points
    rng: np.random.Generator

    def of(self, kept: Mixtures, parent: int, count: int) -> Mixtures:
        """One of the `kept` mixtures [E, ...] so many times, with one component, at random, moved in each. [C, ...]

        Kinds of moves take turns. Of the rounds of 38 problems in which a climb ended higher, those with a component of
        another mixture were the most, two to one, so that they have two turns of five.
        """
        mixture = kept.at(parent)
        weights, means, covariances = (np.repeat(leaf[None], count, axis=0) for leaf in mixture)
        owns = len(mixture.covariances) == len(mixture.weights)  # not one covariance for all
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
        """Average weight, and a share of the average covariance, at a random row."""
        row = self.z[self.rng.integers(len(self.z))]
        return Component(1.0 / len(mixture.weights), row, _average(mixture) * self._share())

    def _far_from_all(self, mixture: Mixtures) -> Component:
        """At a row drawn in proportion to its squared distance from the nearest mean; of any weight, also light."""
        distances = np.min(np.sum((self.z[:, None] - mixture.means) ** 2, axis=-1), axis=1)  # [N]
        row = self.z[self.rng.choice(len(self.z), p=distances / np.sum(distances))]
        points = self._between(max(self.climber.fewest, 1), len(self.z) / len(mixture.weights))
        return Component(points / len(self.z), row, _average(mixture) * self._share())

    def _near_a_row(self, mixture: Mixtures) -> Component:
        """Fitted to the nearest rows of a random one: from twice those that a covariance needs to N / K of them."""
        n, d, fewest = *self.z.shape, self.climber.fewest
        least = min(n, 2 * max(fewest, 1))
        size = int(self._between(least, n // len(mixture.weights)))
        squares = np.sum((self.z - self.z[self.rng.integers(n)]) ** 2, axis=1)
        near = self.z[np.argpartition(squares, size - 1)[:size]]
        apart = near - np.mean(near, axis=0)
        own = self.climber.kind.of_dense(np.ones(1), (apart.T @ apart / size)[None])[0]
        # As many points' worth of the average shape as a covariance needs, at the volume of so many points.
        volume = (size * len(mixture.weights) / n) ** (2.0 / d)
        covariance = (size * own + fewest * volume * _average(mixture)) / (size + fewest)
        return Component(size / n, np.mean(near, axis=0), covariance)

    def _share(self) -> float:
        return float(SMALLER ** -self.rng.random())

    def _between(self, least: float, most: float) -> float:
        """A number at random, its logarithm uniform."""
        return float(np.exp(self.rng.uniform(np.log(least), np.log(max(most, least)))))


def _average(mixture: Mixtures) -> Points:
    """The components' covariances by weight, or the one that they share, in the shape of one."""
    if len(mixture.covariances) < len(mixture.weights):
        return mixture.covariances[0]
    return np.asarray(np.tensordot(mixture.weights, mixture.covariances, 1))
