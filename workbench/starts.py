"""Starts: where every method begins. A start depends on (problem, seed, restart) and on nothing else.

They are drawn from the rows held in memory: all of them, or an even sample of those that are streamed.
"""

from abc import ABC, abstractmethod
from itertools import cycle, islice, permutations
from typing import ClassVar, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from pydantic import BaseModel, ConfigDict

from workbench.compilation import jit_by_size
from workbench.errors import InputError
from workbench.keys import named_key
from workbench.mixture import FlatPrior, Mixture, Statistics
from workbench.mixture.covariance.base import product
from workbench.mixture.prior.base import Nested
from workbench.problem import Problem

# Starts drawn side by side: few programs serve any number of restarts, and memory does not grow with them.
DRAWN_TOGETHER = (1, 4, 16)


class Start(BaseModel, ABC):
    """A frozen config that draws one starting mixture from a key."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    summary: ClassVar[str]

    @abstractmethod
    def draw(self, problem: Problem, key: Array) -> Mixture:
        """One starting mixture; pure, so that restarts are a `vmap` over keys."""

    def check(self, problem: Problem) -> None:
        """Refuse a problem that the rule does not fit.

        Raises:
            InputError: saying what does not fit.
        """


class RandomPoints(Start):
    """Means at K distinct random rows, equal weights, the volume of the data shared out.

    Every component has the data's covariance over K^(2/D), so that K components fill as much space as the data.
    """

    rule: Literal["random_points"] = "random_points"
    summary: ClassVar[str] = "means at K random rows; equal weights; the data's covariance over K^(2/D)"

    def draw(self, problem: Problem, key: Array) -> Mixture:
        """Rows without replacement; two rows can still hold equal values where the data have ties."""
        rows = problem.rows
        chosen = jax.random.choice(key, rows.num_resident, (problem.components,), replace=False)
        share = problem.components ** (-2.0 / problem.num_dimensions)
        return _around(problem, rows.at(chosen), share * _whole(problem))


class KMeansPlusPlus(Start):
    """Means by k-means++ seeding, equal weights, the pooled covariance of the rows about their nearest mean.

    Arthur & Vassilvitskii (2007), "k-means++: the advantages of careful seeding", SODA. Distances are measured in
    the problem's working units, so that the units of the columns do not matter.
    """

    rule: Literal["kmeans++"] = "kmeans++"
    summary: ClassVar[str] = "means by k-means++ seeding; equal weights; pooled covariance within nearest means"

    def draw(self, problem: Problem, key: Array) -> Mixture:
        """Each further mean is a row drawn with probability proportional to its squared distance from the nearest."""
        k, rows = problem.components, problem.rows
        z, n = rows.z, rows.num_resident
        size = z.shape[-1]
        points = jnp.arange(size) < rows.counted[:, None]  # [C, B]
        keys = jax.random.split(key, k)

        def squared_distance(row: Array) -> Array:
            centre = z[row // size, :, row % size]
            return jnp.sum((z - centre[:, None]) ** 2, axis=1)  # [C, B]

        def add(j: int, carry: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
            chosen, distance, nearest = carry
            # With fewer distinct rows than components all distances are zero: any row will do.
            row = _in_proportion(keys[j], jnp.where(jnp.any(distance > 0), distance, points))
            new = jnp.where(points, squared_distance(row), 0.0)
            return chosen.at[j].set(row), jnp.minimum(distance, new), jnp.where(new < distance, j, nearest)

        first = jax.random.choice(keys[0], n)
        begin = (jnp.full(k, first), jnp.where(points, squared_distance(first), 0.0), jnp.zeros(points.shape, int))
        chosen, _, nearest = jax.lax.fori_loop(1, k, add, begin)
        centres = z[chosen // size, :, chosen % size]  # [K, D]
        apart = (z - jnp.moveaxis(centres[nearest], -1, 1)) * points[:, None]
        pooled = _in_data_units(problem, product(apart, jnp.swapaxes(apart, 1, 2)).sum(0) / n)
        singular = ~jnp.all(jnp.isfinite(problem.covariance.broadcast(pooled, k)))
        return _around(problem, rows.at(chosen), jnp.where(singular, _whole(problem), pooled))


class RandomResponsibilities(Start):
    """Every row's responsibilities uniform on the simplex, then one weighted maximum-likelihood step."""

    rule: Literal["random_responsibilities"] = "random_responsibilities"
    summary: ClassVar[str] = "uniform random responsibilities, then one M-step; components start nearly equal"

    def draw(self, problem: Problem, key: Array) -> Mixture:
        """Dirichlet(1, ..., 1) responsibilities [N, K] and the M-step of the flat prior."""
        k, family, rows = problem.components, problem.covariance, problem.rows
        r = jax.random.dirichlet(key, jnp.ones(k, problem.dtype), (rows.num_resident,)).T  # [K, N]
        difference = (rows.at(jnp.arange(rows.num_resident)) - rows.shift).T  # [D, N]
        tiled = jnp.broadcast_to(difference, (k, *difference.shape))
        second = family.weighted_square(r, tiled)
        origin = _around(problem, jnp.tile(rows.shift, (k, 1)), _whole(problem))
        return FlatPrior().maximise(Statistics(jnp.sum(r, 1), product(r, difference.T), second), origin, {})


