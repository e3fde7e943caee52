"""Intervals for the parameters of a known mixture on many simulated data sets, whose coverage can then be counted.

Components are ordered by their means, in the truth and in every estimate, replicate and draw. Every parameter is then a
function of the density alone, and labels are unambiguous.
"""

from collections.abc import Callable
from functools import partial
from statistics import NormalDist
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from workbench.charts import Chart
from workbench.geometry.bootstrap import climb, nonparametric
from workbench.geometry.curvature import curvature
from workbench.geometry.standard_errors import covariance_of, delta, deviations, natural
from workbench.methods import EM
from workbench.methods.gibbs import sweep
from workbench.mixture import Mixture
from workbench.problem import Problem

# Data sets that are processed together.
TOGETHER = 100


class Intervals(NamedTuple):
    """Ends of the interval of each parameter on each data set; NaN where there is none."""

    low: Array  # [R, Q]
    high: Array  # [R, Q]


def in_order(mixture: Mixture) -> Array:
    """Natural parameters with the components in the order of their means. [Q]"""
    return natural(mixture.canonical())


@partial(jax.jit, static_argnames=("num_points", "em", "confidence"))
def wald(
    problem: Problem, truth: Mixture, keys: Array, *, num_points: int, em: EM, confidence: float = 0.95
) -> Intervals:
    """The estimate plus and minus z standard errors from the observed information.

    The estimate is the end of EM from the truth. If EM does not converge, or the information is not positive definite,
    there is no interval.

    Args:
        problem: gives the prior, and the working units of all data sets; its points are not used.
        truth: the mixture from which each data set is drawn.
        keys: one for each data set. [R]
        num_points: N of each data set.
        em: the method that finds the estimates.
        confidence: nominal coverage.
    """
    z = NormalDist().inv_cdf(0.5 + 0.5 * confidence)
    chart = Chart.of(problem, weights="log_ratio")

    def one(own: Problem, key: Array) -> Intervals:
        fitted = climb(em, own, truth)
        estimate = fitted.mixture.canonical()
        covariance = delta(estimate, chart, covariance_of(-curvature(own, estimate, chart).hessian))
        half = jnp.where(fitted.converged, z * deviations(covariance), jnp.nan)
        return Intervals(natural(estimate) - half, natural(estimate) + half)

    return _on_each(one, problem, truth, keys, num_points)


@partial(jax.jit, static_argnames=("num_points", "em", "replicates", "confidence"))
def percentile(
    problem: Problem,
    truth: Mixture,
    keys: Array,
    *,
    num_points: int,
    em: EM,
    replicates: int,
    confidence: float = 0.95,
) -> Intervals:
    """Percentile intervals of the nonparametric bootstrap (Efron & Tibshirani 1993, ch. 13).

    Args:
        problem: as in `wald`.
        truth: as in `wald`.
        keys: as in `wald`.
        num_points: as in `wald`.
        em: finds the estimate, and from it those of the replicates; replicates that do not converge are left out.
        replicates: number of replicates of each data set.
        confidence: nominal coverage.
    """

    def one(own: Problem, key: Array) -> Intervals:
        estimate = climb(em, own, truth).mixture

        def replicate(inner: Array) -> Array:
            fitted = climb(em, nonparametric(inner, own, estimate), estimate)
            return jnp.where(fitted.converged, in_order(fitted.mixture), jnp.nan)

        return _quantiles(jax.vmap(replicate)(jax.random.split(key, replicates)), confidence)

    return _on_each(one, problem, truth, keys, num_points)


@partial(jax.jit, static_argnames=("num_points", "num_warmup", "num_samples", "confidence"))
def credible(
    problem: Problem,
    truth: Mixture,
    keys: Array,
    *,
    num_points: int,
    num_warmup: int,
    num_samples: int,
    confidence: float = 0.95,
) -> Intervals:
    """Quantiles of a Gibbs chain begun at the truth.

    Args:
        problem: a problem with the conjugate prior, which is the same for every data set.
        truth: as in `wald`.
        keys: as in `wald`.
        num_points: as in `wald`.
        num_warmup: sweeps that are discarded.
        num_samples: sweeps that are kept.
        confidence: nominal coverage.
    """

    def one(own: Problem, key: Array) -> Intervals:
        def step(mixture: Mixture, inner: Array) -> tuple[Mixture, Array]:
            drawn = sweep(inner, mixture, own)
            return drawn, in_order(drawn)

        _, draws = jax.lax.scan(step, truth, jax.random.split(key, num_warmup + num_samples))
        return _quantiles(draws[num_warmup:], confidence)

    return _on_each(one, problem, truth, keys, num_points)


def _on_each(
    one: Callable[[Problem, Array], Intervals], problem: Problem, truth: Mixture, keys: Array, num_points: int
) -> Intervals:
    """Intervals on the data set of each key. The data sets do not depend on the kind of interval."""

    def on(key: Array) -> Intervals:
        key_data, key_own = jax.random.split(key)
        x, _ = truth.sample(key_data, num_points)
        return one(problem.over(problem.rows.holding(x)), key_own)

    return jax.lax.map(on, keys, batch_size=TOGETHER)


def _quantiles(values: Array, confidence: float) -> Intervals:
    """The interval between the two tail quantiles of values [S, Q], with NaN left out. [Q], [Q]"""
    tail = 0.5 * (1.0 - confidence)
    return Intervals(*jnp.nanquantile(values, jnp.asarray([tail, 1.0 - tail], values.dtype), axis=0))
