"""How fast EM and gradient ascent are near an optimum: predicted from the information there, and counted.

The statistical rate of an over-specified mixture, two components that are fitted to data from one, stands here too.

The model has one unknown, the location theta:

    w N(theta, 1) + (1 - w) N(-theta, 1)

For points of N(0, 1) the true value is theta = 0. With equal weights the Fisher information of theta is zero there,
from jax.typing import ArrayLike
because the two components are exchangeable, and the error of the estimate is of order N^-1/4. With unequal weights the
information is positive, and the error is of order N^-1/2 (Dwivedi, Ho, Khamaru, Wainwright, Jordan & Yu 2020,
"Singularity, misspecification and the convergence rate of EM", Annals of Statistics 48, Theorems 1 and 2).
"""

import math
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.scipy.linalg import cholesky, solve_triangular
from jax.typing import ArrayLike

from workbench.charts import Chart
from workbench.geometry.curvature import Coordinated, Information, raveled
from workbench.methods import Method
from workbench.methods.base import Algorithm, Info
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


class Counted(NamedTuple):
    """The passes of each restart; one that did not arrive has stopped or reached the limit."""

    passes: np.ndarray  # [R]; [R, L] for L levels
    arrived: np.ndarray  # [R]; [R, L]
    ended: np.ndarray  # [R]   log_joint where the count ended

    def at(self, top: float, within: float) -> "Counted":
        """The same count, in which a restart that came more than `within` nats above `top` did not arrive: a start near
        one optimum may climb to a higher one, and passes the levels of the lower on its way."""
        here = self.ended <= top + within
        return self._replace(arrived=self.arrived & here.reshape(-1, *(1,) * (self.arrived.ndim - 1)))


def passes_to(method: Method, problem: Problem, starts: Mixture, level: ArrayLike, limit: int) -> Counted:
    """Passes of a method from starts, leaves [R, ...], until `log_joint` is at least `level`, or `limit` passes.

    Several levels [L] are counted on one climb, which goes on to the highest.

    The rows of a trace are at geometric marks, a tenth apart; here every pass counts. Scoring after each step is not
    charged. A method that stops by its own rule ends the count, so give it a rule that does not stop it early.
    """
    found = _of_method(method, problem, starts, jnp.asarray(level), limit)
    return Counted(*(np.asarray(a) for a in found))


def passes_of_ascent(problem: Problem, starts: Mixture, step: float, level: ArrayLike, limit: int) -> Counted:
    """Passes of gradient ascent with a fixed step, in the chart without redundant directions.

    Args:
        problem: the problem to climb.
        starts: leaves [R, ...].
        step: factor on the gradient of `log_joint`. It is an argument of the compiled program, so that one program
            serves every step size; the config of a method would be compiled again for each.
        level: value of log_joint to reach; several [L] are counted on one climb.
        limit: most passes.
    """
    return Counted(*(np.asarray(a) for a in _of_ascent(problem, starts, step, jnp.asarray(level), limit)))


@partial(jax.jit, static_argnums=0)
def _of_method(method: Method, problem: Problem, starts: Mixture, level: Array, limit: Array) -> tuple[Array, ...]:
    algorithm = method.bind(problem)
    return jax.vmap(lambda start: _count(algorithm, problem, start, level, limit))(starts)


@jax.jit
def _of_ascent(problem: Problem, starts: Mixture, step: Array, level: Array, limit: Array) -> tuple[Array, ...]:
    chart = Chart.of(problem, weights="log_ratio")

    def climb(start: Mixture) -> tuple[Array, ...]:
        _, constrain = raveled(start, chart)
        no = jnp.asarray(False)
        slope = jax.grad(lambda v: problem.log_joint(constrain(v)))

        def init(key: Array, begin: Mixture) -> Array:
            return raveled(begin, chart)[0]

        def move(key: Array, u: Array) -> tuple[Array, Info]:
            u = u + step * slope(u)
            return u, Info(
                passes=jnp.asarray(1),
                ok=jnp.all(jnp.isfinite(u)),
                converged=no,
                collapsed=no,
                stopped=~jnp.all(jnp.isfinite(u)),
            )

        return _count(Algorithm(init, move, constrain), problem, start, level, limit)

    return jax.vmap(climb)(starts)


