"""Starts without a search for groups: at random points, from random responsibilities, or at given values."""

from abc import abstractmethod
from dataclasses import replace
from itertools import cycle, islice, permutations
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from pydantic import Field, SerializerFunctionWrapHandler, model_serializer, model_validator

from workbench.errors import InputError, checks_arguments
from workbench.mixture import FlatPrior, Mixture, Statistics
from workbench.mixture.background import START
from workbench.mixture.covariance.base import product
from workbench.mixture.prior.base import Nested
from workbench.problem import Problem
from workbench.starts.base import KeyedStart, Start, around, data_covariance, shared_covariance
from workbench.starts.saved import saved_start


class RandomPoints(KeyedStart):
    """Means at K distinct random rows, equal weights, and equal covariances.

    Every component has the data's covariance over K^(2/D), so that K components fill the same volume as the data.
    """

    rule: Literal["random_points"] = "random_points"
    nests: ClassVar[bool] = True
    summary: ClassVar[str] = "means at K random rows; equal weights; the data's covariance over K^(2/D)"

    def draw_one(self, problem: Problem, key: Array) -> Mixture:
        """Draw rows without replacement, by their weights; two of them can still be equal if the data have ties."""
        rows = problem.rows
        chances = None if rows.weights is None else rows.each_weight / jnp.sum(rows.weights)
        chosen = jax.random.choice(key, rows.num_resident, (problem.components,), replace=False, p=chances)
        return around(problem, rows.at(chosen), shared_covariance(problem))


class RandomResponsibilities(KeyedStart):
    """Responsibilities of every row uniform on the simplex, followed by one maximum likelihood M-step."""

    rule: Literal["random_responsibilities"] = "random_responsibilities"
    summary: ClassVar[str] = "uniform random responsibilities, then one M-step; components start nearly equal"

    def draw_one(self, problem: Problem, key: Array) -> Mixture:
        """Dirichlet(1, ..., 1) responsibilities [N, K] and the M-step of the flat prior."""
        k, family, rows = problem.components, problem.covariance, problem.rows
        r = jax.random.dirichlet(key, jnp.ones(k, problem.dtype), (rows.num_resident,)).T  # [K, N]
        r = r if rows.weights is None else r * rows.each_weight
        difference = (rows.at(jnp.arange(rows.num_resident)) - rows.shift).T  # [D, N]
        tiled = jnp.broadcast_to(difference, (k, *difference.shape))
        second = family.weighted_square(r, tiled)
        origin = around(problem, jnp.tile(rows.shift, (k, 1)), data_covariance(problem))
        return FlatPrior().maximise(Statistics(jnp.sum(r, 1), product(r, difference.T), second), origin, {})


class Stated(Start):
    """A mixture with given values, whose components may be in a different order in each restart.

    Values are lists or arrays; covariances are in the family's shape, or dense [K, D, D] as `mixture.covariances`. Or
    they are those of a file, which a job reads once: its record holds the values.
    """

    is_stated: ClassVar[bool] = True

    weights: Nested | None = Field(None, description="K weights, which sum to 1")
    means: Nested | None = Field(None, description="K means of D numbers")
    covariances: Nested | None = Field(None, description="covariances in the shape of the family, or K dense matrices")
    background: Annotated[float, Field(gt=0, lt=1)] | None = Field(
        None, description=f"the weight of the model's background, if it has one; {START} unless given"
    )
    file: str | None = Field(
        None,
        description="in place of values, the file of a model (model.json of `workbench fit`, or what Mixture.save "
        "wrote) or a results folder with a fit, relative to the config's folder",
    )

    @model_validator(mode="after")
    def _values_or_file(self) -> Self:
        absent = [name for name in ("weights", "means", "covariances") if getattr(self, name) is None]
        if self.file is None and absent:
            raise ValueError(f"{', '.join(absent)}: missing; give weights, means and covariances, or file")
        if self.file is not None and (len(absent) < 3 or self.background is not None):
            raise ValueError("give weights, means and covariances, or file, not both")
        return self

    @model_serializer(mode="wrap")
    def _without_what_is_absent(self, serialise: SerializerFunctionWrapHandler) -> dict[str, Any]:
        # TOML has no word for an absent value.
        return {name: value for name, value in serialise(self).items() if value is not None}

    @classmethod
    @checks_arguments
    def of(cls, mixture: Mixture) -> Self:
        """The start at a mixture, as `trace.best(problem)` returns it."""
        given: dict[str, Any] = {"weights": mixture.weights, "means": mixture.means, "covariances": mixture.covariances}
        given |= {} if mixture.background is None else {"background": float(mixture.background.weight)}
        return cls.model_validate(given)

    @abstractmethod
    def orders(self, restarts: int, components: int) -> np.ndarray:
        """The number of the given component at each position, for each restart. [R, K]"""

    def draw(self, problem: Problem, restarts: int, seed: int) -> Mixture:
        """The given mixture, in the order of each restart."""
        return jax.vmap(self._mixture(problem).permute)(self.orders(restarts, problem.components))

    def searches(self, restarts: int) -> np.ndarray:
        """One: all restarts begin at one mixture. [R]"""
        return np.zeros(restarts, int)

    def check(self, problem: Problem) -> None:
        """Check that the values fit the problem's components, columns and covariance family."""
        self._mixture(problem)

    def _mixture(self, problem: Problem) -> Mixture:
        stated = self._components(problem)
        weight = self.background if stated.background is None else stated.background.weight
        if problem.background is None and weight is not None:
            raise InputError("starts.background: the model has none; set model.background = true, or leave it out")
        if problem.background is None:
            return stated
        return replace(stated, background=problem.background.weighing(jnp.asarray(weight or START, problem.dtype)))

    def _components(self, problem: Problem) -> Mixture:
        if self.file is not None:
            found = saved_start(Path(self.file), problem.components, problem.covariance.name, problem.columns)
            if found.num_dimensions != problem.num_dimensions:
                raise InputError(
                    f"starts.file: {self.file}: is of {found.num_dimensions} columns, and the data have "
                    f"{problem.num_dimensions}"
                )
            return found
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
        "stated weights [K], means [K, D] and covariances (in the family's shape or dense), or a saved model"
    )

    def orders(self, restarts: int, components: int) -> np.ndarray:
        """The given order. [R, K]"""
        return np.tile(np.arange(components), (restarts, 1))


class Labellings(Stated):
    """One given mixture in its K! labellings in turn: every restart begins at the same density with other labels.

    Labellings are in lexicographic order, beginning with the given one, and repeat after the last.
    """

    rule: Literal["labellings"] = "labellings"

    def check(self, problem: Problem) -> None:
        """Check the values, and that rows do not say how the components are numbered."""
        super().check(problem)
        if problem.interchangeable is not None:
            raise InputError(
                'starts.rule: "labellings" puts components in every order, which known rows (label_known) and fixed '
                'parameters do not allow; give "given"'
            )

    summary: ClassVar[str] = "one stated mixture, its components in another order for each restart"

    def orders(self, restarts: int, components: int) -> np.ndarray:
        """The first R permutations of the components, repeated if there are fewer. [R, K]"""
        return np.asarray(list(islice(cycle(permutations(range(components))), restarts)))
