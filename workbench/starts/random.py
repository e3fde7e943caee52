"""Purely random starts: means at random rows, or random responsibilities."""

from typing import ClassVar, Literal

import jax
import jax.numpy as jnp
from jax import Array

from workbench.mixture import FlatPrior, Mixture, Statistics
from workbench.mixture.covariance.base import product
from workbench.problem import Problem
from workbench.starts.base import KeyedStart, around, data_covariance, shared_covariance


class RandomPoints(KeyedStart):
    """Means at K distinct random rows, equal weights, and equal covariances.

    Every component has the data's covariance over K^(2/D), so that K components fill the same volume as the data.
    """

    rule: Literal["random_points"] = "random_points"
    nests: ClassVar[bool] = True
    summary: ClassVar[str] = "means at K random rows; equal weights; the data's covariance over K^(2/D)"

    def draw_one(self, problem: Problem, key: Array) -> Mixture:
        """Draw rows without replacement; two of them can still be equal if the data have ties."""
        rows = problem.rows
        chosen = jax.random.choice(key, rows.num_resident, (problem.components,), replace=False)
        return around(problem, rows.at(chosen), shared_covariance(problem))


class RandomResponsibilities(KeyedStart):
    """Responsibilities of every row uniform on the simplex, followed by one maximum likelihood M-step."""

    rule: Literal["random_responsibilities"] = "random_responsibilities"
    summary: ClassVar[str] = "uniform random responsibilities, then one M-step; components start nearly equal"

    def draw_one(self, problem: Problem, key: Array) -> Mixture:
        """Dirichlet(1, ..., 1) responsibilities [N, K] and the M-step of the flat prior."""
        k, family, rows = problem.components, problem.covariance, problem.rows
        r = jax.random.dirichlet(key, jnp.ones(k, problem.dtype), (rows.num_resident,)).T  # [K, N]
        difference = (rows.at(jnp.arange(rows.num_resident)) - rows.shift).T  # [D, N]
        tiled = jnp.broadcast_to(difference, (k, *difference.shape))
        second = family.weighted_square(r, tiled)
        origin = around(problem, jnp.tile(rows.shift, (k, 1)), data_covariance(problem))
        return FlatPrior().maximise(Statistics(jnp.sum(r, 1), product(r, difference.T), second), origin, {})