class Stated(Start):
    """Stated values, with the components of each restart in an order of its own or all in one."""

    weights: Nested
    means: Nested
    covariances: Nested

    @abstractmethod
    def orders(self, restarts: int) -> np.ndarray:
        """Which stated component stands in each place of each restart. [R, K]"""

    def draw(self, problem: Problem, key: Array) -> Mixture:
        """The stated mixture."""
        return self._mixture(problem)

    def check(self, problem: Problem) -> None:
        """The values must fit the problem's components, columns and covariance family."""
        self._mixture(problem)

    def _mixture(self, problem: Problem) -> Mixture:
        try:
            mixture = Mixture.from_covariances(
                jnp.asarray(self.weights), jnp.asarray(self.means), jnp.asarray(self.covariances),
                problem.covariance.name,
            )  # fmt: skip
        except InputError as error:
            raise InputError(f"starts.{error}") from None
        except (TypeError, ValueError):
            raise InputError("starts: weights, means and covariances must be regular arrays of numbers") from None
        shape = (problem.components, problem.num_dimensions)
        if mixture.means.shape != shape:
            raise InputError(f"starts.means: expected shape {list(shape)}, got {list(mixture.means.shape)}")
        return mixture


class Given(Stated):
    """Stated values, for replaying a paper: the same start for every restart."""

    rule: Literal["given"] = "given"
    summary: ClassVar[str] = "stated weights [K], means [K, D] and covariances in the family's shape"

    def orders(self, restarts: int) -> np.ndarray:
        """As stated. [R, K]"""
        return np.tile(np.arange(len(self.weights)), (restarts, 1))


class Labellings(Stated):
    """One stated mixture in its K! labellings, in turn: every restart begins at the same density, under other labels.

    Labellings are in lexicographic order, the stated one first, and begin again after the last.
    """

    rule: Literal["labellings"] = "labellings"
    summary: ClassVar[str] = "one stated mixture, its components in another order for each restart"

    def orders(self, restarts: int) -> np.ndarray:
        """The first so many permutations of the components. [R, K]"""
        return np.asarray(list(islice(cycle(permutations(range(len(self.weights)))), restarts)))


STARTS: dict[str, type[Start]] = {
    "random_points": RandomPoints,
    "kmeans++": KMeansPlusPlus,
    "random_responsibilities": RandomResponsibilities,
    "given": Given,
    "labellings": Labellings,
}


def draw_starts(start: Start, problem: Problem, restarts: int, seed: int) -> Mixture:
    """Starting mixtures for all restarts: leaves [R, ...]. The first R are the same however many follow."""
    key = named_key(seed, "starts")
    if isinstance(start, Stated):
        return jax.vmap(start.draw(problem, key).permute)(start.orders(restarts))
    size = min(size for size in DRAWN_TOGETHER if size >= min(restarts, DRAWN_TOGETHER[-1]))
    numbers = problem.rows.z.size
    batches = [
        _draw(numbers, start, problem, key, np.arange(first, first + size)) for first in range(0, restarts, size)
    ]
    drawn = jax.tree.map(lambda *leaves: np.concatenate(leaves)[:restarts], *jax.device_get(batches))
    return jax.tree.map(jnp.asarray, drawn)


def _drawn(start: Start, problem: Problem, key: Array, restarts: Array) -> Mixture:
    return jax.vmap(lambda r: start.draw(problem, jax.random.fold_in(key, r)))(restarts)


_draw = jit_by_size(_drawn, static_argnums=(0,))


def _around(problem: Problem, means: Array, covariance: Array) -> Mixture:
    """Equal weights and one covariance [D, D] around means [K, D]."""
    k = problem.components
    scales = problem.covariance.broadcast(covariance, k)
    return Mixture(jnp.full(k, 1.0 / k, means.dtype), means, scales, problem.covariance)


def _whole(problem: Problem) -> Array:
    """Covariance of the data. [D, D]"""
    return _in_data_units(problem, problem.rows.total / problem.num_points)


def _in_data_units(problem: Problem, covariance: Array) -> Array:
    """A covariance of rows in working units, in the data's. [D, D]"""
    matrix = problem.rows.matrix
    return product(product(matrix, covariance), matrix.T)


def _in_proportion(key: Array, weights: Array) -> Array:
    """The number of a row, drawn in proportion to its weight [C, B]: of a chunk, and of a row in it. []

    Inverts the same uniform number as `jax.random.choice`, which sums all rows one after the other.
    """
    chunks = jnp.cumsum(jnp.sum(weights, axis=1))
    level = chunks[-1] * (1 - jax.random.uniform(key, dtype=chunks.dtype))
    chunk = jnp.searchsorted(chunks, level)
    rest = level - jnp.where(chunk > 0, chunks[chunk - 1], 0)
    within = jnp.cumsum(weights[chunk])
    # A sum in another order can round below the level: the last row with a weight is the nearest then.
    return chunk * weights.shape[1] + jnp.searchsorted(within, jnp.minimum(rest, within[-1]))
