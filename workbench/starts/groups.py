"""Starts from groups of rows: k-means, its seeding alone, and the mixture that fits groups, whatever rule made them.

Rows are clustered on the host. If there are many, each restart uses a random sample of them, so that a start takes
milliseconds for any number of rows.
"""

from abc import abstractmethod
from dataclasses import replace
from typing import ClassVar, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from numpy.typing import NDArray

from workbench.data.dataset import generator
from workbench.engine.compat.compilation import jit_by_size
from workbench.engine.hosts import from_first_host
from workbench.mixture import FlatPrior, Mixture, Statistics
from workbench.mixture.filled import first_components
from workbench.problem import Problem
from workbench.starts.base import Start, around, in_batches, nested, observed, shared_covariance

Points = NDArray[np.float64]

# If a standard deviation of a group, in units in which the data have unit covariance, is below this, the rows of the
# group are equal in some direction up to rounding.
LEAST_DEVIATION = 1e-6


class Groups(NamedTuple):
    """Sizes, means and covariances of groups of rows."""

    counts: Points  # [K]   numbers of rows
    means: Points  # [K, D]
    covariances: Points  # [K, D, D]

    @property
    def pooled(self) -> Points:
        """The covariance of all rows about the means of their groups. [D, D]"""
        return np.einsum("k,kij->ij", self.counts, self.covariances) / np.sum(self.counts)


class GroupedStart(Start):
    """A rule that clusters rows into groups and starts at the mixture that fits the groups."""

    most_rows: ClassVar[int] = 2**13

    @abstractmethod
    def group(self, x: Points, components: int, rng: np.random.Generator, restart: int) -> Groups:
        """K groups of the rows x [N', D], for one restart."""

    def draw(self, problem: Problem, restarts: int, seed: int) -> Mixture:
        """The mixture that fits the groups of each restart, which has its own random generator."""
        least = problem.covariance.fewest_points(problem.num_dimensions)
        drawn = [_moments(self._group(problem, seed, restart), least) for restart in range(restarts)]
        # Linear algebra libraries may round differently on another host.
        moments = from_first_host(tuple(np.stack(leaves) for leaves in zip(*drawn, strict=True)))
        # Repeated groups would contribute to a shared covariance, so then the problem is not nested.
        larger = problem if problem.covariance.is_shared else nested(problem)
        repeated = tuple(_repeated(leaf, larger.components) for leaf in moments)
        fitted = in_batches(lambda batch: _fit(problem.rows.z.size, larger.of_any_size(), batch), repeated)
        return first_components(fitted, problem.components)

    def _group(self, problem: Problem, seed: int, restart: int) -> Groups:
        rng = generator(seed, f"starts {restart}")
        return self.group(observed(problem, self.most_rows, rng), problem.components, rng, restart)


def groups_of(x: Points, labels: NDArray[np.intp], components: int, centres: Points | None = None) -> Groups:
    """Sizes, means and covariances of labelled rows; the mean of an empty group is its centre [K, D], if given."""
    counts = np.bincount(labels, minlength=components).astype(float)
    inside = (labels == np.arange(components)[:, None]).astype(float)  # [K, N]
    least = np.maximum(counts, 1.0)[:, None]
    means = inside @ x / least
    if centres is not None:
        means = np.where(counts[:, None] > 0, means, centres)
    apart = x - means[labels]
    covariances = np.stack([apart[labels == k].T @ apart[labels == k] for k in range(components)])
    return Groups(counts, means, covariances / least[..., None])


def scaled(x: Points) -> Points:
    """Rows centred, with every column divided by its standard deviation. [N, D]

    Distances then do not depend on the units of the columns. Rows are not whitened: if groups are separated along a
    direction, the data's covariance includes that distance, and whitening would reduce it to the noise of all other
    directions. Robust scales are not used, because half of the values in a column can be equal.
    """
    deviations = np.std(x, axis=0)
    return np.asarray((x - np.mean(x, axis=0)) / np.where(deviations > 0, deviations, 1.0))


def principal_axes(x: Points, most: int) -> tuple[Points, Points]:
    """Rows in coordinates along the leading principal axes of their correlations, and the same whitened.

    Whitened coordinates show groups that differ in a direction in which the data hardly vary. Axes without variance are
    left out.

    Returns:
        [N, D'], [N, D'] with D' at most `most`.
    """
    left, lengths, _ = np.linalg.svd(scaled(x), full_matrices=False)
    kept = np.flatnonzero(lengths > 1e-5 * lengths[0])[:most]
    left, lengths = left[:, kept], lengths[kept]
    return left * lengths, left * np.sqrt(len(x))


def varied_units(x: Points, rng: np.random.Generator, restart: int, most: int) -> Points:
    """Rows in units that depend on the restart, so that restarts weight directions differently. [N, D']

    Three kinds take turns: scaled columns, whitened principal axes, and principal axes each multiplied by a log-normal
    random number, which chooses the important directions at random. For D = 1 all kinds are equivalent.
    """
    if restart % 3 == 0:
        return scaled(x)
    unwhitened, whitened = principal_axes(x, most)
    return whitened if restart % 3 == 1 else unwhitened * np.exp(rng.normal(size=unwhitened.shape[1]))


def smoothed(groups: Groups, least: float) -> Points:
    """Covariances of groups, averaged with the pooled one, which counts as `least` rows. [K, D, D]

    `least` is the number of rows that a group's own covariance needs not to be singular. A group of few rows therefore
    takes its shape mostly from the pooled covariance, and a group of many rows has its own.
    """
    rows = groups.counts[:, None, None]
    return np.asarray((rows * groups.covariances + least * groups.pooled) / np.maximum(rows + least, 1.0))


def _moments(groups: Groups, least: float) -> tuple[Points, Points, Points]:
    """Sizes, means and square roots of the smoothed scatters of groups. [K], [K, D], [K, D, D]"""
    counts = np.maximum(groups.counts, 1.0)
    variances, axes = np.linalg.eigh(smoothed(groups, least))
    deviations = np.sqrt(counts[:, None] * np.maximum(variances, 0.0))
    return counts, groups.means, axes * deviations[:, None, :]


def _repeated(leaf: Points, components: int) -> Points:
    """Moments of groups [R, K, ...], padded with those of the first group to the given number of components."""
    return np.concatenate([leaf, np.repeat(leaf[:, :1], components - leaf.shape[1], axis=1)], axis=1)


def _fitted(problem: Problem, moments: tuple[Array, Array, Array]) -> Mixture:
    """Mixtures of the problem's family that fit the moments; all leaves [R, ...]."""
    return jax.vmap(lambda one: _fitted_to(problem, *one))(moments)


_fit = jit_by_size(_fitted)


def _fitted_to(problem: Problem, counts: Array, means: Array, roots: Array) -> Mixture:
    """The M-step of the problem's family, or `shared_covariance` for all components if a covariance is singular.

    Covariances are singular if, for example, there are fewer distinct rows than components.
    """
    family = problem.covariance
    counts, means, roots = (jnp.asarray(leaf, problem.dtype) for leaf in (counts, means, roots))
    whole = around(problem, means, shared_covariance(problem))
    second = family.weighted_square(jnp.ones_like(means), roots)
    fitted = FlatPrior().maximise(Statistics(counts, jnp.zeros_like(means), second), whole, {})
    deviations = jnp.diagonal(problem.rows.to_working(fitted).scale_trils, axis1=-2, axis2=-1)
    regular = jnp.all(deviations > LEAST_DEVIATION)  # NaN is not
    return replace(fitted, scales=jnp.where(regular, fitted.scales, whole.scales))


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
