"""Groups on a ring: a layout that looks the same from every group, however many there are."""

import math

import numpy as np

from workbench.data.dataset import Truth
from workbench.data.randomness import generator


def ring(components: int, points: int, separation: float, seed: int) -> tuple[np.ndarray, Truth]:
    """Spherical groups of unit deviation in the plane, centred on a ring, and the mixture that they are drawn from.

    Neighbours are `separation` apart whatever K, so that more groups are not closer groups: every one of three or more
    has two neighbours at that distance, and all others are farther. Every group has as many points, so that no group
    is missing or rare by chance.

    Args:
        components: K, at least 2.
        points: of each group.
        separation: the distance between neighbouring centres, in standard deviations of a group.
        seed: of the draws.

    Returns:
        x [N, 2] with N = K x points, group by group; the truth.
    """
    angles = 2 * math.pi * np.arange(components) / components
    radius = separation / (2 * math.sin(math.pi / components))
    means = radius * np.column_stack([np.cos(angles), np.sin(angles)])  # [K, 2]
    noise = generator(seed, "data").standard_normal((components, points, 2))
    truth = Truth(np.full(components, 1 / components), means, np.tile(np.eye(2), (components, 1, 1)))
    return (means[:, None] + noise).reshape(-1, 2), truth
