"""The quantities that plots show: a climb's best sound mixture, and a sampler's mean density with the band of draws."""

import math
from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import jax
import numpy as np

from workbench.compare import Comparison
from workbench.compare.summary import draws_of
from workbench.diagnostics.predictive import evenly, thinned
from workbench.mixture import Mixture
from workbench.mixture.background import Background, of_all_points
from workbench.plots.style import colours, plain, strokes

CIRCLE = np.stack([np.cos(t := np.linspace(0, 2 * np.pi, 65)), np.sin(t)])  # [2, 65]


@dataclass(frozen=True)
class Gaussians:
    """Components in the units of the data, as NumPy arrays; leading axes hold draws."""

    weights: np.ndarray  # [..., K]
    means: np.ndarray  # [..., K, D]
    covariances: np.ndarray  # [..., K, D, D]
    background: Background | None = None  # as NumPy arrays; the weights are those among all points

    @classmethod
    def of(cls, mixture: Mixture) -> "Gaussians":
        """The components of one mixture."""
        weights, means, covariances = map(np.asarray, (of_all_points(mixture), mixture.means, mixture.covariances))
        return cls(weights, means, covariances, jax.device_get(mixture.background))

    @classmethod
    def of_all(cls, mixtures: Mixture) -> "Gaussians":
        """The components of a batch with leaves [S, ...]."""
        dense = jax.vmap(lambda mixture: mixture.covariances)(mixtures)
        weights, means, covariances = map(np.asarray, (of_all_points(mixtures), mixtures.means, dense))
        return cls(weights, means, covariances, jax.device_get(mixtures.background))

    def at(self, draws: np.ndarray) -> "Gaussians":
        """Some of the draws, by their indices on the first axis."""
        background = jax.tree.map(lambda leaf: leaf[draws], self.background)
        return Gaussians(self.weights[draws], self.means[draws], self.covariances[draws], background)

    def densities(self, column: int, grid: np.ndarray) -> np.ndarray:
        """Weighted density of each component's marginal in one column, at points [G]. [..., K, G]"""
        deviation = np.sqrt(self.covariances[..., column, column])[..., None]
        white = (grid - self.means[..., column, None]) / deviation
        return self.weights[..., None] * np.exp(-0.5 * white**2) / (deviation * math.sqrt(2 * math.pi))

    def density(self, column: int, grid: np.ndarray) -> np.ndarray:
        """The marginal density of all components and of the background in one column, at points [G]. [..., G]"""
        total: np.ndarray = np.sum(self.densities(column, grid), axis=-2)
        return total if self.background is None else total + even_density(self.background, (column,), grid[:, None])

    def ellipses(self, pair: tuple[int, int], radius: float) -> np.ndarray:
        """Contours of the marginals in two columns, `radius` standard deviations out. [..., K, 2, points]

        That of a singular covariance is a line or a point, so that a spike can be shown as well.
        """
        index = np.asarray(pair)
        blocks = self.covariances[..., index[:, None], index]  # [..., K, 2, 2]
        variances, vectors = np.linalg.eigh(blocks)
        roots = vectors * np.sqrt(np.maximum(variances, 0.0))[..., None, :]
        return np.asarray(self.means[..., index][..., None] + radius * roots @ CIRCLE)

    def grid(self, column: int, low: float, high: float) -> np.ndarray:
        """Points from low to high, fine enough for the narrowest component. [G]"""
        deviations = np.sqrt(self.covariances[..., column, column])
        near = self.means[..., column, None] + deviations[..., None] * np.linspace(-4, 4, 41)
        points = np.unique(np.concatenate([np.linspace(low, high, 400), near.ravel()]))
        return np.asarray(points[(points >= low) & (points <= high)])


def even_density(background: Background, columns: tuple[int, ...], points: np.ndarray) -> np.ndarray:
    """The marginal density of a background in some columns, at points [G, C]; leading axes hold draws. [..., G]"""
    low, high = (np.asarray(end)[..., None, list(columns)] for end in (background.low, background.high))
    inside = np.all((points >= low) & (points <= high), axis=-1)
    return np.where(inside, np.asarray(background.weight)[..., None] / np.prod(high - low, axis=-1), 0.0)


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