def _count(algorithm: Algorithm, problem: Problem, start: Mixture, level: Array, limit: Array) -> tuple[Array, ...]:
    """Passes spent until each level, and whether it was reached, of the shape of `level`; log_joint at the end, []."""
    key = jax.random.key(0)  # methods that climb draw nothing

    def go_on(carry: tuple[Any, Array, Array, Array, Array, Array]) -> Array:
        _, spent, _, there, stopped, _ = carry
        return ~stopped & (spent < limit) & ~jnp.all(there)

    def step(carry: tuple[Any, Array, Array, Array, Array, Array]) -> tuple[Any, Array, Array, Array, Array, Array]:
        state, info = algorithm.step(key, carry[0])
        spent = carry[1] + info.passes
        # A level that was reached keeps its count.
        passes = jnp.where(carry[3], carry[2], spent)
        value = problem.log_joint(algorithm.mixture(state))
        return state, spent, passes, carry[3] | (value >= level), info.stopped, value

    value, zero = problem.log_joint(start), jnp.asarray(0)
    begin = algorithm.init(key, start), zero, jnp.zeros_like(level, int), value >= level, jnp.asarray(False), value
    _, _, passes, there, _, value = jax.lax.while_loop(go_on, step, begin)
    return passes, there, value


# EM stops when theta moves by no more than this share of N^-1/2, the smaller of the two errors to be measured.
TOLERANCE = 1e-5


class Fits(NamedTuple):
    """EM's estimates of theta, one for each replication."""

    theta: np.ndarray  # [R]
    iterations: np.ndarray  # [R]
    converged: np.ndarray  # [R]
    second_moment: np.ndarray  # [R]   mean of x^2; with equal weights the estimate is 0 where it is at most 1


def fits(key: Array, weight: float, num_points: int, replications: int, *, start: float = 1.0) -> Fits:
    """EM from `start` on fresh points of N(0, 1), for every replication.

    Args:
        key: random key; replication r uses the r-th key derived from it.
        weight: w, the weight of the component at theta, in (0, 1).
        num_points: N.
        replications: R.
        start: of theta; its sign decides which of two modes is found.
    """
    return Fits(*(np.asarray(a) for a in _fits(jax.random.split(key, replications), weight, num_points, start)))


def em_step(theta: Array, x: Array, weight: Array) -> Array:
    """`theta' = mean_n (2 r_n - 1) x_n`, with r_n the responsibility of the component at theta. []

    `2 r_n - 1 = tanh(theta x_n + ln(w / (1 - w)) / 2)` (Dwivedi et al. 2020, eq. 6 for w = 1/2).
    """
    return jnp.mean(x * jnp.tanh(theta * x + 0.5 * jnp.log(weight / (1.0 - weight))))


class Slope(NamedTuple):
    """The slope of the logarithm of the error against the logarithm of N."""

    value: float
    standard_error: float


def slope(num_points: np.ndarray, errors: np.ndarray, standard_errors: np.ndarray) -> Slope:
    """The weighted least-squares slope of ln(error) on ln(N), for independent mean errors [n] >= 2.

    The standard error comes from that of the errors: ln(error) has the error `standard_error / error` (delta method).
    """
    weights = (errors / standard_errors) ** 2
    x = np.log(num_points) - np.average(np.log(num_points), weights=weights)
    value = np.sum(weights * x * np.log(errors)) / np.sum(weights * x**2)
    return Slope(float(value), float(1.0 / np.sqrt(np.sum(weights * x**2))))


@partial(jax.jit, static_argnums=2)
def _fits(keys: Array, weight: Array, num_points: int, start: Array) -> tuple[Array, ...]:
    """Replications one after the other, so that each stops when it has converged, and memory holds its points only."""
    most = 100 * math.isqrt(num_points)  # the theory requires a multiple of sqrt(N)
    small = TOLERANCE * num_points**-0.5

    def of(key: Array) -> tuple[Array, ...]:
        x = jax.random.normal(key, (num_points,))

        def go_on(state: tuple[Array, Array, Array]) -> Array:
            return (state[1] > small) & (state[2] < most)

        def step(state: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
            new = em_step(state[0], x, weight)
            return new, jnp.abs(new - state[0]), state[2] + 1

        begin = (jnp.asarray(start, x.dtype), jnp.asarray(jnp.inf, x.dtype), jnp.asarray(0))
        theta, moved, iterations = jax.lax.while_loop(go_on, step, begin)
        return theta, iterations, moved <= small, jnp.mean(x**2)

    return jax.lax.map(of, keys)
