"""The statistical rate of an over-specified mixture: two components are fitted to data from one.

The model has one unknown, the location theta:

    w N(theta, 1) + (1 - w) N(-theta, 1)

For points of N(0, 1) the true value is theta = 0. With equal weights the Fisher information of theta is zero there,
because the two components are exchangeable, and the error of the estimate is of order N^-1/4. With unequal weights the
information is positive, and the error is of order N^-1/2 (Dwivedi, Ho, Khamaru, Wainwright, Jordan & Yu 2020,
"Singularity, misspecification and the convergence rate of EM", Annals of Statistics 48, Theorems 1 and 2).
"""

import math
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

# EM stops when theta moves by no more than this share of N^-1/2, the smaller of the two errors to be measured.
TOLERANCE = 1e-5


class Fits(NamedTuple):
    """EM's estimates of theta, one for each replication."""

    theta: np.ndarray  # [R]
    iterations: np.ndarray  # [R]
    converged: np.ndarray  # [R]


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
def _fits(keys: Array, weight: Array, num_points: int, start: Array) -> tuple[Array, Array, Array]:
    """Replications one after the other, so that each stops when it has converged, and memory holds its points only."""
    most = 100 * math.isqrt(num_points)  # the theory requires a multiple of sqrt(N)
    small = TOLERANCE * num_points**-0.5

    def of(key: Array) -> tuple[Array, Array, Array]:
        x = jax.random.normal(key, (num_points,))

        def go_on(state: tuple[Array, Array, Array]) -> Array:
            return (state[1] > small) & (state[2] < most)

        def step(state: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
            new = em_step(state[0], x, weight)
            return new, jnp.abs(new - state[0]), state[2] + 1

        begin = (jnp.asarray(start, x.dtype), jnp.asarray(jnp.inf, x.dtype), jnp.asarray(0))
        theta, moved, iterations = jax.lax.while_loop(go_on, step, begin)
        return theta, iterations, moved <= small

    return jax.lax.map(of, keys)
