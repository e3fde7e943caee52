"""Parameters of components that are held fixed at given values, while the others are fitted."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Annotated

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from numpy.typing import NDArray
from pydantic import Field, model_validator

from workbench.config import Config
from workbench.errors import MOST_WHOLE, InputError, shown
from workbench.mixture.covariance import Covariance, Statistics
from workbench.mixture.mixture import Mixture
from workbench.mixture.prior import Prior
from workbench.mixture.prior.base import Hyperparameters, Nested, Numbers

# Weights that are all fixed must sum to one to within this.
EXACT = 1e-9


class Fixed(Config):
    """What is held fixed of one component, in the units of the points that are fitted."""

    component: Annotated[int, Field(ge=0, le=MOST_WHOLE)] = Field(
        description="the number of the component, from 0; tables and files count components from 1"
    )
    weight: Annotated[float, Field(gt=0, lt=1)] | None = Field(None, description="its weight")
    mean: Numbers | None = Field(None, description="its mean: D numbers")
    covariance: Nested | None = Field(
        None, description="its covariance: D rows of D numbers; a shared one is given for every component"
    )

    @model_validator(mode="after")
    def _something(self) -> "Fixed":
        if self.weight is None and self.mean is None and self.covariance is None:
            raise ValueError("give at least one of weight, mean and covariance")
        return self


@dataclass(frozen=True, eq=False)
class Held:
    """The fixed values of all components; NaN where a parameter is free. Whole means and covariances are fixed."""

    weights: NDArray[np.float64]  # [K]
    means: NDArray[np.float64]  # [K, D]
    scales: NDArray[np.float64]  # in the family's shape
    family: Covariance

    @property
    def free_weights(self) -> NDArray[np.bool_]:
        """Which weights are free; a single one is determined by the others. [K]"""
        return np.isnan(self.weights)

    @property
    def free_means(self) -> NDArray[np.bool_]:
        """Which means are free. [K]"""
        return np.isnan(self.means[:, 0])

    @property
    def free_scales(self) -> NDArray[np.bool_]:
        """Which covariances are free; all or none if the components share one. [K]"""
        if self.family.is_shared:
            return np.full(len(self.weights), bool(np.any(np.isnan(self.scales))))
        return np.any(np.isnan(self.scales.reshape(len(self.weights), -1)), axis=1)

    @property
    def mass(self) -> float:
        """The sum of the free weights."""
        return float(1.0 - np.nansum(self.weights))

    @property
    def num_free(self) -> int:
        """The number of free parameters."""
        d = self.means.shape[1]
        alone = self.family.num_parameters(1, d)
        own = alone * int(np.any(self.free_scales)) if self.family.is_shared else alone * int(np.sum(self.free_scales))
        return max(int(np.sum(self.free_weights)) - 1, 0) + d * int(np.sum(self.free_means)) + own

    @property
    def interchangeable(self) -> NDArray[np.bool_]:
        """Which components have the same parameters fixed at the same values. [K, K]"""
        k = len(self.weights)
        scales = np.zeros((k, 0)) if self.family.is_shared else self.scales.reshape(k, -1)
        rows = np.concatenate([self.weights[:, None], self.means, scales], axis=1)
        return np.all((rows[:, None] == rows) | (np.isnan(rows[:, None]) & np.isnan(rows)), axis=-1)

    def settle(self, mixture: Mixture) -> Mixture:
        """The mixture with the fixed values; free weights are rescaled, so that all sum to one."""
        weights, free = mixture.weights, self.free_weights
        if not np.all(free):
            total = jnp.sum(jnp.where(free, weights, 0.0))
            # Free weights that are all zero stay so: such a mixture is not usable.
            weights = jnp.where(free, weights * (self.mass / jnp.where(total > 0, total, 1.0)), self.weights)
        means = jnp.where(np.isnan(self.means), mixture.means, self.means)
        scales = jnp.where(np.isnan(self.scales), mixture.scales, self.scales)
        dtype = mixture.means.dtype
        return replace(mixture, weights=weights.astype(dtype), means=means.astype(dtype), scales=scales.astype(dtype))

    def maximise(self, prior: Prior, statistics: Statistics, mixture: Mixture, h: Hyperparameters) -> Mixture:
        """The M-step over the free parameters, from statistics about the means of a mixture that `settle` returned.

        The free weights share what the fixed ones leave, in proportion to those of the M-step. The covariance about a
        fixed mean follows from first moments that leave the mean where it is.
        """
        still = prior.still(mixture.means, h)
        first = jnp.where(self.free_means[:, None], statistics.first, still)
        return self.settle(prior.maximise(statistics._replace(first=first), mixture, h))


@lru_cache(maxsize=64)
def held_by(fixed: tuple[Fixed, ...], components: int, dimensions: int, family: Covariance) -> Held:
    """The fixed values of all components.

    Raises:
        InputError: a component is unknown or named twice; a mean or a covariance has another shape, or is none of the
            family; weights are no distribution; or nothing is left to fit.
    """
    k, d = components, dimensions
    weights, means = np.full(k, np.nan), np.full((k, d), np.nan)
    given: dict[int, NDArray[np.float64]] = {}
    seen: set[int] = set()
    for one in fixed:
        where = f"model.fixed: component = {one.component} ({one.component + 1} in tables)"
        if one.component >= k:
            raise InputError(f"{where}: components count from 0 to {k - 1} here, in tables from 1")
        if one.component in seen:
            raise InputError(f"{where}: is there twice; give its values in one table")
        seen.add(one.component)
        if one.weight is not None:
            weights[one.component] = one.weight
        if one.mean is not None:
            if len(one.mean) != d:
                raise InputError(f"{where}: mean: needs {d} numbers, one for each column, got {len(one.mean)}")
            means[one.component] = one.mean
        if one.covariance is not None:
            given[one.component] = _matrix(one.covariance, d, f"{where}: covariance")
    _check_weights(weights)
    held = Held(weights, means, _scales(given, k, d, family), family)
    if held.num_free == 0:
        raise InputError("model.fixed: every parameter is fixed, so that nothing is left to fit; leave one free")
    return held


def _matrix(given: object, dimensions: int, where: str) -> NDArray[np.float64]:
    try:
        matrix = np.asarray(given, float)
    except (TypeError, ValueError):
        matrix = np.empty(0)
    if matrix.shape != (dimensions, dimensions):
        raise InputError(f"{where}: needs {dimensions} rows of {dimensions} numbers")
    return matrix


def _check_weights(weights: NDArray[np.float64]) -> None:
    total, free = float(np.nansum(weights)), bool(np.any(np.isnan(weights)))
    if free and total >= 1.0:
        raise InputError(f"model.fixed: weights sum to {total:.6g} and leave nothing for the free ones; lower them")
    if not free and abs(total - 1.0) > EXACT:
        raise InputError(f"model.fixed: all weights are fixed and sum to {total:.6g}; give weights that sum to 1")


def _scales(given: dict[int, NDArray[np.float64]], k: int, d: int, family: Covariance) -> NDArray[np.float64]:
    """The fixed scales in the family's shape, NaN where they are free."""
    free = np.full(family.shape(k, d), np.nan)
    if not given:
        return free
    if family.is_shared and len(given) < k:
        raise InputError(
            f"model.fixed: all components share one covariance, which is given for {len(given)} of {k}; "
            "give the same one for every component, or for none"
        )
    dense = np.stack([given.get(j, np.eye(d)) for j in range(k)])
    try:
        # The first use may be inside a compiled program.
        with jax.ensure_compile_time_eval():
            mixture = Mixture.from_covariances(np.full(k, 1.0 / k), np.zeros((k, d)), dense, family.name)
            scales = np.asarray(mixture.scales, float)
    except InputError as error:
        raise InputError(f"model.fixed: {error}") from None
    return scales if family.is_shared else np.where(_apart(list(given), free), scales, np.nan)


