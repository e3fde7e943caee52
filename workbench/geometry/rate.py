"""The convergence rates of EM and gradient ascent near an optimum, predicted from the information there."""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.scipy.linalg import cholesky, solve_triangular

from workbench.geometry.curvature import Coordinated, raveled
from workbench.geometry.information import Information
from workbench.mixture import Mixture
from workbench.problem import Problem


class Rates(NamedTuple):
    """Convergence rates near a strict maximum, from the information there."""

    missing: np.ndarray  # [P]   fractions of missing information, largest first: the eigenvalues of DM
    eigenvalues: np.ndarray  # [P]   of the observed information in the chart, largest first

    @property
    def em(self) -> float:
        """EM's rate: the factor by which an iteration shrinks the error asymptotically."""
        return float(self.missing[0])

    @property
    def condition(self) -> float:
        """Condition number of the Hessian in the chart."""
        return float(self.eigenvalues[0] / self.eigenvalues[-1])

    @property
    def preconditioned(self) -> float:
        """Condition number after preconditioning by EM's matrix P, in every chart:
        `(1 - smallest fraction) / (1 - largest fraction)`.
        """
        return float((1.0 - self.missing[-1]) / (1.0 - self.missing[0]))

    @property
    def best_step(self) -> float:
        """The step of gradient ascent in the chart that shrinks the error fastest (Polyak 1987, sec. 1.4)."""
        return float(2.0 / (self.eigenvalues[0] + self.eigenvalues[-1]))

    @property
    def gradient(self) -> float:
        """The rate of gradient ascent with that step: `(condition - 1) / (condition + 1)`."""
        return (self.condition - 1.0) / (self.condition + 1.0)


def rates(information: Information) -> Rates:
    """Fractions of missing information and eigenvalues; NaN if the complete information is not positive definite.

    The fractions are the eigenvalues of `I - complete^-1 observed`. They are computed from a similar symmetric matrix,
    so that they are real, as those of DM are.
    """
    factor = cholesky(information.complete, lower=True)
    half = solve_triangular(factor, information.observed, lower=True)
    known = jnp.linalg.eigvalsh(solve_triangular(factor, half.T, lower=True))  # ascending
    return Rates(np.asarray(1.0 - known), np.asarray(jnp.linalg.eigvalsh(information.observed))[::-1])


def iterations_until(rate: float, share: float) -> float:
    """Iterations until the gap in log_joint has shrunk to this share of its value, along the slowest direction.

    The number is `ln(share) / (2 ln(rate))`, because the gap is quadratic in the error, which shrinks by `rate` in an
    iteration. It is infinite for a rate of 1.
    """
    if rate >= 1.0:
        return math.inf
    return max(1.0, math.log(share) / (2.0 * math.log(rate))) if rate > 0.0 else 1.0


def displaced(problem: Problem, optimum: Mixture, information: Information, chart: Coordinated, key: Array) -> Mixture:
    """A mixture one nat below a strict maximum, to second order, in a random direction of the observed information.

    For two parameters, the truth is as far from the estimate and in such directions. To first order the start does not
    depend on the chart, so it favours no method.
    """
    u, constrain = raveled(optimum, chart)
    factor = cholesky(information.observed, lower=True)
    drawn = jax.random.normal(key, u.shape, u.dtype)
    away = solve_triangular(factor, drawn / jnp.linalg.norm(drawn), lower=True, trans=1)
    return constrain(u + math.sqrt(2.0) * away)


def error_ratios(problem: Problem, start: Mixture, optimum: Mixture, chart: Coordinated, iterations: int) -> Array:
    """Ratios of successive errors of EM, `|u_t+1 - u*| / |u_t - u*|`, which tend to its rate. [iterations]"""
    target, _ = raveled(optimum, chart)

    def error(mixture: Mixture) -> Array:
        return jnp.linalg.norm(raveled(mixture, chart)[0] - target)

    def step(mixture: Mixture, _: Array) -> tuple[Mixture, Array]:
        image, _ = problem.em_step(mixture)
        return image, error(image)

    _, errors = jax.lax.scan(step, start, jnp.arange(iterations))
    return errors / jnp.append(error(start)[None], errors[:-1])


def crossing(x: np.ndarray, log_ratio: np.ndarray) -> float | None:
    """The place where a curve first rises through zero, by linear interpolation; None if it does not.

    Args:
        x: places, ascending [n].
        log_ratio: values of the curve [n]; points that are not finite are left out.
    """
    kept = np.isfinite(log_ratio)
    x, y = np.asarray(x)[kept], np.asarray(log_ratio)[kept]
    ups = np.flatnonzero((y[:-1] < 0) & (y[1:] >= 0))
    if not len(ups):
        return None
    i = ups[0]
    return float(x[i] - y[i] * (x[i + 1] - x[i]) / (y[i + 1] - y[i]))
