"""Stochastic variational inference: NumPyro fits one of its guides to the posterior by its own gradient estimates."""

from typing import Annotated, Any, ClassVar, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpyro
import numpyro.distributions as dist
import optax
from jax import Array
from jax.flatten_util import ravel_pytree
from numpyro.distributions import constraints
from numpyro.handlers import block, seed
from numpyro.infer import SVI, Trace_ELBO
from numpyro.infer.autoguide import AutoContinuous, AutoDiagonalNormal, AutoMultivariateNormal
from pydantic import Field

from workbench.methods.approximation import Approximation
from workbench.methods.base import Algorithm, Info
from workbench.methods.branch import only_where
from workbench.methods.nuts import standard_mixture
from workbench.methods.sampler import check_proper
from workbench.mixture import Mixture
from workbench.numpyro_model import mixture_of_sites, potential, site_units, unconstrained_sites
from workbench.problem import Problem

GUIDES: dict[str, type[AutoContinuous]] = {"normal": AutoDiagonalNormal, "multivariate_normal": AutoMultivariateNormal}

# Standard deviation of the guide at the start, in the units of its coordinates; NumPyro's own default.
INITIAL_SCALE = 0.1

# The bound is the mean of its estimates over this share of the iterations, the last ones, where the step size is small.
AVERAGED = 0.25


class Variational(Approximation):
    """Automatic differentiation variational inference (Kucukelbir et al. 2017, JMLR 18), as NumPyro implements it.

    The guide is a Gaussian over the unconstrained coordinates of NUTS, in the units of the data. Adam climbs estimates
    of the evidence lower bound from `num_particles` reparametrised draws, each of which costs one pass. The step size
    falls to zero along a cosine. Such a climb sees its objective only through noise and has no reliable stopping rule,
    so its status is BUDGET. For the posterior mode alone, use `ascent`.
    """

    method: Literal["variational"] = "variational"
    guide: Literal["normal", "multivariate_normal"] = Field(
        "normal", description="independent coordinates, or a Gaussian with correlations"
    )
    learning_rate: Annotated[float, Field(gt=0, allow_inf_nan=False)] = 0.05
    num_particles: Annotated[int, Field(ge=1)] = Field(4, description="draws of the guide in each gradient estimate")

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
