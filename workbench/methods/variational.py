"""Variational methods: coordinate ascent (CAVI) under the conjugate prior, and stochastic inference by NumPyro.

CAVI takes the two steps of EM, applied to distributions. NumPyro fits one of its guides by its own gradient estimate.
"""

from dataclasses import replace
from typing import Annotated, Any, ClassVar, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
import optax
from jax import Array
from jax.flatten_util import ravel_pytree
from jax.scipy.special import digamma
from numpyro.distributions import constraints
from numpyro.handlers import block, seed
from numpyro.infer import SVI, Trace_ELBO
from numpyro.infer.autoguide import AutoContinuous, AutoDiagonalNormal, AutoMultivariateNormal
from pydantic import Field

from workbench.engine.one_pass import one_pass
from workbench.methods.base import Algorithm, Info, only_where
from workbench.methods.gibbs import check_conjugate
from workbench.methods.parts import Approximation, change_of, check_proper
from workbench.mixture import Covariance, Mixture, Statistics
from workbench.mixture.prior.update import (
    Updated,
    draw_mixture,
    log_allocation_prior,
    log_marginal_likelihood,
    not_updated,
    update,
)
from workbench.numpyro_model import mixture_of_sites, potential, site_units, standard_mixture, unconstrained_sites
from workbench.problem import Problem


class CAVI(Approximation):
    """Variational Bayes with `q(z, theta) = q(z) q(theta)`, each factor optimal given the other (Attias 1999; Bishop
    2006, sec. 10.2).

    q(theta) has the form of the prior. The expected log density of a point under it is that of a Gaussian mixture
    whose weights sum to less than one. An iteration is therefore the one pass at that mixture and a conjugate update,
    and costs as much as one of EM. The evidence lower bound never falls.
    """

    method: Literal["cavi"] = "cavi"
    tolerance: Annotated[float, Field(ge=0)] = Field(
        1e-10, description="stop when the evidence lower bound rises by less than this share of its size"
    )

    takes_known: ClassVar[bool] = True
    summary: ClassVar[str] = "coordinate-ascent variational Bayes, an approximation; needs the conjugate prior"

    def check(self, problem: Problem) -> None:
        """Refuses every prior but the conjugate one."""
        check_conjugate(problem, "cavi")

    def bind(self, problem: Problem) -> Algorithm:
        """Coordinate ascent whose first responsibilities are those of EM at the start; then draws."""
        h, family = problem.hyperparameters, problem.covariance

        def init(key: Array, start: Mixture) -> CAVIState:
            low = jnp.asarray(-jnp.inf, start.means.dtype)
            zero, no = jnp.asarray(0), jnp.asarray(False)
            # The start is a point, not a density: its divergence from the prior is infinite, and so is the first bound.
            return CAVIState(start, Fit(not_updated(h, problem.components, family), start, -low), low, zero, ~no, no)

        def climb(state: CAVIState) -> CAVIState:
            fit, bound = coordinate_step(state.fit, problem)
            fell, small = change_of(bound, state.bound, self.tolerance)
            converged = ~fell & small
            # The centre of q: mean weights, mean means, and the inverses of the mean precisions.
            alpha = h["concentration"] + fit.updated.counts
            middle = replace(fit.expected, weights=alpha / jnp.sum(alpha))
            return state._replace(mixture=middle, fit=fit, bound=bound, rose=~fell, converged=converged)

        def draw(key: Array, state: CAVIState) -> CAVIState:
            return state._replace(mixture=draw_mixture(key, state.fit.updated, h["concentration"], family))

        def step(key: Array, state: CAVIState) -> tuple[CAVIState, Info]:
            fitting = state.steps < self.max_iterations
            searching = fitting & ~state.converged
            state = only_where(searching, climb, state)
            state = only_where(~fitting, lambda now: draw(key, now), state)
            info = Info(passes=jnp.where(searching, 1, 0), ok=state.rose, converged=state.converged)
            return state._replace(steps=state.steps + 1), info

        return Algorithm(init, step, lambda state: state.mixture, evidence_bound=lambda state: state.bound)


class Fit(NamedTuple):
    """q(theta), and the quantities derived from it that the next iteration needs."""

    updated: Updated
    expected: Mixture  # `exp E_q[ln pi_k N(x | mu_k, Sigma_k)]`, weights not normalised
    divergence: Array  # []   KL(q(theta) | prior)


