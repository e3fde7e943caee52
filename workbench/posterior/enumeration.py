"""The exact posterior of a tiny problem under the conjugate prior, by a sum over all K^N allocations.

Given an allocation everything is a ratio of gamma functions and determinants (`workbench.mixture.prior.update`), so
the posterior of the mixture is a finite sum, and what is told of it here is exact to rounding. It is the yardstick of
every sampler, and it knows nothing of labels: the sum runs over all of them.
"""

from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike

from workbench.data import finite_points
from workbench.errors import InputError
from workbench.mixture import ConjugatePrior, Covariance
from workbench.mixture.prior import Hyperparameters
from workbench.mixture.prior.update import log_allocation_prior, log_marginal_likelihood, log_predictive, update
from workbench.problem import Problem

# Allocations that are summed at most: a minute's work.
MOST_ALLOCATIONS = 2**24

# Allocations side by side: their co-clustering matrices stay in a core's cache.
CHUNK = 1024

Sums = dict[str, Array]


@dataclass(frozen=True)
class ExactPosterior:
    """What is known exactly of the posterior; all of it is the same under any permutation of labels.

    Only what has a finite variance under the default prior is told, so that a sampler's Monte-Carlo error means
    something: moments of covariances, for instance, have none.
    """

    log_evidence: float  # ln of the integral of exp(log_joint)
    co_clustering: np.ndarray  # [N, N]   probability that two points come from one component
    occupied: np.ndarray  # [K]   probability that just 1, ..., K components hold points
    squared_weights: float  # mean of sum_k pi_k^2
    mean_of_means: np.ndarray  # [D]   mean of sum_k mu_k / K
    at: np.ndarray  # [G, D]
    density: np.ndarray  # [G]   mean of the mixture's density there: the posterior predictive
    allocations: int  # K^N, all of them summed


def exact_posterior(problem: Problem, at: ArrayLike | None = None) -> ExactPosterior:
    """Sum over every allocation of a tiny problem.

    Args:
        problem: with the conjugate prior and at most 2^24 allocations.
        at: where the density is told, [G, D] or [G]; at the points themselves unless given.

    Raises:
        InputError: another prior, too many allocations, or `at` holds no points of the problem's dimensions.
    """
    k, n = problem.components, problem.num_points
    if not isinstance(problem.prior, ConjugatePrior):
        raise InputError(
            f"prior: the exact posterior needs the conjugate prior, got {type(problem.prior).__name__}; "
            'use family = "conjugate"'
        )
    if k**n > MOST_ALLOCATIONS:
        raise InputError(
            f"components: {k} components and {n} points have {k**n:.3g} allocations, more than {MOST_ALLOCATIONS}; "
            f"give at most {int(np.log(MOST_ALLOCATIONS) / np.log(k))} points or fewer components"
        )
    grid = problem.x if at is None else finite_points(at, problem.num_dimensions, "at")
    # Seen from the prior's location, so that scatters do not cancel.
    location = np.asarray(problem.hyperparameters["mean_location"])
    h = {**problem.hyperparameters, "mean_location": jnp.zeros_like(location)}
    found = _sweep(problem.x - location, grid - location, h, components=k, family=problem.covariance)
    log_evidence, sums = jax.tree.map(np.asarray, found)
    return ExactPosterior(
        log_evidence=float(log_evidence),
        co_clustering=sums["co_clustering"],
        occupied=sums["occupied"],
        squared_weights=float(sums["squared_weights"]),
        mean_of_means=sums["mean_of_means"] + location,
        at=grid,
        density=sums["density"],
        allocations=k**n,
    )


@partial(jax.jit, static_argnames=("components", "family"))
def _sweep(x: Array, at: Array, h: Hyperparameters, *, components: int, family: Covariance) -> tuple[Array, Sums]:
    """Log evidence and posterior means, chunk by chunk: all values of the last digits for each of the first ones."""
    k, n = components, len(x)
    digits = next(m for m in range(n, -1, -1) if k**m <= CHUNK)
    last = _allocations(jnp.arange(k**digits), digits, k)  # [B, m]

    def chunk(carry: tuple[Array, Sums], index: Array) -> tuple[tuple[Array, Sums], None]:
        first = jnp.broadcast_to(_allocations(index[None], n - digits, k), (len(last), n - digits))
        allocations = jnp.concatenate([first, last], axis=1)  # [B, N]
        log_weights, values = jax.vmap(lambda z: _given(z, x, at, h, components=k, family=family))(allocations)
        # Sums are kept relative to the largest log weight met so far.
        peak, sums = carry
        higher = jnp.maximum(peak, jnp.max(log_weights))
        weights = jnp.exp(log_weights - higher)
        sums = jax.tree.map(lambda s, v: s * jnp.exp(peak - higher) + jnp.tensordot(weights, v, 1), sums, values)
        return (higher, sums), None

    some = jax.eval_shape(lambda z: _given(z, x, at, h, components=k, family=family)[1], jnp.zeros(n, int))
    nothing = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, x.dtype), some)
    start = (jnp.asarray(-jnp.inf, x.dtype), nothing)
    (peak, sums), _ = jax.lax.scan(chunk, start, jnp.arange(k ** (n - digits)))
    total = sums.pop("one")
    return peak + jnp.log(total), jax.tree.map(lambda s: s / total, sums)


def _allocations(index: Array, digits: int, components: int) -> Array:
    """The digits of each index to the base K. [B, digits]"""
    return index[:, None] // components ** jnp.arange(digits) % components


def _given(
    z: Array, x: Array, at: Array, h: Hyperparameters, *, components: int, family: Covariance
) -> tuple[Array, Sums]:
    """Log weight of an allocation z [N], and what the posterior given it says."""
    k, a = components, h["concentration"]
    member = jax.nn.one_hot(z, k, axis=0, dtype=x.dtype)  # [K, N]
    origins = jnp.zeros((k, x.shape[1]), x.dtype)
    updated = update(family.statistics_of(family.weighted_sums(member, origins, x.T), origins), origins, h, family)
    counts, total = updated.counts, len(x) + k * a
    log_weight = log_allocation_prior(counts, a) + log_marginal_likelihood(updated, h, family)
    weights = (counts + a) / total  # posterior mean
    values = {
        "one": jnp.ones((), x.dtype),
        "co_clustering": jnp.asarray(z[:, None] == z[None, :], x.dtype),
        "occupied": jax.nn.one_hot(jnp.sum(counts > 0) - 1, k, dtype=x.dtype),
        "squared_weights": jnp.sum(weights * (counts + a + 1.0) / (total + 1.0)),
        "mean_of_means": jnp.mean(updated.locations, 0),
        "density": jnp.exp(log_predictive(updated, at, family)) @ weights,
    }
    return log_weight, values
