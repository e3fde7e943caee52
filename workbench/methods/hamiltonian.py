"""Hamiltonian moves of a population of particles at one temperature: what tempered SMC refreshes them by."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

# Particles that move side by side: their chunks of rows are to share a core's cache.
TOGETHER = 64

# The share of proposals accepted at the best step size lies between 0.65 and 0.8 (Betancourt, Byrne & Girolami 2014,
# arXiv:1411.6669); the upper end is the safer one, and NUTS's default.
TARGET = 0.8

# What the logarithm of the step size gains for each unit of acceptance above the target. All particles say what the
# acceptance is, so that it is hardly noise, and each move may make up for most of what the one before it missed.
GAIN = 1.0

# Step sizes vary by so much about their centre, so that no orbit closes on itself (Neal 2011, sec. 3.2).
JITTER = 0.4


class Particle(NamedTuple):
    """A point, and the two parts of its potential with their slopes: a temperature weighs them."""

    z: Array  # [P]   unconstrained
    prior: Array  # []   minus its log density
    prior_slope: Array  # [P]
    log_likelihood: Array  # []   minus infinity where any of this is no number
    likelihood_slope: Array  # [P]

    def potential(self, temperature: Array) -> Array:
        """Minus the log density of the tempered posterior, prior x likelihood^temperature. []"""
        return self.prior - temperature * self.log_likelihood

    def slope(self, temperature: Array) -> Array:
        """Of the potential. [P]"""
        return self.prior_slope - temperature * self.likelihood_slope


Evaluate = Callable[[Array], Particle]  # z [P] -> the particle there, one pass over the data


class Trajectory(NamedTuple):
    """How a particle moves; the same for all particles at one temperature."""

    temperature: Array  # []
    steps: Array  # [P]   the step size of each coordinate, of unit mass
    num_steps: int  # leapfrog steps


def refresh(
    keys: Array, particles: Particle, temperature: Array, log_step: Array, *, evaluate: Evaluate, num_steps: int
) -> tuple[Particle, Array]:
    """Move all particles some times, learning the step size on the way; each move costs each `num_steps` passes.

    Coordinates are measured by their root mean square slope, which is the curvature of where particles are (the mean of
    slope times slope is that of the Hessian). The spread of the particles would measure the distance between modes.

    Args:
        keys: one for each move. [M]
        particles: leaves [S, ...].
        temperature: [].
        log_step: logarithm of the step size in those units. []
        evaluate: a particle from its coordinates.
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
    """One trajectory of Hamiltonian Monte Carlo (Neal 2011), and the chance with which its end was accepted.

    Leaves the tempered posterior as it is.
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
    # An end that is no number is refused.
    chance = jnp.nan_to_num(jnp.exp(jnp.minimum(before - after, 0.0)))
    accepted = jax.random.uniform(key_accept, dtype=chance.dtype) < chance
    return jax.tree.map(lambda new, old: jnp.where(accepted, new, old), end, particle), chance


def of_each(function: Callable[[Any], Any], tree: Any) -> Any:
    """A function of each of S items, leaves [S, ...], `TOGETHER` at most side by side."""
    count = len(jax.tree.leaves(tree)[0])
    batches = -(-count // TOGETHER)
    size = -(-count // batches)
    # The last batch is filled up from the front.
    places = (jnp.arange(batches * size) % count).reshape(batches, size)
    found = jax.lax.map(lambda place: jax.vmap(function)(jax.tree.map(lambda leaf: leaf[place], tree)), places)
    return jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:])[:count], found)
