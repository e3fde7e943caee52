"""NUTS: draws from the posterior by NumPyro's own kernel, on the one-pass model."""

from collections.abc import Callable
from typing import Annotated, ClassVar, Literal

import jax
import jax.numpy as jnp
from jax import Array
from pydantic import Field

from workbench.engine.compat.numpyro import hmc
from workbench.methods.base import Algorithm, Info, State
from workbench.methods.sampler import Sampler, check_proper
from workbench.mixture import Mixture
from workbench.numpyro_model import mixture_of_sites, site_units, sloped_potential, unconstrained_sites
from workbench.problem import Problem

Sites = dict[str, Array]


class NUTS(Sampler):
    """The No-U-Turn sampler of Hoffman & Gelman (2014), as NumPyro implements it.

    Its coordinates are scaled to the units of the data, so that its price does not depend on these.

    With ordered labels it moves only in the region of ordered means, in NumPyro's own coordinates: the first mean, and
    the logarithms of the gaps to the next. Its path, mixing and price then differ from those with free labels.

    A transition costs as many passes as it takes leapfrog steps. Options are named as in NumPyro.
    """

    method: Literal["nuts"] = "nuts"
    target_accept_prob: Annotated[float, Field(gt=0, lt=1)] = 0.8
    max_tree_depth: Annotated[int, Field(ge=1, le=15)] = 10
    dense_mass: bool = False

    summary: ClassVar[str] = "NumPyro's No-U-Turn sampler on the marginal likelihood; needs a proper prior"

    def check(self, problem: Problem) -> None:
        """Refuses an improper prior, under which there is no posterior."""
        check_proper(problem, "NUTS")

    def bind(self, problem: Problem) -> Algorithm:
        """NumPyro's kernel with the problem as its argument."""
        blank = standard_mixture(problem)
        units = site_units(problem, unconstrained_sites(problem, blank))

        def potential_of(given: Problem) -> Callable[[Sites], Array]:
            return lambda z: sloped_potential(given, _times(z, units))

        initialise, sample = hmc(potential_fn_gen=potential_of, algo="NUTS")

        def begin(key: Array, start: Mixture) -> State:
            return initialise(
                {name: value / units[name] for name, value in unconstrained_sites(problem, start).items()},
                self.num_warmup,
                dense_mass=self.dense_mass,
                target_accept_prob=self.target_accept_prob,
                max_tree_depth=self.max_tree_depth,
                model_args=(problem,),
                rng_key=key,
            )

        # NumPyro's kernel keeps its settings from `initialise`, so it is called once here, without computing anything.
        jax.eval_shape(begin, jax.random.key(0), blank)

        def step(key: Array, state: State) -> tuple[State, Info]:
            state = sample(state._replace(rng_key=key), (problem,), {})
            ok = ~state.diverging | (state.i <= self.num_warmup)
            return state, Info(passes=state.num_steps, ok=ok)

        def mixture(state: State) -> Mixture:
            return mixture_of_sites(problem, _times(state.z, units))

        return Algorithm(begin, step, mixture, energy=lambda state: state.energy)


def standard_mixture(problem: Problem) -> Mixture:
    """A mixture of the problem's shapes, with standard normal components of equal weight."""
    k, d, family = problem.components, problem.num_dimensions, problem.covariance
    scales = family.broadcast(jnp.eye(d, dtype=problem.dtype), k)
    return Mixture(jnp.full(k, 1.0 / k, problem.dtype), jnp.zeros((k, d), problem.dtype), scales, family)


def _times(sites: Sites, units: Sites) -> Sites:
    return {name: value * units[name] for name, value in sites.items()}
