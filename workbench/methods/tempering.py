"""The step to the next temperature: its length, the weights of the particles, and their resampling."""

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

# Bisections for the next temperature, down to the last digit of a float64.
HALVINGS = 52


def next_temperature(temperature: Array, log_likelihoods: Array, share: float) -> Array:
    """The temperature, at most 1, at which the effective sample size of the weights falls to a share of its maximum.

    The effective sample size is `(sum w)^2 / sum w^2` for `w = L^(next - temperature)` (Jasra, Stephens, Doucet &
    Tsagaris 2011, Scandinavian Journal of Statistics 38). Its maximum is the number of particles whose log-likelihood
    is finite.

    Args:
        temperature: the present one, below 1. []
        log_likelihoods: of the particles; minus infinity for a particle without one. [S]
        share: effective sample size to reach, as a share of its maximum.
    """
    wanted = share * jnp.sum(log_likelihoods > -jnp.inf)

    def halve(bounds: tuple[Array, Array], _: None) -> tuple[tuple[Array, Array], None]:
        low, high = bounds
        middle = 0.5 * (low + high)
        far = effective_size((middle - temperature) * log_likelihoods) < wanted
        return (jnp.where(far, low, middle), jnp.where(far, middle, high)), None

    one = jnp.ones_like(temperature)
    (_, high), _ = jax.lax.scan(halve, (temperature, one), length=HALVINGS)
    near = effective_size((one - temperature) * log_likelihoods) >= wanted
    return jnp.where(near, one, high)


def effective_size(log_weights: Array) -> Array:
    """Kish's effective sample size of particles with these weights [S]. []"""
    return jnp.exp(2 * jax.nn.logsumexp(log_weights) - jax.nn.logsumexp(2 * log_weights))


def log_mean_weight(log_weights: Array) -> Array:
    """The log of the mean weight, which a step in temperature adds to the log evidence. []"""
    return jax.nn.logsumexp(log_weights) - np.log(len(log_weights))


def systematic_ancestors(key: Array, log_weights: Array) -> Array:
    """The index of each particle's ancestor, by systematic resampling (Kitagawa 1996), ascending. [S]"""
    count = len(log_weights)
    cumulated = jnp.cumsum(jax.nn.softmax(log_weights))
    places = (jnp.arange(count) + jax.random.uniform(key, dtype=log_weights.dtype)) / count
    # Rounding may leave the last sum below one. Scaled by it, no place falls beyond the last particle with a weight.
    return jnp.searchsorted(cumulated, places * cumulated[-1], side="right")
