"""Tempered SMC: particles move from the prior to the posterior, and give an estimate of the evidence."""

from collections.abc import Callable
from typing import Annotated, ClassVar, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpyro
from jax import Array
from jax.flatten_util import ravel_pytree
from pydantic import Field

from workbench.methods.base import Algorithm, Info
from workbench.methods.branch import only_where
from workbench.methods.hamiltonian import Evaluate, Particle, of_each, refresh
from workbench.methods.nuts import standard_mixture
from workbench.methods.sampler import Sampler, check_proper
from workbench.methods.tempering import log_mean_weight, next_temperature, systematic_ancestors
from workbench.mixture import Mixture
from workbench.numpyro_model import mixture_of_sites, prior_potential, unconstrained_sites
from workbench.problem import Problem

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
    num_warmup: Annotated[int, Field(ge=1)] = Field(200, description="most temperatures")
    num_samples: Annotated[int, Field(ge=4)] = Field(1000, description="particles of a run, each of them a draw")
    num_chains: Annotated[int, Field(ge=1)] = Field(4, description="independent runs")
    ess_share: Annotated[float, Field(gt=0, lt=1)] = Field(
        0.5, description="effective sample size at the next temperature, as a share of the particles"
    )
    num_moves: Annotated[int, Field(ge=1)] = Field(2, description="Hamiltonian moves at each temperature")
    num_steps: Annotated[int, Field(ge=1)] = Field(5, description="leapfrog steps of a move")

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
        problem = self.problem
        sites = numpyro.handlers.seed(problem.prior.sites, key)
        mixture = sites(problem.components, problem.covariance, problem.hyperparameters)
        return ravel_pytree(unconstrained_sites(problem, mixture))[0]

    def mixture(self, z: Array) -> Mixture:
        """The mixture at a point."""
        return mixture_of_sites(self.problem, self.sites(z))

    def evaluate(self, z: Array) -> Particle:
        """The particle at a point, in one pass."""
        prior, prior_slope = jax.value_and_grad(lambda at: prior_potential(self.problem, self.sites(at)))(z)
        value, slope = jax.value_and_grad(lambda at: self.problem.log_likelihood(self.mixture(at)))(z)
        usable = jnp.all(jnp.isfinite(jnp.concatenate([z, prior_slope, slope, jnp.stack([prior, value])])))
        return Particle(z, prior, prior_slope, jnp.where(usable, value, -jnp.inf), slope)
