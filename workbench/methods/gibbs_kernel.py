"""Gibbs sampling as a NumPyro kernel: `numpyro.infer.MCMC(GibbsKernel(), ...).run(key, problem)`."""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import Array
from numpyro.infer.mcmc import MCMCKernel

from workbench.engine.compat.numpyro import is_prng_key
from workbench.errors import InputError
from workbench.methods.gibbs import check_conjugate, sweep
from workbench.mixture import Mixture
from workbench.mixture.prior.update import draw_mixture, not_updated
from workbench.problem import Problem

Sites = dict[str, Array]


class GibbsState(NamedTuple):
    """One chain, or several side by side."""

    z: Sites  # values of the sites of `mixture_model`: weights, covariances, means
    mixture: Mixture
    rng_key: Array


class GibbsKernel(MCMCKernel):  # type: ignore[misc]
    """The sweep of `Gibbs` for use with NumPyro's own `MCMC`. The model's only argument is the problem.

    `init_params` are values of the model's sites, as `problem.prior.site_values` gives them, with a leading axis of
    chains where there are several. If they are not given, each chain begins at a draw from the prior.
    """

    @property
    def sample_field(self) -> str:
        """Name of the field that holds the values of the sites."""
        return "z"

    def init(
        self, rng_key: Array, num_warmup: int, init_params: Sites | None, model_args: tuple[Any, ...], model_kwargs: Any
    ) -> GibbsState:
        """States at the given sites, or at draws from the prior. Nothing adapts during warm-up.

        Raises:
            InputError: the arguments are not exactly one problem, under the conjugate prior.
        """
        if len(model_args) != 1 or not isinstance(model_args[0], Problem) or model_kwargs:
            raise InputError("GibbsKernel: its one argument is the problem; call MCMC's run(key, problem)")
        problem = model_args[0]
        check_conjugate(problem)
        begin = partial(_begin, problem=problem)
        return begin(rng_key, init_params) if is_prng_key(rng_key) else jax.vmap(begin)(rng_key, init_params)

    def sample(self, state: GibbsState, model_args: tuple[Any, ...], model_kwargs: Any) -> GibbsState:
        """One sweep."""
        go_on = partial(_sweep, problem=model_args[0])
        return go_on(state) if is_prng_key(state.rng_key) else jax.vmap(go_on)(state)


@jax.jit
def _begin(key: Array, sites: Sites | None, *, problem: Problem) -> GibbsState:
    key, own = jax.random.split(key)
    k, family = problem.components, problem.covariance
    if sites is None:
        mixture = _prior_draw(own, problem)
    else:
        weights = sites.get("weights", jnp.ones(k, problem.dtype))  # no site where K is 1
        mixture = Mixture(weights, sites["means"], family.factor(sites["covariances"]), family)
    return GibbsState(problem.prior.site_values(problem.labelled(mixture)), mixture, key)


def _prior_draw(key: Array, problem: Problem) -> Mixture:
    h, family = problem.hyperparameters, problem.covariance
    return draw_mixture(key, not_updated(h, problem.components, family), h["concentration"], family)


@jax.jit
def _sweep(state: GibbsState, *, problem: Problem) -> GibbsState:
    key, own = jax.random.split(state.rng_key)
    mixture = sweep(own, state.mixture, problem)
    return GibbsState(problem.prior.site_values(problem.labelled(mixture)), mixture, key)
