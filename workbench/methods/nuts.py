"""Samplers by NumPyro's own kernels: NUTS on the one-pass model, and the mixed sampler.

The mixed sampler is NumPyro's for models with discrete sites: it draws allocations and parameters in turn.
"""

from collections.abc import Callable
from typing import Annotated, ClassVar, Literal

import jax
import jax.numpy as jnp
from jax import Array
from jax.flatten_util import ravel_pytree
from numpyro.infer import NUTS as Kernel
from numpyro.infer import DiscreteHMCGibbs
from pydantic import Field

from workbench.data import check_whole
from workbench.engine.compat.numpyro import any_changed, hmc
from workbench.engine.known import known_observations, masked
from workbench.engine.one_pass import allocate
from workbench.errors import InputError
from workbench.methods.base import Algorithm, Info, State
from workbench.methods.parts import Sampler, check_proper
from workbench.mixture import Mixture
from workbench.numpyro_model import (
    mixture_log_densities,
    mixture_of_sites,
    site_units,
    sloped_potential,
    standard_mixture,
    swept_latent_model,
    unconstrained_sites,
)
from workbench.problem import Problem

Sites = dict[str, Array]


TreeDepth = Annotated[
    int, Field(ge=1, le=15, description="most doublings of a path: at most 2^depth - 1 leapfrog steps in a transition")
]


class NUTS(Sampler):
    """The No-U-Turn sampler of Hoffman & Gelman (2014), as NumPyro implements it.

    Its coordinates are scaled to the units of the data, so that its price does not depend on these.

    With ordered labels it moves only in the region of ordered means, in NumPyro's own coordinates: the first mean, and
    the logarithms of the gaps to the next. Its path, mixing and price then differ from those with free labels.

    A transition costs as many passes as it takes leapfrog steps. Options are named as in NumPyro.
    """

    method: Literal["nuts"] = "nuts"
    target_accept_prob: Annotated[float, Field(gt=0, lt=1)] = Field(
        0.8, description="mean acceptance probability to which warm-up adapts the step size"
    )
    max_tree_depth: TreeDepth = 10
    dense_mass: bool = Field(
        False, description="whether warm-up adapts a full mass matrix, for correlated parameters, or a diagonal one"
    )

    marginalises: ClassVar[bool] = True
    fits_background: ClassVar[bool] = True
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


def _times(sites: Sites, units: Sites) -> Sites:
    return {name: value * units[name] for name, value in sites.items()}


# Most passes that one sweep over the allocations may cost. With more, a chain of default length takes over a million.
MOST_PASSES = 1000


class Mixed(Sampler):
    """NumPyro's `DiscreteHMCGibbs` on the explicit latent model: Gibbs updates of z_n one by one, then NUTS given z.

    It is a general algorithm that does not use the structure of mixtures: to update one z_n it evaluates the joint
    density of *all* points once for each other component (Liu 1996, "Peskun's theorem and a modified discrete-state
    Gibbs sampler"). A transition therefore costs N (K - 1) passes for the allocations, one for each leapfrog step, and
    one for each of the two blocks whose density the other block has changed. Its price beside those of NUTS and Gibbs
    shows what is saved by summing z out, or by drawing all z_n in one pass. A z_n that is known is proposed to change
    like any other, at no probability.
    """

    method: Literal["mixed"] = "mixed"
    target_accept_prob: Annotated[float, Field(gt=0, lt=1)] = Field(
        0.95,
        description="mean acceptance probability to which warm-up adapts the step size, which must suit every "
        "allocation; with an empty component, 0.8 leads to divergences",
    )
    max_tree_depth: TreeDepth = 10

    takes_known: ClassVar[bool] = True
    summary: ClassVar[str] = "NumPyro's DiscreteHMCGibbs over the latent allocations; few points, a proper prior"
    computes_outside_pass: ClassVar[bool] = True

    def check(self, problem: Problem) -> None:
        """Refuses an improper prior, weights that are not whole, and points whose sweep costs over `MOST_PASSES`."""
        check_proper(problem, "the mixed sampler")
        check_whole(problem.weights, "the mixed sampler")
        sweep = _sweep_passes(problem)
        if sweep > MOST_PASSES:
            raise InputError(
                f"data: the mixed sampler evaluates all points N (K - 1) = {sweep:,} times a draw, more than "
                f"{MOST_PASSES:,}; use nuts, which sums the allocations out, or gibbs, which draws them all in one pass"
            )

    def bind(self, problem: Problem) -> Algorithm:
        """NumPyro's composite kernel with the problem as its argument."""
        blank = standard_mixture(problem)
        # The first mass matrix is in units of the data, so that the price does not depend on these.
        units = site_units(problem, unconstrained_sites(problem, blank))
        inner = Kernel(
            swept_latent_model,
            inverse_mass_matrix=ravel_pytree(units)[0] ** 2,
            target_accept_prob=self.target_accept_prob,
            max_tree_depth=self.max_tree_depth,
        )
        kernel = DiscreteHMCGibbs(inner)

        def begin(key: Array, start: Mixture) -> State:
            key_z, key_kernel = jax.random.split(key)
            sites = {**unconstrained_sites(problem, start), "z": _allocations(key_z, start, problem)}
            return kernel.init(key_kernel, self.num_warmup, sites, (problem,), {})

        # NumPyro's kernels set themselves up in their first `init`, with the model's shapes. Its result is not used.
        begin(jax.random.key(0), blank)

        def step(key: Array, state: State) -> tuple[State, Info]:
            keys = jax.random.split(key, len(state.block_states))
            blocks = tuple(block._replace(rng_key=own) for block, own in zip(state.block_states, keys, strict=True))
            after = kernel.sample(state._replace(block_states=blocks), (problem,), {})
            hmc = after.hmc_state
            # A block is evaluated again if the other block has moved.
            refreshed = [any_changed(old.z, new.z) for old, new in zip(blocks, after.block_states, strict=True)]
            passes = _sweep_passes(problem) + hmc.num_steps + sum(jnp.asarray(moved, int) for moved in refreshed)
            return after, Info(passes=passes, ok=~hmc.diverging | (hmc.i <= self.num_warmup))

        return Algorithm(begin, step, lambda state: mixture_of_sites(problem, state.hmc_state.z))


def _sweep_passes(problem: Problem) -> int:
    return problem.num_points * (problem.components - 1)


def _allocations(key: Array, mixture: Mixture, problem: Problem) -> Array:
    """z drawn given the mixture. [N]"""
    log_joint = mixture_log_densities(mixture, problem.rows.at(problem.rows.every_observation()))
    log_joint += jnp.log(mixture.weights)[:, None]
    known = known_observations(problem.rows)
    return jnp.argmax(allocate(key, log_joint if known is None else masked(log_joint, known)), axis=0)
