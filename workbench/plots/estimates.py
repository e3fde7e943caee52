"""The quantities that plots show for a method that climbs: its best sound mixture, and the marginals as curves."""

import math
from dataclasses import dataclass, replace
from typing import Any

import jax
import numpy as np

from workbench.compare import Comparison
from workbench.mixture import Mixture
from workbench.plots.style import colours, plain, strokes

CIRCLE = np.stack([np.cos(t := np.linspace(0, 2 * np.pi, 65)), np.sin(t)])  # [2, 65]


@dataclass(frozen=True)
class Gaussians:
    """Components in the units of the data, as NumPy arrays; leading axes hold draws."""

    weights: np.ndarray  # [..., K]
    means: np.ndarray  # [..., K, D]
    covariances: np.ndarray  # [..., K, D, D]

    @classmethod
    def of(cls, mixture: Mixture) -> "Gaussians":
        """The components of one mixture."""
        arrays = mixture.weights, mixture.means, mixture.covariances
        return cls(*(np.asarray(array) for array in arrays))

    @classmethod
    def of_all(cls, mixtures: Mixture) -> "Gaussians":
        """The components of a batch with leaves [S, ...]."""
        covariances = jax.vmap(lambda mixture: mixture.covariances)(mixtures)
        return cls(*(np.asarray(array) for array in (mixtures.weights, mixtures.means, covariances)))

    def at(self, draws: np.ndarray) -> "Gaussians":
        """Some of the draws, by their indices on the first axis."""
        return Gaussians(self.weights[draws], self.means[draws], self.covariances[draws])

    def densities(self, column: int, grid: np.ndarray) -> np.ndarray:
        """Weighted density of each component's marginal in one column, at points [G]. [..., K, G]"""
        deviation = np.sqrt(self.covariances[..., column, column])[..., None]
        white = (grid - self.means[..., column, None]) / deviation
        return self.weights[..., None] * np.exp(-0.5 * white**2) / (deviation * math.sqrt(2 * math.pi))

    def ellipses(self, pair: tuple[int, int], radius: float) -> np.ndarray:
        """Contours of the marginals in two columns, `radius` standard deviations out. [..., K, 2, points]"""
        index = np.asarray(pair)
        blocks = self.covariances[..., index[:, None], index]  # [..., K, 2, 2]
        return self.means[..., index][..., None] + radius * np.linalg.cholesky(blocks) @ CIRCLE

    def grid(self, column: int, low: float, high: float) -> np.ndarray:
        """Points from low to high, fine enough for the narrowest component. [G]"""
        deviations = np.sqrt(self.covariances[..., column, column])
        near = self.means[..., column, None] + deviations[..., None] * np.linspace(-4, 4, 41)
        points = np.unique(np.concatenate([np.linspace(low, high, 400), near.ravel()]))
        return np.asarray(points[(points >= low) & (points <= high)])


@dataclass(frozen=True)
class Estimate:
    """A method's best sound mixture, None if it has none, and its style."""

    label: str
    gaussians: Gaussians | None
    colour: str
    stroke: dict[str, Any]

    def thinner(self, share: float) -> "Estimate":
        """The same, drawn with a share of the line width."""
        return replace(self, stroke={**self.stroke, "linewidth": share * self.stroke["linewidth"]})


def estimates(comparison: Comparison) -> list[Estimate]:
    """The estimate of each method that climbs, in the order of the comparison."""
    shades, lines = colours(comparison), strokes(comparison)
    found = []
    for name, trace in comparison.items():
        if trace.is_sampler:
            continue
        place = trace.best_place(comparison.problem, comparison.rule)
        if place is None:
            label, gaussians = f"{name}: no sound answer", None
        else:
            label = f"{name} ({trace.log_joint[place]:.3f})"
            gaussians = Gaussians.of(trace.at(*place))
        found.append(Estimate(plain(label), gaussians, shades[name], lines[name]))
    return found


def data_range(x: np.ndarray, margin: float = 0.08) -> tuple[float, float]:
    """Smallest and largest value of a column [N], with a margin."""
    low, high = float(np.min(x)), float(np.max(x))
    room = margin * (high - low)
    return low - room, high + room
