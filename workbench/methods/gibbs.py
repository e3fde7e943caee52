"""Gibbs: draws from the posterior under the conjugate prior, allocations and parameters in turn.

As a NumPyro kernel it is `numpyro.infer.MCMC(GibbsKernel(), ...).run(key, problem)`.
"""

from functools import partial
from typing import Any, ClassVar, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from numpyro.infer.mcmc import MCMCKernel
from pydantic import Field

from workbench.config import Whole
from workbench.data import check_whole
from workbench.display import as_html, short
from workbench.engine.compat.numpyro import is_prng_key
from workbench.engine.one_pass import allocated_statistics
from workbench.errors import InputError
from workbench.methods.base import Algorithm, Info, Method, Schedule, geometric_marks
from workbench.methods.parts import Sampler
from workbench.mixture import ConjugatePrior, Mixture
from workbench.mixture.prior.update import draw_mixture, not_updated, update
from workbench.problem import Problem


class Gibbs(Sampler):
    """Data augmentation for mixtures (Diebolt & Robert 1994, JRSS B 56): a sweep draws allocations, then parameters.

    A sweep costs one pass. The observations of a row of weight w are allocated independently of each other. Each chunk
    of rows uses its own key, so that the same seed gives different draws when a different number of devices shares the
    rows.
    """

    method: Literal["gibbs"] = "gibbs"
    thinning: Whole = Field(
        1, description="sweeps from one draw to the next; num_samples sweeps give num_samples / thinning draws"
    )

    takes_known: ClassVar[bool] = True
    summary: ClassVar[str] = "Gibbs sampling of allocations and parameters; needs the conjugate prior"

    def check(self, problem: Problem) -> None:
        """Refuses every prior but the conjugate one, and weights that are not whole."""
        check_conjugate(problem)
        check_whole(problem.weights, "Gibbs")

    def schedule(self) -> Schedule:
        """Warm-up at geometrically growing numbers of sweeps, then every draw that is kept."""
        draws = self.num_warmup + np.arange(self.thinning, self.num_samples + 1, self.thinning)
        marks = np.concatenate([geometric_marks(self.num_warmup), draws])
        return Schedule(marks, "steps", max_steps=None, draws=len(draws))

    def as_compiled(self) -> Method:
        """A sweep knows no number of sweeps. A subclass stays what it is, with fields of its own."""
        return self.model_copy(update={name: field.default for name, field in Gibbs.model_fields.items()})

    def bind(self, problem: Problem) -> Algorithm:
        """A chain whose state is its mixture."""

        def step(key: Array, state: Mixture) -> tuple[Mixture, Info]:
            return sweep(key, state, problem), Info(passes=jnp.asarray(1), ok=jnp.asarray(True))

        return Algorithm(lambda key, start: start, step, lambda state: state)


def sweep(key: Array, mixture: Mixture, problem: Problem) -> Mixture:
    """Draw allocations given the mixture, then the mixture given its allocations. Leaves the posterior invariant.

    A component without points is drawn from the prior.
    """
    key_allocations, key_mixture = jax.random.split(key)
    h, family = problem.hyperparameters, problem.covariance
    statistics = allocated_statistics(key_allocations, problem.active_part(mixture), problem.rows)
    # The sums of a component without points are zero about any origin. About the prior's location nothing cancels.
    origins = jnp.where(statistics.counts[:, None] > 0, mixture.means, h["mean_location"])
    return draw_mixture(key_mixture, update(statistics, origins, h, family), h["concentration"], family)


def check_conjugate(problem: Problem, who: str = "Gibbs") -> None:
    """Refuse every prior but the conjugate one, which the closed-form conditional distributions need.

    Args:
        problem: the problem to check.
        who: the method, as the message names it.

    Raises:
        InputError: the prior is not the conjugate one.
    """
    if not isinstance(problem.prior, ConjugatePrior):
        raise InputError(
            f"prior: {who} needs the conjugate prior, got {type(problem.prior).__name__}; "
            f'use family = "conjugate", or leave {who} out'
        )


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

    __repr__ = short
    _repr_html_ = as_html

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
        check_whole(problem.weights, "GibbsKernel")
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
