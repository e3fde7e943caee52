"""Starts: where every method begins. A start depends on (problem, seed, restart) and on nothing else."""

from abc import ABC, abstractmethod
from functools import partial
from typing import ClassVar, Literal

import jax
import jax.numpy as jnp
from jax import Array
from pydantic import BaseModel, ConfigDict

from workbench.errors import InputError
from workbench.keys import named_key, restart_keys
from workbench.mixture import FlatPrior, Mixture, Statistics
from workbench.mixture.prior.base import Nested
from workbench.problem import Problem


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
        chosen = jax.random.choice(key, problem.num_points, (problem.components,), replace=False)
        share = problem.components ** (-2.0 / problem.num_dimensions)
        return _around(problem, problem.x[chosen], share * _spread(problem.x, jnp.mean(problem.x, 0)))


class KMeansPlusPlus(Start):
    """Means by k-means++ seeding, equal weights, the pooled covariance of the rows about their nearest mean.

    Arthur & Vassilvitskii (2007), "k-means++: the advantages of careful seeding", SODA. Distances are measured in
    the problem's working units, so that the units of the columns do not matter.
    """

    rule: Literal["kmeans++"] = "kmeans++"
    summary: ClassVar[str] = "means by k-means++ seeding; equal weights; pooled covariance within nearest means"

    def draw(self, problem: Problem, key: Array) -> Mixture:
        """Each further mean is a row drawn with probability proportional to its squared distance from the nearest."""
        k = problem.components
        rows = problem.rows
        z = (problem.x - rows.shift) @ rows.inverse.T  # [N, D]
        keys = jax.random.split(key, k)

        def add(j: int, carry: tuple[Array, Array]) -> tuple[Array, Array]:
            chosen, nearest = carry
            total = jnp.sum(nearest)
            # With fewer distinct rows than components all distances are zero: any row will do.
            p = jnp.where(total > 0, nearest / jnp.where(total > 0, total, 1.0), 1.0 / len(z))
            row = jax.random.choice(keys[j], len(z), p=p)
            return chosen.at[j].set(row), jnp.minimum(nearest, jnp.sum((z - z[row]) ** 2, -1))

        first = jax.random.choice(keys[0], len(z))
        begin = (jnp.full(k, first), jnp.sum((z - z[first]) ** 2, -1))
        chosen, _ = jax.lax.fori_loop(1, k, add, begin)
        means = problem.x[chosen]
        distances = jnp.sum((z[:, None] - z[chosen]) ** 2, -1)  # [N, K]
        pooled = _spread(problem.x, means[jnp.argmin(distances, -1)])
        singular = ~jnp.all(jnp.isfinite(problem.covariance.broadcast(pooled, k)))
        whole = _spread(problem.x, jnp.mean(problem.x, 0))
        return _around(problem, means, jnp.where(singular, whole, pooled))


class RandomResponsibilities(Start):
    """Every row's responsibilities uniform on the simplex, then one weighted maximum-likelihood step."""

    rule: Literal["random_responsibilities"] = "random_responsibilities"
    summary: ClassVar[str] = "uniform random responsibilities, then one M-step; components start nearly equal"

    def draw(self, problem: Problem, key: Array) -> Mixture:
        """Dirichlet(1, ..., 1) responsibilities [N, K] and the M-step of the flat prior."""
        k, family = problem.components, problem.covariance
        r = jax.random.dirichlet(key, jnp.ones(k, problem.x.dtype), (problem.num_points,))
        centre = jnp.mean(problem.x, 0)
        difference = problem.x - centre
        tiled = jnp.broadcast_to(difference[:, None], (problem.num_points, k, problem.num_dimensions))
        second = family.weighted_square(r, tiled)
        origin = _around(problem, jnp.tile(centre, (k, 1)), _spread(problem.x, centre))
        return FlatPrior().maximise(Statistics(jnp.sum(r, 0), r.T @ difference, second), origin, {})


class Given(Start):
    """Stated values, for replaying a paper: the same start for every restart."""

    rule: Literal["given"] = "given"
    weights: Nested
    means: Nested
    covariances: Nested
    summary: ClassVar[str] = "stated weights [K], means [K, D] and covariances in the family's shape"

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


STARTS: dict[str, type[Start]] = {
    "random_points": RandomPoints,
    "kmeans++": KMeansPlusPlus,
    "random_responsibilities": RandomResponsibilities,
    "given": Given,
}


def draw_starts(start: Start, problem: Problem, restarts: int, seed: int) -> Mixture:
    """Starting mixtures for all restarts: leaves [R, ...]. The first R are the same however many follow."""
    keys = restart_keys(named_key(seed, "starts"), restarts)
    if isinstance(start, Given):
        one = start.draw(problem, keys[0])
        return jax.tree.map(lambda leaf: jnp.repeat(leaf[None], restarts, axis=0), one)
    return _draw_all(start, problem, keys)


@partial(jax.jit, static_argnums=0)
def _draw_all(start: Start, problem: Problem, keys: Array) -> Mixture:
    return jax.vmap(start.draw, in_axes=(None, 0))(problem, keys)


def _around(problem: Problem, means: Array, covariance: Array) -> Mixture:
    """Equal weights and one covariance [D, D] around means [K, D]."""
    k = problem.components
    scales = problem.covariance.broadcast(covariance, k)
    return Mixture(jnp.full(k, 1.0 / k, means.dtype), means, scales, problem.covariance)


def _spread(x: Array, centre: Array) -> Array:
    """Mean square of x about a centre (or one centre per row). [D, D]"""
    difference = x - centre
    return difference.T @ difference / len(x)
