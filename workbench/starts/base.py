"""The interface of rules for starts, and their common parts. A start depends on (problem, seed, restart) only."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from numpy.typing import NDArray

from workbench.config import Config
from workbench.data import observed_rows
from workbench.engine.compat.compilation import FEW_NUMBERS, jit_by_size
from workbench.engine.keys import named_key
from workbench.mixture import Mixture
from workbench.mixture.covariance.base import product
from workbench.mixture.filled import COMPONENTS, first_components
from workbench.problem import Problem
from workbench.starts.known import respecting

# Sizes of the batches in which starts are drawn: few programs serve any number of restarts, with bounded memory.
DRAWN_TOGETHER = (1, 4, 16)


class Start(Config, ABC):
    """A rule that draws the mixtures at which restarts begin, as a frozen config."""

    summary: ClassVar[str]
    climbs: ClassVar[bool] = False  # whether starts are ends of EM runs, whose passes are charged to no method
    is_stated: ClassVar[bool] = False  # whether the user states the mixtures, which then begin as they are

    @abstractmethod
    def draw(self, problem: Problem, restarts: int, seed: int) -> Mixture:
        """Starting mixtures, leaves [R, ...], each a function of the problem, the seed and the restart only.

        The first starts do not depend on the number of restarts.
        """

    def searches(self, restarts: int) -> np.ndarray:
        """The search that each start comes from, as a number: starts of one search are no independent trials. [R]"""
        return np.arange(restarts)

    def check(self, problem: Problem) -> None:
        """Check that the rule can be used for the problem.

        Raises:
            InputError: it cannot; the message says why.
        """


def observed(problem: Problem, most: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """At most `most` observations of the rows in memory, in the order of the rows. [N', D]

    All if there are no more, otherwise a random choice. A row with a whole weight occurs as often as it counts, so that
    a start is that of the rows repeated; other weights are rounded at random (`observed_rows`).
    """
    x, weights = problem.sample, problem.sample_weights
    if weights is not None:
        return np.asarray(x[observed_rows(weights, most, rng)])
    if len(x) > most:
        x = x[np.sort(rng.choice(len(x), most, replace=False))]
    return np.asarray(x)


class KeyedStart(Start):
    """A rule that draws each start from one random key, in a compiled program."""

    # Whether the first components of a start do not depend on K, so that one program serves several values of K.
    nests: ClassVar[bool] = False

    @abstractmethod
    def draw_one(self, problem: Problem, key: Array) -> Mixture:
        """One starting mixture; pure, so that restarts are a `vmap` over keys."""

    def draw(self, problem: Problem, restarts: int, seed: int) -> Mixture:
        """Draw each restart from its own key."""
        key = named_key(seed, "starts")
        numbers = problem.rows.z.size
        larger = nested(problem) if self.nests else problem
        drawn = in_batches(lambda batch: _draw(numbers, self, larger, key, batch), np.arange(restarts))
        return first_components(drawn, problem.components)


def draw_starts(start: Start, problem: Problem, restarts: int, seed: int) -> Mixture:
    """Starting mixtures for all restarts, leaves [R, ...]; the first do not depend on the number of restarts.

    They agree with known components of rows and with fixed parameters, if there are any (`respecting`).
    """
    return respecting(problem, start.draw(problem, restarts, seed), keeps_means=start.is_stated)


def in_batches(draw: Callable[[Any], Mixture], restarts: Any) -> Mixture:
    """Draw mixtures, leaves [R, ...], in batches of one of a few sizes, the last padded with repeated restarts.

    Args:
        draw: a function from a batch of `restarts` to mixtures with leaves [B, ...].
        restarts: the arguments of the restarts, a pytree of arrays [R, ...].
    """
    count = len(jax.tree.leaves(restarts)[0])
    size = min(size for size in DRAWN_TOGETHER if size >= min(count, DRAWN_TOGETHER[-1]))
    batches = []
    for first in range(0, count, size):
        chosen = np.minimum(np.arange(first, first + size), count - 1)
        batches.append(draw(jax.tree.map(lambda leaf, chosen=chosen: leaf[chosen], restarts)))
    drawn = jax.tree.map(lambda *leaves: np.concatenate(leaves)[:count], *jax.device_get(batches))
    return jax.tree.map(jnp.asarray, drawn)


def nested(problem: Problem) -> Problem:
    """The problem nested in one of `COMPONENTS` components if it is small, so that one program serves several K."""
    few = problem.rows.z.size * COMPONENTS <= FEW_NUMBERS
    suits = problem.components <= COMPONENTS <= problem.rows.num_resident
    return problem.nested_in(COMPONENTS) if few and suits else problem


def _drawn(start: KeyedStart, problem: Problem, key: Array, restarts: Array) -> Mixture:
    return jax.vmap(lambda r: start.draw_one(problem, jax.random.fold_in(key, r)))(restarts)


_draw = jit_by_size(_drawn, static_argnums=(0,))


def around(problem: Problem, means: Array, covariance: Array) -> Mixture:
    """A mixture with equal weights, means [K, D] and the same covariance [D, D] for all components."""
    k = problem.components
    scales = problem.covariance.broadcast(covariance, k)
    return Mixture(jnp.full(k, 1.0 / k, means.dtype), means, scales, problem.covariance)


# The relative variance of a start across a hyperplane on which all points lie; below it a covariance is singular.
ACROSS = 1e-5


def data_covariance(problem: Problem) -> Array:
    """Covariance of the data, made positive definite if they are collinear. [D, D]"""
    matrix, spread = problem.rows.matrix, problem.rows.total / problem.num_points
    d = problem.num_dimensions
    if problem.covariance.has_correlations and d > 1:
        # For collinear data the matrix of working units is diagonal; otherwise the covariance is positive definite.
        collinear = jnp.all(jnp.tril(matrix, -1) == 0.0)
        spread = jnp.where(collinear, (1.0 - ACROSS) * spread + ACROSS * jnp.eye(d, dtype=spread.dtype), spread)
    return product(product(matrix, spread), matrix.T)


def shared_covariance(problem: Problem) -> Array:
    """The data's covariance over K^(2/D), with which K components fill the same volume as the data. [D, D]"""
    components = problem.components if problem.active is None else jnp.sum(problem.active)
    return components ** (-2.0 / problem.num_dimensions) * data_covariance(problem)
