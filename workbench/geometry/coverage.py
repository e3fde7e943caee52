"""Intervals for the parameters of a known mixture on many simulated data sets, to count how often they hold the truth.

Components are called by the order of their means, in the truth as in every estimate, replicate and draw: what is
estimated is then a function of the density alone, and no label is in doubt.
"""

from collections.abc import Callable
from functools import partial
from statistics import NormalDist
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from workbench.charts import Chart
from workbench.geometry.curvature import curvature
from workbench.geometry.standard_errors.bootstrap import climb, nonparametric
from workbench.geometry.standard_errors.natural import covariance_of, delta, deviations, natural
from workbench.methods import EM
from workbench.methods.gibbs import sweep
from workbench.mixture import Mixture
from workbench.problem import Problem

# Data sets in hand together.
TOGETHER = 100


class Intervals(NamedTuple):
    """Of each parameter on each data set; NaN where there is none."""

    low: Array  # [R, Q]
    high: Array  # [R, Q]


def in_order(mixture: Mixture) -> Array:
    """Natural parameters with the components in the order of their means. [Q]"""
    return natural(mixture.canonical())


@partial(jax.jit, static_argnames=("num_points", "em", "confidence"))
def wald(
    problem: Problem, truth: Mixture, keys: Array, *, num_points: int, em: EM, confidence: float = 0.95
) -> Intervals:
    """The estimate plus and minus z standard errors by observed information.

    The estimate is where EM leads to from the truth. Where it does not converge, or the information is not positive
    definite, there is no interval.

    Args:
        problem: its prior, and the working units of all data sets; its points are not looked at.
        truth: what each data set is drawn from.
        keys: of the data sets. [R]
        num_points: N of each.
        em: finds the estimates.
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
    """Percentiles of the nonparametric bootstrap (Efron & Tibshirani 1993, ch. 13).

    Args:
        problem: as of `wald`.
        truth: as of `wald`.
        keys: as of `wald`.
        num_points: as of `wald`.
        em: finds the estimate, and from there those of the replicates; what has not converged is left out.
        replicates: of each data set.
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
        problem: under the conjugate prior, which is the same for every data set.
        truth: as of `wald`.
        keys: as of `wald`.
        num_points: as of `wald`.
        num_warmup: sweeps that are forgotten.
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
    """Intervals on the data set of each key, which is the same whatever the intervals."""

    def on(key: Array) -> Intervals:
        key_data, key_own = jax.random.split(key)
        x, _ = truth.sample(key_data, num_points)
        return one(problem.over(problem.rows.holding(x)), key_own)

    return jax.lax.map(on, keys, batch_size=TOGETHER)


def _quantiles(values: Array, confidence: float) -> Intervals:
    """Between which the middle of the values [S, Q] lies; what is not a number is left out. [Q], [Q]"""
    tail = 0.5 * (1.0 - confidence)
    return Intervals(*jnp.nanquantile(values, jnp.asarray([tail, 1.0 - tail], values.dtype), axis=0))
