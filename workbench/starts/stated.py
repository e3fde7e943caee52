"""Starts at stated values: those of a paper, or one mixture in all its labellings."""

from abc import abstractmethod
from itertools import cycle, islice, permutations
from typing import ClassVar, Literal, Self

import jax
import jax.numpy as jnp
import numpy as np

from workbench.errors import InputError
from workbench.mixture import Mixture
from workbench.mixture.prior.base import Nested
from workbench.problem import Problem
from workbench.starts.base import Start


class Stated(Start):
    """Stated values, with the components of each restart in an order of its own or all in one.

    Lists or arrays; covariances in the family's shape, or dense [K, D, D] as a mixture tells them.
    """

    weights: Nested
    means: Nested
    covariances: Nested

    @classmethod
    def of(cls, mixture: Mixture) -> Self:
        """The start at a mixture, as `trace.best(problem)` returns it."""
        arrays = {"weights": mixture.weights, "means": mixture.means, "covariances": mixture.covariances}
        return cls.model_validate(arrays)

    @abstractmethod
    def orders(self, restarts: int) -> np.ndarray:
        """Which stated component stands in each place of each restart. [R, K]"""

    def draw(self, problem: Problem, restarts: int, seed: int) -> Mixture:
        """The stated mixture, in the order of each restart."""
        return jax.vmap(self._mixture(problem).permute)(self.orders(restarts))

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
    summary: ClassVar[str] = (
        "stated weights [K], means [K, D] and covariances in the family's shape, or dense [K, D, D]"
    )

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
