"""What every rule of starts answers, and what they share. A start depends on (problem, seed, restart) only."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from workbench.config import Config
from workbench.engine.compat.compilation import FEW_NUMBERS, jit_by_size
from workbench.engine.keys import named_key
from workbench.mixture import Mixture
from workbench.mixture.covariance.base import product
from workbench.mixture.filled import COMPONENTS, first_components
from workbench.problem import Problem

# Starts drawn side by side: few programs serve any number of restarts, and memory does not grow with them.
DRAWN_TOGETHER = (1, 4, 16)


class Start(Config, ABC):
    """A frozen config that draws the mixtures at which restarts begin."""

    summary: ClassVar[str]
    climbs: ClassVar[bool] = False  # whether a start is the end of a climb, which no method is charged for

    @abstractmethod
    def draw(self, problem: Problem, restarts: int, seed: int) -> Mixture:
        """Starting mixtures, leaves [R, ...]: functions of the problem, the seed and the restart alone.

        The first R are the same however many follow.
        """

    def check(self, problem: Problem) -> None:
        """Refuse a problem that the rule does not fit.

        Raises:
            InputError: saying what does not fit.
        """


class KeyedStart(Start):
    """A rule that makes one start from one random key, in a compiled program."""

    # Whether the first components of a start are the same however many follow, so that one program serves several K.
    nests: ClassVar[bool] = False

    @abstractmethod
    def draw_one(self, problem: Problem, key: Array) -> Mixture:
        """One starting mixture; pure, so that restarts are a `vmap` over keys."""

    def draw(self, problem: Problem, restarts: int, seed: int) -> Mixture:
        """Each restart from a key of its own."""
        key = named_key(seed, "starts")
        numbers = problem.rows.z.size
        asked = nested(problem) if self.nests else problem
        drawn = in_batches(lambda batch: _draw(numbers, self, asked, key, batch), np.arange(restarts))
        return first_components(drawn, problem.components)


def draw_starts(start: Start, problem: Problem, restarts: int, seed: int) -> Mixture:
    """Starting mixtures for all restarts: leaves [R, ...]. The first R are the same however many follow."""
    return start.draw(problem, restarts, seed)


def in_batches(draw: Callable[[Any], Mixture], restarts: Any) -> Mixture:
    """Mixtures, leaves [R, ...], of a program that serves batches of a few sizes, the last filled up with repeats.

    Args:
        draw: mixtures [B, ...] of a batch of restarts.
        restarts: what they are drawn from, a pytree of arrays [R, ...].
    """
    wanted = len(jax.tree.leaves(restarts)[0])
    size = min(size for size in DRAWN_TOGETHER if size >= min(wanted, DRAWN_TOGETHER[-1]))
    batches = []
    for first in range(0, wanted, size):
        chosen = np.minimum(np.arange(first, first + size), wanted - 1)
        batches.append(draw(jax.tree.map(lambda leaf, chosen=chosen: leaf[chosen], restarts)))
    drawn = jax.tree.map(lambda *leaves: np.concatenate(leaves)[:wanted], *jax.device_get(batches))
    return jax.tree.map(jnp.asarray, drawn)


def nested(problem: Problem) -> Problem:
    """The same problem nested in one of more components, for which programs of few data are made."""
    few = problem.rows.z.size * COMPONENTS <= FEW_NUMBERS
    suits = problem.components < COMPONENTS <= problem.rows.num_resident
    return problem.nested_in(COMPONENTS) if few and suits else problem


def _drawn(start: KeyedStart, problem: Problem, key: Array, restarts: Array) -> Mixture:
    return jax.vmap(lambda r: start.draw_one(problem, jax.random.fold_in(key, r)))(restarts)


_draw = jit_by_size(_drawn, static_argnums=(0,))


def around(problem: Problem, means: Array, covariance: Array) -> Mixture:
    """Equal weights and one covariance [D, D] around means [K, D]."""
    k = problem.components
    scales = problem.covariance.broadcast(covariance, k)
    return Mixture(jnp.full(k, 1.0 / k, means.dtype), means, scales, problem.covariance)


# How wide a start is across a hyperplane on which all points lie, as a share of variance: what counts as singular.
ACROSS = 1e-5


def data_covariance(problem: Problem) -> Array:
    """Covariance of the data, positive definite also where they are collinear. [D, D]"""
    matrix, spread = problem.rows.matrix, problem.rows.total / problem.num_points
    d = problem.num_dimensions
    if problem.covariance.has_correlations and d > 1:
        # Working units are a diagonal matrix where the data are collinear, and otherwise leave nothing singular.
        collinear = jnp.all(jnp.tril(matrix, -1) == 0.0)
        spread = jnp.where(collinear, (1.0 - ACROSS) * spread + ACROSS * jnp.eye(d, dtype=spread.dtype), spread)
    return product(product(matrix, spread), matrix.T)


def shared_covariance(problem: Problem) -> Array:
    """The data's over K^(2/D), so that K components fill as much space as the data. [D, D]"""
    components = problem.components if problem.active is None else jnp.sum(problem.active)
    return components ** (-2.0 / problem.num_dimensions) * data_covariance(problem)
