"""Starts at given values: those of a paper, or one mixture in all its labellings."""

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
    """A mixture with given values, whose components may be in a different order in each restart.

    Values are lists or arrays; covariances are in the family's shape, or dense [K, D, D] as `mixture.covariances`.
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
        """The number of the given component at each position, for each restart. [R, K]"""

    def draw(self, problem: Problem, restarts: int, seed: int) -> Mixture:
        """The given mixture, in the order of each restart."""
        return jax.vmap(self._mixture(problem).permute)(self.orders(restarts))

    def check(self, problem: Problem) -> None:
        """Check that the values fit the problem's components, columns and covariance family."""
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
    """The same given start for every restart, for reproducing a paper."""

    rule: Literal["given"] = "given"
    summary: ClassVar[str] = (
        "stated weights [K], means [K, D] and covariances in the family's shape, or dense [K, D, D]"
    )

    def orders(self, restarts: int) -> np.ndarray:
        """The given order. [R, K]"""
        return np.tile(np.arange(len(self.weights)), (restarts, 1))


class Labellings(Stated):
    """One given mixture in its K! labellings in turn: every restart begins at the same density with other labels.

    Labellings are in lexicographic order, beginning with the given one, and repeat after the last.
    """

    rule: Literal["labellings"] = "labellings"
    summary: ClassVar[str] = "one stated mixture, its components in another order for each restart"

    def orders(self, restarts: int) -> np.ndarray:
        """The first R permutations of the components, repeated if there are fewer. [R, K]"""
        return np.asarray(list(islice(cycle(permutations(range(len(self.weights)))), restarts)))