class CAVIState(NamedTuple):
    """The fit so far and its mixture, or one of the draws."""

    mixture: Mixture
    fit: Fit
    bound: Array  # []   of the fit before the last one
    steps: Array  # []
    rose: Array  # []   the bound did not fall
    converged: Array  # []


def coordinate_step(fit: Fit, problem: Problem) -> tuple[Fit, Array]:
    """The best q(z) given q(theta), then the best q(theta) given q(z), and the evidence lower bound *before* the step.

    It costs one pass. With `r_nk` in proportion to `rho_nk = exp E_q[ln pi_k N(x_n | mu_k, Sigma_k)]` the bound is
    `sum_n ln sum_k rho_nk - KL(q(theta) | prior)` (Bishop 2006, eq. 10.46-10.49 and 10.70, the terms added up).
    """
    h, family, origins = problem.hyperparameters, problem.covariance, fit.expected.means
    value, statistics = one_pass(fit.expected, problem.rows)
    updated = update(statistics, origins, h, family)
    expected = expected_mixture(updated, h["concentration"], family)
    # q is the prior times exp<statistics, T(theta)>, divided by the normaliser, which is the marginal likelihood.
    log_normaliser = log_allocation_prior(statistics.counts, h["concentration"])
    log_normaliser += log_marginal_likelihood(updated, h, family)
    divergence = _inner(statistics, expected, origins) - log_normaliser
    return Fit(updated, expected, divergence), value - fit.divergence


