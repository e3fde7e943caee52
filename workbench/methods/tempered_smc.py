"""Tempered SMC: particles move from the prior to the posterior, and give an estimate of the evidence.

Each step chooses the next temperature, weighs and resamples the particles, and refreshes them by Hamiltonian moves.
"""

from collections.abc import Callable
from typing import Annotated, Any, ClassVar, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpyro
from jax import Array
from jax.flatten_util import ravel_pytree
from pydantic import Field

from workbench.config import Restarts, Whole
from workbench.methods.base import Algorithm, Info, only_where
from workbench.methods.parts import Particles, Sampler, check_proper
from workbench.methods.population import log_mean_weight, next_temperature, systematic_ancestors
from workbench.mixture import Mixture
from workbench.numpyro_model import (
    mixture_of_sites,
    mixture_sites,
    prior_potential,
    standard_mixture,
    unconstrained_sites,
)
from workbench.problem import Problem

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


# Logarithm of the first step size, in units of the reciprocal root mean square gradient. It adapts within a few moves.
FIRST_LOG_STEP = -0.5


class TemperedSMC(Sampler):
    """Adaptive tempered sequential Monte Carlo (Del Moral, Doucet & Jasra 2006, JRSS B 68; Dai et al. 2022, JASA 117).

    Each chain is an independent run: `num_samples` particles, drawn from the prior (the start is not used), go through
    the tempered posteriors `prior x likelihood^t` from t = 0 to 1. A step is one temperature: the effective sample size
    determines the next t, particles are resampled by their weights, and Hamiltonian moves refresh them. Particles find
    the modes while these are still connected, and so visit all labellings. Once t = 1, the remaining warm-up steps do
    nothing and cost nothing. A run that does not reach t = 1 within `num_warmup` temperatures is not ok.

    The product of the mean weights estimates the evidence. Its only bias comes from temperatures and step sizes that
    adapt to the same particles, and vanishes as the number of particles grows (Beskos, Jasra, Kantas & Thiery 2016,
    Annals of Applied Probability 26). The estimate of a run that is not ok is NaN.

    Each particle is a draw. Particles of one run share ancestors. They are recorded in the order of descent, with
    relatives next to each other, so that common ancestry shows up as autocorrelation. The ESS accounts for it, as the
    variance estimators of Chan & Lai (2013) and of Lee & Whiteley (2018) do by family. R-hat shows whether independent
    runs agree, above all in the weights of separate modes.

    An evaluation of a particle costs one pass. The moves at the last temperature are counted particle by particle with
    the draws; all other moves are counted when they are made.
    """

    method: Literal["tempered_smc"] = "tempered_smc"
    num_warmup: Whole = Field(200, description="most temperatures")
    num_samples: Particles = Field(1000, description="particles of a run, each of them a draw")
    num_chains: Restarts = Field(4, description="independent runs")
    ess_share: Annotated[float, Field(gt=0, lt=1)] = Field(
        0.5, description="effective sample size at the next temperature, as a share of the particles"
    )
    # Two moves miss narrow corners, as those of half-normal deviations, so that the likelihoods of draws are too low by
    # a fifth of a standard deviation, with four times as many particles by a sixth. Ten find them (the claim
    # `samplers_are_calibrated`).
    num_moves: Whole = Field(10, description="Hamiltonian moves at each temperature")
    num_steps: Whole = Field(5, description="leapfrog steps of a move")

    marginalises: ClassVar[bool] = True
    fits_background: ClassVar[bool] = True
    summary: ClassVar[str] = "tempered SMC: particles from prior to posterior, and the evidence; needs a proper prior"

    def check(self, problem: Problem) -> None:
        """Refuses an improper prior, from which particles cannot be drawn."""
        check_proper(problem, "tempered SMC")

    def bind(self, problem: Problem) -> Algorithm:
        """A run whose state is its population."""
        space = _Space.of(problem)

        def init(key: Array, start: Mixture) -> Population:
            return Population.at(jax.vmap(space.draw)(jax.random.split(key, self.num_samples)), space.evaluate)

        def step(key: Array, state: Population) -> tuple[Population, Info]:
            rises = (state.taken < self.num_warmup) & (state.temperature < 1)
            end = only_where(rises, lambda now: warmed(key, now, self, space.evaluate), state)
            end = end._replace(taken=state.taken + 1)
            ok = (end.taken < self.num_warmup) | (end.temperature >= 1)
            return end, Info(passes=self._price(state, end), ok=ok)

        def mixture(state: Population) -> Mixture:
            return space.mixture(state.particles.z[jnp.maximum(state.taken - self.num_warmup - 1, 0)])

        def log_evidence(state: Population) -> Array:
            return jnp.where(state.temperature >= 1, state.log_evidence, jnp.nan)

        return Algorithm(init, step, mixture, log_evidence)

    def _price(self, before: "Population", after: "Population") -> Array:
        """Passes of a step: the draws from the prior, and the moves of all particles or of the recorded one.

        The step that reaches t = 1 and the first draw record the same particle, which is counted once.
        """
        first = jnp.where(before.taken == 0, self.num_samples, 0)
        risen = jnp.where(after.temperature < 1, self.num_samples, 1)
        recorded = (before.taken > self.num_warmup) & (after.temperature >= 1)
        moved = jnp.where(before.temperature < after.temperature, risen, recorded)
        return first + self.num_moves * self.num_steps * moved


