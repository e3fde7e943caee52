"""Groups on a ring: a layout in which all groups are equivalent, for any number of groups."""

import math

import numpy as np

from workbench.data.dataset import Truth
from workbench.data.randomness import generator


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
