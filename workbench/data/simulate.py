"""Points drawn from a random Gaussian mixture whose difficulty is set by a few parameters, and groups on a ring."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from workbench.data.dataset import Dataset, Truth, generator
from workbench.data.points import default_columns
from workbench.display import as_html
from workbench.errors import InputError, checks_arguments, shown

# Limits the condition number of a covariance (anisotropy squared) to 1e12, well within the precision of float64.
LARGEST = 1e6
# The most numbers in the points, and in the covariances: 16 GiB of float64.
MOST_NUMBERS = 2**31

# Candidates for each mean: enough to spread the means, so that the closest pair is not far closer than the others.
CANDIDATES = 16


@checks_arguments
@dataclass(frozen=True)
class Simulator:
    """A random Gaussian mixture of a given difficulty.

    Lengths are in units of the average component standard deviation,
    `sum_k sqrt(trace(Sigma_k) / D) / K`, which is 1: every component has `trace(Sigma_k) = D`.
    The plain average of the means is the origin.

    Attributes:
        components: K, at least 1.
        dimensions: D, at least 1.
        points: N, at least 2 and at least K.
        separation: the smallest distance between two component means, in [0, 1e6]. It is attained, up to
            rounding. 0 makes all means equal; has no effect when K = 1.
        imbalance: the largest weight over the smallest, in [1, 1e6]; 1 when K = 1. The weights form a
            geometric sequence, largest first.
        anisotropy: the largest over the smallest standard deviation along the principal axes of a component,
            in [1, 1e6]; 1 when D = 1. The axes' standard deviations form a geometric sequence, and the axes
            are oriented at random for each component.

    Raises:
        InputError: a value is outside its range; the message names the field, the value and the range.
    """

    components: int
    dimensions: int
    points: int
    separation: float
    imbalance: float = 1.0
    anisotropy: float = 1.0

    _repr_html_ = as_html

    def __post_init__(self) -> None:
        _check_count("components", self.components, 1)
        _check_count("dimensions", self.dimensions, 1)
        _check_count("points", self.points, max(2, self.components))
        _check_size("points", self.points, self.dimensions)
        _check_size("dimensions", self.components * self.dimensions, self.dimensions)
        _check_range("separation", self.separation, 0)
        _check_range("imbalance", self.imbalance, 1)
        _check_range("anisotropy", self.anisotropy, 1)
        if self.components == 1 and self.imbalance != 1:
            raise InputError(f"imbalance must be 1 when components = 1, got {self.imbalance!r}")
        if self.dimensions == 1 and self.anisotropy != 1:
            raise InputError(f"anisotropy must be 1 when dimensions = 1, got {self.anisotropy!r}")

    def draw(self, seed: int) -> Dataset:
        """Draw a mixture and N independent points from it; equal seeds give equal bits.

        Returns:
            A data set with `x` `[N, D]`, the mixture as `truth`, and the component of each point as `labels` "0" to
            "K-1". A component may have no points when N is small.

        Raises:
            InputError: `seed` is negative.
        """
        rng = generator(seed, "data")
        axes = self._axes(rng)  # [K, D, D]
        truth = Truth(self._weights(), self._means(rng), axes @ axes.transpose(0, 2, 1))
        component = rng.choice(self.components, size=self.points, p=truth.weights)  # [N]
        noise = rng.standard_normal((self.points, self.dimensions))  # [N, D]
        x = truth.means[component]  # [N, D]
        for k in range(self.components):
            x[component == k] += noise[component == k] @ axes[k].T
        return Dataset(
            name=f"simulated-{self.components}-{self.dimensions}-{self.points}",
            x=x,
            columns=default_columns(self.dimensions),
            labels=component.astype(np.str_),
            units="average component standard deviations",
            source=f"{self!r}.draw({seed})",
            truth=truth,
        )

    def _weights(self) -> NDArray[np.float64]:
        weights: NDArray[np.float64] = np.geomspace(self.imbalance, 1.0, self.components)  # [K]
        return np.asarray(weights / weights.sum())

    def _means(self, rng: np.random.Generator) -> NDArray[np.float64]:
        """Means `[K, D]` in a box, rescaled: each is the one of a few candidates farthest from the means before it."""
        means = rng.uniform(-1, 1, (1, self.dimensions))
        closest = math.inf
        for _ in range(self.components - 1):
            candidates = rng.uniform(-1, 1, (CANDIDATES, self.dimensions))
            gaps = np.linalg.norm(candidates[:, None] - means, axis=-1).min(axis=1)  # [CANDIDATES]
            means = np.vstack([means, candidates[gaps.argmax()]])
            closest = min(closest, gaps.max())
        return np.asarray((means - means.mean(axis=0)) * (self.separation / closest))

    def _axes(self, rng: np.random.Generator) -> NDArray[np.float64]:
        """Principal axes times their standard deviations `[K, D, D]`: `Sigma_k = axes_k axes_k'`."""
        scales = np.geomspace(self.anisotropy, 1.0, self.dimensions)  # [D]
        scales /= math.sqrt(np.mean(scales**2))
        q, r = np.linalg.qr(rng.standard_normal((self.components, self.dimensions, self.dimensions)))
        # The signs make q uniform over rotations and reflections (Mezzadri 2007, section 5).
        signs = np.sign(np.diagonal(r, axis1=1, axis2=2))  # [K, D]
        return np.asarray(q * (signs * scales)[:, None, :], dtype=np.float64)


def _check_count(field: str, value: object, lowest: int) -> None:
    if not isinstance(value, int | np.integer) or isinstance(value, bool) or value < lowest:
        raise InputError(f"{field} must be a whole number of at least {lowest}, got {shown(value)}")


def _check_size(field: str, rows: int, columns: int) -> None:
    if rows * columns > MOST_NUMBERS:
        raise InputError(f"{field}: {shown(rows)} x {shown(columns)} numbers do not fit in memory; give fewer")


def _check_range(field: str, value: float, lowest: float) -> None:
    if not lowest <= value <= LARGEST:
        raise InputError(f"{field} must lie in [{lowest:g}, {LARGEST:g}], got {value!r}")


def ring(components: int, points: int, separation: float, seed: int) -> tuple[np.ndarray, Truth]:
    """Spherical groups of unit standard deviation in the plane, centred on a ring, and the true mixture.

    Neighbouring centres are `separation` apart for every K, so more groups are not closer groups. For K of 3 or more
    each group has two neighbours at that distance, and all others are farther away. Every group has the same number of
    points, so that no group is missing or rare by chance.

    Args:
        components: K, at least 2.
        points: number of points in each group.
        separation: the distance between neighbouring centres, in standard deviations of a group.
        seed: seed of the draws.

    Returns:
        x [N, 2] with N = K x points, ordered by group; the true mixture.
    """
    angles = 2 * math.pi * np.arange(components) / components
    radius = separation / (2 * math.sin(math.pi / components))
    means = radius * np.column_stack([np.cos(angles), np.sin(angles)])  # [K, 2]
    noise = generator(seed, "data").standard_normal((components, points, 2))
    truth = Truth(np.full(components, 1 / components), means, np.tile(np.eye(2), (components, 1, 1)))
    return (means[:, None] + noise).reshape(-1, 2), truth
