"""Exact posterior probabilities of spikes of a tiny problem, by a sum over all K^N allocations."""

from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from workbench.errors import InputError
from workbench.mixture import ConjugatePrior, Covariance
from workbench.mixture.prior import Hyperparameters
from workbench.mixture.prior.update import log_allocation_prior, log_marginal_likelihood, update
from workbench.posterior.exact import CHUNK, MOST_ALLOCATIONS, allocations_of
from workbench.problem import Problem


@dataclass(frozen=True)
class ExactSpikes:
    """The exact posterior probability of narrow components, of each kind."""

    on_points: float  # that a component which holds points is narrow
    empty: float  # that a component which holds none is narrow, and none that holds points is
    allocations: int  # K^N, the number of terms


def exact_spikes(problem: Problem, variance: float) -> ExactSpikes:
    """The posterior probability that some component has a variance below a bound, by a sum over every allocation.

    Given an allocation, the variance of a component has an inverse-gamma posterior, whose distribution function is an
    incomplete gamma function. An empty component has the prior.

    Args:
        problem: a problem of one column with the conjugate prior, a variance for each component, and at most 2^24
            allocations.
        variance: the bound, in units of the data.

    Raises:
        InputError: the problem is another.
    """
    k, n = problem.components, problem.num_points
    one = problem.num_dimensions == 1 and not problem.covariance.is_shared
    if not (one and isinstance(problem.prior, ConjugatePrior) and k**n <= MOST_ALLOCATIONS):
        raise InputError(
            "model: exact probabilities of spikes need one column, a variance for each component, the conjugate prior "
            f"and at most {MOST_ALLOCATIONS} allocations"
        )
    location = np.asarray(problem.hyperparameters["mean_location"])
    h = {**problem.hyperparameters, "mean_location": jnp.zeros_like(location)}
    x = problem.observations("the exact probabilities of spikes")
    found = _spikes(x - location, h, jnp.asarray(variance), components=k, family=problem.covariance)
    on_points, any_narrow = (float(value) for value in found)
    return ExactSpikes(on_points, any_narrow - on_points, k**n)


@partial(jax.jit, static_argnames=("components", "family"))
def _spikes(
    x: Array, h: Hyperparameters, variance: Array, *, components: int, family: Covariance
) -> tuple[Array, Array]:
    """Probabilities that a component that holds points is narrow, and that any is."""
    k, n = components, len(x)
    digits = next(m for m in range(n, -1, -1) if k**m <= CHUNK)

    def given(z: Array) -> tuple[Array, Array]:
        member = jax.nn.one_hot(z, k, axis=0, dtype=x.dtype)
        origins = jnp.zeros((k, 1), x.dtype)
        updated = update(family.statistics_of(family.weighted_sums(member, origins, x.T), origins), origins, h, family)
        log_weight = log_allocation_prior(updated.counts, h["concentration"])
        log_weight += log_marginal_likelihood(updated, h, family)
        # P(variance_k < v) for an inverse gamma of shape degrees / 2 and scale scatter / 2.
        degrees = jnp.broadcast_to(updated.degrees.ravel(), (k,))
        wide = jax.scipy.special.gammainc(0.5 * degrees, 0.5 * updated.scatter.reshape(k) / variance)
        held = updated.counts > 0
        return log_weight, 1.0 - jnp.stack([jnp.prod(jnp.where(held, wide, 1.0)), jnp.prod(wide)])

    def chunk(carry: tuple[Array, Array, Array], index: Array) -> tuple[tuple[Array, Array, Array], None]:
        peak, total, sums = carry
        first = jnp.broadcast_to(allocations_of(index[None], n - digits, k), (k**digits, n - digits))
        last = allocations_of(jnp.arange(k**digits), digits, k)
        log_weights, values = jax.vmap(given)(jnp.concatenate([first, last], axis=1))
        higher = jnp.maximum(peak, jnp.max(log_weights))
        weights, shrink = jnp.exp(log_weights - higher), jnp.exp(peak - higher)
        return (higher, total * shrink + jnp.sum(weights), sums * shrink + weights @ values), None

    start = (jnp.asarray(-jnp.inf, x.dtype), jnp.zeros((), x.dtype), jnp.zeros(2, x.dtype))
    (_, total, sums), _ = jax.lax.scan(chunk, start, jnp.arange(k ** (n - digits)))
    return sums[0] / total, sums[1] / total