class Population(NamedTuple):
    """The state of a run."""

    particles: Particle  # leaves [S, ...]   relatives next to each other
    temperature: Array  # []
    log_evidence: Array  # []   estimate for the likelihood^temperature
    log_step: Array  # []   logarithm of the step size
    taken: Array  # []   steps taken

    @classmethod
    def at(cls, z: Array, evaluate: Evaluate) -> "Population":
        """Draws from the prior [S, P], at temperature zero."""
        zero = jnp.zeros((), z.dtype)
        return cls(of_each(evaluate, z), zero, zero, zero + FIRST_LOG_STEP, jnp.asarray(0))


def warmed(key: Array, population: Population, method: TemperedSMC, evaluate: Evaluate) -> Population:
    """The population at the next temperature, after weighting, resampling and moves."""
    key_ancestors, key_moves = jax.random.split(key)
    log_likelihoods = population.particles.log_likelihood
    temperature = next_temperature(population.temperature, log_likelihoods, method.ess_share)
    log_weights = (temperature - population.temperature) * log_likelihoods
    ancestors = systematic_ancestors(key_ancestors, log_weights)
    particles, log_step = refresh(
        jax.random.split(key_moves, method.num_moves),
        jax.tree.map(lambda leaf: leaf[ancestors], population.particles),
        temperature,
        population.log_step,
        evaluate=evaluate,
        num_steps=method.num_steps,
    )
    log_evidence = population.log_evidence + log_mean_weight(log_weights)
    return Population(particles, temperature, log_evidence, log_step, population.taken)


class _Space(NamedTuple):
    """The unconstrained values of a problem's sites as one vector [P].

    Labels are free here even if those of the problem are ordered, because the loop orders the components of draws.
    """

    problem: Problem
    sites: Callable[[Array], dict[str, Array]]

    @classmethod
    def of(cls, problem: Problem) -> "_Space":
        """The space of a problem."""
        arrays, (*static, _) = problem.tree_flatten()
        free = Problem.tree_unflatten((*static, "free"), arrays)
        return cls(free, ravel_pytree(unconstrained_sites(free, standard_mixture(free)))[1])

    def draw(self, key: Array) -> Array:
        """A draw from the prior. [P]"""
        mixture = numpyro.handlers.seed(mixture_sites, key)(self.problem)
        return ravel_pytree(unconstrained_sites(self.problem, mixture))[0]

    def mixture(self, z: Array) -> Mixture:
        """The mixture at a point."""
        return mixture_of_sites(self.problem, self.sites(z))

    def evaluate(self, z: Array) -> Particle:
        """The particle at a point, in one pass."""
        prior, prior_slope = jax.value_and_grad(lambda at: prior_potential(self.problem, self.sites(at)))(z)
        value, slope = jax.value_and_grad(lambda at: self.problem.log_likelihood(self.mixture(at)))(z)
        usable = jnp.all(jnp.isfinite(jnp.concatenate([z, prior_slope, slope, jnp.stack([prior, value])])))
        return Particle(z, prior, prior_slope, jnp.where(usable, value, -jnp.inf), slope)
