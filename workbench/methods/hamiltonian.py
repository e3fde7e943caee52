"""Hamiltonian moves of a population of particles at one temperature, with which tempered SMC refreshes them."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

# Particles that move together in one batch; so few that their chunks of rows share a core's cache.
TOGETHER = 64

# Target acceptance rate. At the best step size it lies between 0.65 and 0.8 (Betancourt, Byrne & Girolami 2014,
# arXiv:1411.6669); the upper end is safer, and it is the default of NUTS.
TARGET = 0.8

# Change of the log step size for each unit of acceptance rate above the target. The rate is a mean over all particles
# and has little noise, so each move may correct most of the error of the one before.
GAIN = 1.0

# Step sizes are drawn within this share of their centre, so that no orbit closes on itself (Neal 2011, sec. 3.2).
JITTER = 0.4


class Particle(NamedTuple):
    """A point, and the two parts of its potential with their gradients; a temperature weights the second."""

    z: Array  # [P]   unconstrained
    prior: Array  # []   minus its log density
    prior_slope: Array  # [P]
    log_likelihood: Array  # []   minus infinity where any field is not finite
    likelihood_slope: Array  # [P]

    def potential(self, temperature: Array) -> Array:
        """Minus the log density of the tempered posterior, prior x likelihood^temperature. []"""
        return self.prior - temperature * self.log_likelihood

    def slope(self, temperature: Array) -> Array:
        """Gradient of the potential. [P]"""
        return self.prior_slope - temperature * self.likelihood_slope


Evaluate = Callable[[Array], Particle]  # z [P] -> the particle there, one pass over the data


class Trajectory(NamedTuple):
    """Settings of a trajectory; all particles at one temperature share them."""

    temperature: Array  # []
    steps: Array  # [P]   the step size of each coordinate, of unit mass
    num_steps: int  # leapfrog steps


def refresh(
    keys: Array, particles: Particle, temperature: Array, log_step: Array, *, evaluate: Evaluate, num_steps: int
) -> tuple[Particle, Array]:
    """Move all particles M times and adapt the step size on the way. A move costs `num_steps` passes a particle.

    The scale of each coordinate is the reciprocal of its root mean square gradient. This measures the local curvature,
    because the mean of the squared gradient is the mean of the Hessian. The spread of the particles would instead
    measure the distance between modes.

    Args:
        keys: one for each move. [M]
        particles: leaves [S, ...].
        temperature: power of the likelihood in the posterior. []
        log_step: logarithm of the step size in units of those scales. []
        evaluate: makes a particle from its coordinates.
        num_steps: leapfrog steps of a move.

    Returns:
        The particles, and the logarithm of the step size for the next move.
    """
    slopes = jax.vmap(lambda particle: particle.slope(temperature))(particles)
    units = 1.0 / jnp.sqrt(jnp.mean(slopes**2, axis=0))  # [P]

    def once(carry: tuple[Particle, Array], key: Array) -> tuple[tuple[Particle, Array], None]:
        here, log_size = carry
        trajectory = Trajectory(temperature, jnp.exp(log_size) * units, num_steps)
        own = jax.random.split(key, len(here.z))
        there, chances = of_each(lambda given: move(given[0], given[1], trajectory, evaluate), (own, here))
        return (there, log_size + GAIN * (jnp.mean(chances) - TARGET)), None

    (moved, log_step), _ = jax.lax.scan(once, (particles, log_step), keys)
    return moved, log_step


def move(key: Array, particle: Particle, trajectory: Trajectory, evaluate: Evaluate) -> tuple[Particle, Array]:
    """One trajectory of Hamiltonian Monte Carlo (Neal 2011), and its acceptance probability.

    Leaves the tempered posterior invariant.
    """
    temperature, steps, num_steps = trajectory
    key_momentum, key_steps, key_accept = jax.random.split(key, 3)
    momentum = jax.random.normal(key_momentum, particle.z.shape, particle.z.dtype)
    steps = steps * jax.random.uniform(key_steps, (), particle.z.dtype, 1 - JITTER, 1 + JITTER)

    def leap(carry: tuple[Particle, Array], _: None) -> tuple[tuple[Particle, Array], None]:
        here, p = carry
        p = p - 0.5 * steps * here.slope(temperature)
        there = evaluate(here.z + steps * p)
        return (there, p - 0.5 * steps * there.slope(temperature)), None

    (end, last), _ = jax.lax.scan(leap, (particle, momentum), length=num_steps)
    before = particle.potential(temperature) + 0.5 * jnp.sum(momentum**2)
    after = end.potential(temperature) + 0.5 * jnp.sum(last**2)
    # An end whose energy is NaN is refused.
    chance = jnp.nan_to_num(jnp.exp(jnp.minimum(before - after, 0.0)))
    accepted = jax.random.uniform(key_accept, dtype=chance.dtype) < chance
    return jax.tree.map(lambda new, old: jnp.where(accepted, new, old), end, particle), chance


def of_each(function: Callable[[Any], Any], tree: Any) -> Any:
    """Apply a function to each of S items, leaves [S, ...], in batches of at most `TOGETHER`."""
    count = len(jax.tree.leaves(tree)[0])
    batches = -(-count // TOGETHER)
    size = -(-count // batches)
    # The last batch is filled up with the first items.
    places = (jnp.arange(batches * size) % count).reshape(batches, size)
    values = jax.lax.map(lambda place: jax.vmap(function)(jax.tree.map(lambda leaf: leaf[place], tree)), places)
    return jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:])[:count], values)
