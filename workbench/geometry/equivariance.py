"""Whether a climb commutes with a change of units: EM does, gradient ascent only where its coordinates do."""

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
    """The default chart without redundant direction, in working units or in those of the data as they came."""
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
    """How far two paths part, one in each of two units of the same data: the largest gap of a row, in nats per point.

    The gap is that of `log_likelihood` at the same step, less what the change of units itself adds; it is NaN where a
    path is not finite. []
    """

    def per_point(each: Problem, mixture: Mixture) -> Array:
        return each.log_likelihood(mixture) / each.num_points + each.rows.log_determinant

    ours = jax.vmap(partial(per_point, problem))(path)
    theirs = jax.vmap(partial(per_point, other_problem))(other)
    return jnp.max(jnp.abs(ours - theirs))