def expected_mixture(updated: Updated, concentration: Array, family: Covariance) -> Mixture:
    """`exp E_q[ln pi_k N(x | mu_k, Sigma_k)]` as a mixture whose weights sum to less than one.

    The expected precision is `degrees / scatter`. Two things lower the weights: the Jensen gaps of the logarithms of
    weights and precisions, and the spread of the means (Bishop 2006, eq. 10.64-10.66).
    """
    (k, d), b = updated.locations.shape, family.block_dimension(updated.locations.shape[-1])
    alpha = concentration + updated.counts
    log_weights = digamma(alpha) - digamma(jnp.sum(alpha)) - 0.5 * d / updated.shrinkages
    half = 0.5 * jnp.broadcast_to(updated.degrees.reshape(-1), k)[:, None]  # [K, 1]
    gaps = digamma(half - 0.5 * jnp.arange(b)) - jnp.log(half)  # [K, b]
    log_weights += 0.5 * (d // b) * jnp.sum(gaps, -1)
    # The lower bound keeps the logarithm of a weight finite.
    weights = jnp.maximum(jnp.exp(log_weights), float(np.finfo(half.dtype).tiny))
    return Mixture(weights, updated.locations, family.factor(updated.scatter / updated.degrees), family)


def _inner(statistics: Statistics, mixture: Mixture, origins: Array) -> Array:
    """`sum_nk r_nk ln rho_nk`, from statistics about the origins. []"""
    natural = mixture.covariance.natural(jnp.log(mixture.weights), mixture.means - origins, mixture.scales)
    return sum((jnp.sum(s * n) for s, n in zip(statistics, natural, strict=True)), jnp.zeros(()))


GUIDES: dict[str, type[AutoContinuous]] = {"normal": AutoDiagonalNormal, "multivariate_normal": AutoMultivariateNormal}

# Standard deviation of the guide at the start, in the units of its coordinates; NumPyro's own default.
INITIAL_SCALE = 0.1

# The bound is the mean of its estimates over this share of the iterations, the last ones, where the step size is small.
AVERAGED = 0.25


class Variational(Approximation):
    """Automatic differentiation variational inference (Kucukelbir et al. 2017, JMLR 18), as NumPyro implements it.

    The guide is a Gaussian over the unconstrained coordinates of NUTS, in the units of the data. Adam climbs estimates
    of the evidence lower bound from `num_particles` reparametrised draws, each of which costs one pass. The step size
    falls to zero along a cosine, so that half of it times `max_iterations` is how far a coordinate can go. Such a climb
    sees its objective only through noise and has no reliable stopping rule, so its status is BUDGET. For the posterior
    mode alone, use `ascent`.
    """

    method: Literal["variational"] = "variational"
    guide: Literal["normal", "multivariate_normal"] = Field(
        "normal", description="independent coordinates, or a Gaussian with correlations"
    )
    learning_rate: Annotated[float, Field(gt=0, allow_inf_nan=False)] = Field(
        0.05,
        description="first step size of Adam, in units in which no problem has a scale: the deviations of the data for "
        "means, and logarithms; nothing shows where a noisy climb has arrived, so it is fixed and falls to zero",
    )
    # All of an estimate are in memory at once.
    num_particles: Annotated[int, Field(ge=1, le=10_000)] = Field(
        4, description="draws of the guide in each gradient estimate"
    )

    takes_known: ClassVar[bool] = True
    summary: ClassVar[str] = "NumPyro's stochastic variational inference, an approximation; needs a proper prior"

    def check(self, problem: Problem) -> None:
        """Refuses an improper prior, under which there is no posterior to approximate."""
        check_proper(problem, "variational inference")

    def bind(self, problem: Problem) -> Algorithm:
        """Steps of Adam on the guide's parameters; then draws."""
        space = _Space(problem)
        # The guide depends on shapes only, and a first call sets it up.
        guide = GUIDES[self.guide](space.prototype, init_scale=INITIAL_SCALE)
        with jax.ensure_compile_time_eval():
            seed(guide, 0)(None)
        rate = optax.cosine_decay_schedule(self.learning_rate, self.max_iterations)
        svi = SVI(space.model, guide, optax.adam(rate), Trace_ELBO(self.num_particles))

        def init(key: Array, start: Mixture) -> VariationalState:
            fit = svi.init(key, problem)
            parameters = {**svi.optim.get_params(fit.optim_state), "auto_loc": space.flat(start)}
            fit = fit._replace(optim_state=svi.optim.init(parameters))
            return VariationalState(start, fit, jnp.asarray(0), jnp.zeros((), problem.dtype))

        # NumPyro sets itself up in its first `init`, with the model's shapes. Its result is not used.
        init(jax.random.key(0), standard_mixture(problem))
        averaged = max(1, round(AVERAGED * self.max_iterations))

        def climb(key: Array, state: VariationalState) -> VariationalState:
            fit, loss = svi.update(state.fit._replace(rng_key=key), problem)
            late = state.steps >= self.max_iterations - averaged
            bound = state.bound - jnp.where(late, loss / averaged, 0.0)
            middle = space.mixture(svi.get_params(fit)["auto_loc"])
            return state._replace(mixture=middle, fit=fit, bound=bound)

        def draw(key: Array, state: VariationalState) -> VariationalState:
            latent = guide.sample_posterior(key, svi.get_params(state.fit))["latent"]
            return state._replace(mixture=space.mixture(latent))

        def step(key: Array, state: VariationalState) -> tuple[VariationalState, Info]:
            fitting = state.steps < self.max_iterations
            state = only_where(fitting, lambda now: climb(key, now), state)
            state = only_where(~fitting, lambda now: draw(key, now), state)
            info = Info(passes=jnp.where(fitting, self.num_particles, 0), ok=jnp.asarray(True))
            return state._replace(steps=state.steps + 1), info

        return Algorithm(init, step, lambda state: state.mixture, evidence_bound=lambda state: state.bound)


class VariationalState(NamedTuple):
    """The state of the fit, or one of the draws."""

    mixture: Mixture
    fit: Any  # NumPyro's SVIState
    steps: Array  # []
    bound: Array  # []   mean of the estimates of the last iterations, complete when these have ended


class _Space:
    """The unconstrained coordinates of the prior's sites as one vector, in the units of the data."""

    def __init__(self, problem: Problem) -> None:
        blank = unconstrained_sites(problem, standard_mixture(problem))
        self.problem = problem
        self.units, self.unravel = ravel_pytree(site_units(problem, blank))  # [P]

    def prototype(self, problem: Problem | None) -> Array:
        """The site `latent` with an improper uniform density."""
        real = dist.ImproperUniform(constraints.real_vector, (), self.units.shape)
        return numpyro.sample("latent", real)

    def model(self, problem: Problem) -> None:
        """The joint density of the site and the data, with the Jacobians of all changes of coordinates."""
        sites = self.unravel(self.units * self.prototype(problem))
        with block():  # the prior's sites are not this model's
            energy = potential(problem, sites)
        numpyro.factor("log_joint", jnp.sum(jnp.log(self.units)) - energy)

    def flat(self, mixture: Mixture) -> Array:
        """The coordinates of a mixture. [P]"""
        return ravel_pytree(unconstrained_sites(self.problem, mixture))[0] / self.units

    def mixture(self, latent: Array) -> Mixture:
        """The mixture at these coordinates."""
        return mixture_of_sites(self.problem, self.unravel(self.units * latent))
