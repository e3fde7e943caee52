"""Starts by k-means: by its seeding only, or with Lloyd's iterations."""

from typing import ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from workbench.starts.groups import GroupedStart, Groups, Points, groups_of, scaled, varied_units

# Few data sets need more than thirty iterations. Changes after this many are small, and EM continues from there.
MOST_ITERATIONS = 100


class KMeansPlusPlus(GroupedStart):
    """Means by k-means++ seeding, equal weights, and the pooled covariance of the rows about their nearest mean.

    Arthur & Vassilvitskii (2007), "k-means++: the advantages of careful seeding", SODA, in scaled units.
    """

    rule: Literal["kmeans++"] = "kmeans++"
    summary: ClassVar[str] = "means by k-means++ seeding; equal weights; pooled covariance within nearest means"

    def group(self, x: Points, components: int, rng: np.random.Generator, restart: int) -> Groups:
        """Equal groups at the seeds."""
        z = scaled(x)
        seeds = seed_rows(z, components, rng)
        return around_seeds(x, seeds, nearest(z, z[seeds]))


class VariedSeeds(GroupedStart):
    """K-means++ seeding with units and covariances that change from restart to restart.

    It is not known in advance which directions separate the groups and whether groups have similar covariances, and
    seeds in one choice of units lead to few optima. Covariances are alternately those of `KMeansPlusPlus` and each
    group's own.
    """

    rule: Literal["varied_seeds"] = "varied_seeds"
    summary: ClassVar[str] = "k-means++ seeding; units, and pooled or own covariances, change with every restart"

    most_axes: ClassVar[int] = 100

    def group(self, x: Points, components: int, rng: np.random.Generator, restart: int) -> Groups:
        """Equal groups at the seeds, or the groups of the rows nearest to each seed."""
        z = varied_units(x, rng, restart, self.most_axes)
        seeds = seed_rows(z, components, rng)
        labels = nearest(z, z[seeds])
        return groups_of(x, labels, components, x[seeds]) if restart % 2 else around_seeds(x, seeds, labels)


class KMeans(GroupedStart):
    """The groups of k-means: k-means++ seeding, followed by Lloyd's iterations until no row changes its group.

    Lloyd (1982), "Least squares quantization in PCM", IEEE Trans. Inf. Theory 28, in scaled units.
    """

    rule: Literal["kmeans"] = "kmeans"
    summary: ClassVar[str] = "the groups of k-means, its columns scaled; k-means++ seeding for each restart"

    def group(self, x: Points, components: int, rng: np.random.Generator, restart: int) -> Groups:
        """Groups of the rows nearest to each mean."""
        z = scaled(x)
        seeds = seed_rows(z, components, rng)
        return groups_of(x, lloyd(z, z[seeds]), components, x[seeds])


class RawKMeans(GroupedStart):
    """The groups of k-means in the data's own units, as in scikit-learn's `GaussianMixture`.

    If columns are measured in the same unit, their widths show their importance, which scaling would hide. This is the
    only rule that depends on the units of the columns.
    """

    rule: Literal["raw_kmeans"] = "raw_kmeans"
    summary: ClassVar[str] = "the groups of k-means in the data's own units; k-means++ seeding for each restart"

    def group(self, x: Points, components: int, rng: np.random.Generator, restart: int) -> Groups:
        """Groups of the rows nearest to each mean."""
        z = (x - np.mean(x, axis=0)) / np.max(np.std(x, axis=0))  # one common factor, against overflow
        seeds = seed_rows(z, components, rng)
        return groups_of(x, lloyd(z, z[seeds]), components, x[seeds])


def around_seeds(x: Points, seeds: NDArray[np.intp], labels: NDArray[np.intp]) -> Groups:
    """Groups of equal size at the seeds, with the pooled covariance of all rows about the seeds of their groups."""
    apart, k = x - x[seeds][labels], len(seeds)
    return Groups(np.full(k, len(x) / k), x[seeds], np.tile(apart.T @ apart / len(x), (k, 1, 1)))


def seed_rows(z: Points, components: int, rng: np.random.Generator) -> NDArray[np.intp]:
    """Rows chosen by k-means++, in proportion to their squared distances from the nearest row chosen before. [K]"""
    chosen = [int(rng.integers(len(z)))]
    distances = np.sum((z - z[chosen[0]]) ** 2, axis=1)  # [N]
    for _ in range(1, components):
        # If there are fewer distinct rows than components, all distances are zero and any row can be chosen.
        weights = distances if np.any(distances > 0) else np.ones(len(z))
        chosen.append(int(rng.choice(len(z), p=weights / np.sum(weights))))
        distances = np.minimum(distances, np.sum((z - z[chosen[-1]]) ** 2, axis=1))
    return np.asarray(chosen)


def lloyd(z: Points, centres: Points) -> NDArray[np.intp]:
    """The group of each row at convergence of Lloyd's iterations; an empty group keeps its centre. [N]"""
    labels = nearest(z, centres)
    for _ in range(MOST_ITERATIONS):
        counts = np.bincount(labels, minlength=len(centres))[:, None]
        sums = (labels == np.arange(len(centres))[:, None]).astype(float) @ z  # [K, D]
        centres = np.where(counts > 0, sums / np.maximum(counts, 1), centres)
        before, labels = labels, nearest(z, centres)
        if np.array_equal(labels, before):
            break
    return labels


def nearest(z: Points, centres: Points) -> NDArray[np.intp]:
    """The nearest centre [K, D] of each row [N, D]. [N]"""
    # |z - c|^2 without |z|^2, which is the same for all centres.
    return np.asarray(np.argmin(np.sum(centres**2, axis=1) - 2.0 * z @ centres.T, axis=1))