def _apart(components: Sequence[int], like: NDArray[np.float64]) -> NDArray[np.bool_]:
    """True in the entries of some components, which are the first axis of an array."""
    chosen = np.isin(np.arange(len(like)), components)
    return chosen.reshape(-1, *(1,) * (like.ndim - 1))


def told_fixed(fixed: Sequence[Fixed]) -> str:
    """What is held fixed, in words; components count from 1, as in all tables."""
    kinds = ("weight", "mean", "covariance")
    return ", ".join(
        f"of component {one.component + 1} {' and '.join(kind for kind in kinds if getattr(one, kind) is not None)}"
        for one in fixed
    )


def as_fixed(given: "Fixed | Sequence[Fixed] | None") -> tuple[Fixed, ...]:
    """What is fixed, as a tuple.

    Raises:
        InputError: it is no `Fixed` nor the keys of one, nor a list of them.
    """
    several = (given,) if isinstance(given, Fixed | Mapping) else () if given is None else given
    if isinstance(several, list | tuple):
        # Tables with the keys of `[[model.fixed]]`.
        several = tuple(Fixed(**one) if isinstance(one, Mapping) else one for one in several)
    if not isinstance(several, Sequence) or not all(isinstance(one, Fixed) for one in several):
        raise InputError(f"fixed: give a list, as [Fixed(component=0, mean=[0.0, 1.0])], got {shown(given)}")
    return tuple(several)


def free_part(values: Array, free: NDArray[np.bool_]) -> Array:
    """The values of the free components, which are the first axis."""
    return values[np.flatnonzero(free)]
