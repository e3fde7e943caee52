"""Equivariance under a change of units: EM commutes with it, gradient ascent only in coordinates that do."""

from dataclasses import replace
from functools import partial
from typing import Literal

import jax
import jax.numpy as jnp
from jax import Array

from workbench.charts import Chart
from workbench.geometry.curvature import curvature, raveled
from workbench.mixture import Mixture
from workbench.problem import Problem

Units = Literal["working", "data"]


def chart_in(problem: Problem, units: Units) -> Chart:
    """The default chart without redundant directions, in working units or in the data's original units."""
    chart = Chart.of(problem, "log_ratio", "log_cholesky")
    if units == "working":
        return chart
    plain = jnp.eye(problem.num_dimensions, dtype=problem.dtype)
    rows = replace(problem.rows, shift=jnp.zeros_like(problem.rows.shift), matrix=plain, inverse=plain)
    return chart._replace(rows=rows)


@partial(jax.jit, static_argnames="units")
def hessian_in(problem: Problem, mixture: Mixture, units: Units) -> Array:
    """Hessian of `log_joint` in those units. [P, P]"""
    return curvature(problem, mixture, chart_in(problem, units)).hessian


@partial(jax.jit, static_argnames=("units", "steps"))
def ascent_path(problem: Problem, start: Mixture, rate: Array, *, units: Units, steps: int) -> Mixture:
    """Mixtures after 1, 2, ... steps of fixed-step ascent on `log_joint` per point. Leaves [T, ...]"""
    u, constrain = raveled(start, chart_in(problem, units))

    def step(v: Array, _: None) -> tuple[Array, Mixture]:
        v = v + rate * jax.grad(lambda w: problem.log_joint(constrain(w)))(v) / problem.num_points
        return v, constrain(v)

    return jax.lax.scan(step, u, None, length=steps)[1]


@partial(jax.jit, static_argnames="steps")
def em_path(problem: Problem, start: Mixture, *, steps: int) -> Mixture:
    """Mixtures after 1, 2, ... EM steps. Leaves [T, ...]"""

    def step(mixture: Mixture, _: None) -> tuple[Mixture, Mixture]:
        after, _value = problem.em_step(mixture)
        return after, after

    return jax.lax.scan(step, start, None, length=steps)[1]


@jax.jit
def farthest(problem: Problem, path: Mixture, other: Mixture, other_problem: Problem) -> Array:
    """The largest difference between two paths, in two different units of the same data, in nats per point. []

    The difference is that of `log_likelihood` at the same step, without the constant that the change of units adds. It
    is NaN if a path is not finite.
    """

    def per_point(each: Problem, mixture: Mixture) -> Array:
        return each.log_likelihood(mixture) / each.num_points + each.rows.log_determinant

    ours = jax.vmap(partial(per_point, problem))(path)
    theirs = jax.vmap(partial(per_point, other_problem))(other)
    return jnp.max(jnp.abs(ours - theirs))