def estimates(comparison: Comparison, shown: Collection[str] | None = None) -> list[Estimate]:
    """The estimate of each method that climbs, in the order of the comparison; only of those shown, if given."""
    shades, lines = colours(comparison), strokes(comparison)
    found = []
    for name, trace in comparison.items():
        if trace.is_sampler or (shown is not None and name not in shown):
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


# Draws used, spread evenly over all chains. With more, the ends of a band would move by less than a line's width.
DRAWS_USED = 400

# Draws whose components the grid follows closely.
DRAWS_FOLLOWED = 5

# The share of the draws that the band holds at each point.
LEVEL = 0.95

# The probabilities of a two-dimensional Gaussian within 1 and 2 standard deviations.
MASSES = (1 - math.exp(-0.5), 1 - math.exp(-2.0))


class Band(NamedTuple):
    """The density at points: its posterior mean, and the ends of the middle 95 % of the draws, point by point."""

    mean: np.ndarray  # [G]   the posterior predictive density
    low: np.ndarray  # [G]
    high: np.ndarray  # [G]


@dataclass(frozen=True)
class Sampled:
    """A sampler's draws, None if none is finite, and their style."""

    label: str
    gaussians: Gaussians | None  # leading axis [S]
    colour: str
    stroke: dict[str, Any]

    def thinner(self, share: float) -> "Sampled":
        """The same, drawn with a share of the line width."""
        return replace(self, stroke={**self.stroke, "linewidth": share * self.stroke["linewidth"]})


def sampled(comparison: Comparison, shown: Collection[str] | None = None) -> list[Sampled]:
    """The draws of each sampler, in the order of the comparison; only of those shown, if given."""
    shades, lines = colours(comparison), strokes(comparison)
    found = []
    for name, trace in comparison.items():
        if not trace.is_sampler or (shown is not None and name not in shown):
            continue
        draws = Gaussians.of_all(thinned(draws_of(trace), DRAWS_USED))
        finite = np.all(np.isfinite(draws.means), axis=(-1, -2)) & np.all(np.isfinite(draws.covariances), (-1, -2, -3))
        kept = draws.at(np.flatnonzero(finite)) if np.any(finite) else None
        what = "posterior mean" if kept is not None else "no finite draw"
        found.append(Sampled(plain(f"{name}: {what}"), kept, shades[name], lines[name]))
    return found


def band(densities: np.ndarray) -> Band:
    """The band of the densities of draws [S, G]."""
    low, high = np.quantile(densities, [0.5 - LEVEL / 2, 0.5 + LEVEL / 2], axis=0)
    return Band(densities.mean(0), low, high)


def band_grid(gaussians: Gaussians, column: int, low: float, high: float) -> np.ndarray:
    """Points from low to high, fine enough for the components of a few draws. [G]"""
    return gaussians.at(evenly(len(gaussians.weights), DRAWS_FOLLOWED)).grid(column, low, high)


def mean_surface(gaussians: Gaussians, pair: tuple[int, int], x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Posterior mean of the density of two columns, on a grid of points x [A] by y [B]. [B, A]"""
    points = np.stack(np.meshgrid(x, y), -1).reshape(-1, 2)
    index = np.asarray(pair)
    roots = np.linalg.cholesky(gaussians.covariances[..., index[:, None], index])  # [S, K, 2, 2]
    total = np.zeros(len(points))
    # The loop over draws keeps memory independent of their number.
    for weights, means, root in zip(gaussians.weights, gaussians.means[..., index], roots, strict=True):
        white = np.linalg.solve(root, (points - means[:, None]).transpose(0, 2, 1))  # [K, 2, points]
        peaks = weights / (2 * math.pi * root[:, 0, 0] * root[:, 1, 1])
        total += peaks @ np.exp(-0.5 * np.sum(white**2, 1))
    for draw in range(len(gaussians.weights) if gaussians.background is not None else 0):
        total += even_density(jax.tree.map(lambda leaf, s=draw: leaf[s], gaussians.background), pair, points)
    return (total / len(gaussians.weights)).reshape(len(y), len(x))


def mass_levels(surface: np.ndarray, area: float) -> list[float]:
    """Heights above which a surface, on a grid of cells of that area, contains the probabilities `MASSES`, ascending.

    A mass that the grid does not reach has no level.
    """
    heights = np.sort(surface, axis=None)[::-1]
    held = np.cumsum(heights) * area
    reached = [int(np.searchsorted(held, mass)) for mass in MASSES if held[-1] >= mass]
    return sorted({float(heights[place]) for place in reached})
