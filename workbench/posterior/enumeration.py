"""The exact posterior of a tiny problem under the conjugate prior, by a sum over all K^N allocations.

Given an allocation, all terms are ratios of gamma functions and determinants (`workbench.mixture.prior.update`). The
posterior of the mixture is therefore a finite sum, and its functionals here are exact to rounding. Samplers are tested
against it. It is symmetric in the labels, because the sum runs over all allocations.
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

# Most allocations that are summed, which takes a minute.
MOST_ALLOCATIONS = 2**24

# Allocations that are processed together, so few that their co-clustering matrices stay in a core's cache.
CHUNK = 1024

Sums = dict[str, Array]


@dataclass(frozen=True)
class ExactPosterior:
    """Exact functionals of the posterior, none of which depends on labels.

    They have finite variances under the default prior, so that a sampler's Monte-Carlo error is meaningful. Moments of
    covariances, for instance, do not.
    """

    log_evidence: float  # ln of the integral of exp(log_joint)
    co_clustering: np.ndarray  # [N, N]   probability that two points come from one component
    occupied: np.ndarray  # [K]   probability that exactly 1, ..., K components hold points
    squared_weights: float  # mean of sum_k pi_k^2
    mean_of_means: np.ndarray  # [D]   mean of sum_k mu_k / K
    at: np.ndarray  # [G, D]
    density: np.ndarray  # [G]   mean of the mixture's density there, the posterior predictive density
    allocations: int  # K^N, the number of terms


def exact_posterior(problem: Problem, at: ArrayLike | None = None) -> ExactPosterior:
    """Sum over every allocation of a tiny problem.

    Args:
        problem: a problem with the conjugate prior and at most 2^24 allocations.
        at: places at which the density is computed, [G, D] or [G]; by default the points themselves.

    Raises:
        InputError: the prior is another, there are too many allocations, or `at` has other dimensions.
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
    # The prior's location becomes the origin, so that scatters do not cancel.
    location = np.asarray(problem.hyperparameters["mean_location"])
    h = {**problem.hyperparameters, "mean_location": jnp.zeros_like(location)}
    swept = _sweep(problem.x - location, grid - location, h, components=k, family=problem.covariance)
    log_evidence, sums = jax.tree.map(np.asarray, swept)
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
    """Log evidence and posterior means. A chunk holds all allocations of the last points for one of the first."""
    k, n = components, len(x)
    digits = next(m for m in range(n, -1, -1) if k**m <= CHUNK)
    last = _allocations(jnp.arange(k**digits), digits, k)  # [B, m]

    def chunk(carry: tuple[Array, Sums], index: Array) -> tuple[tuple[Array, Sums], None]:
        first = jnp.broadcast_to(_allocations(index[None], n - digits, k), (len(last), n - digits))
        allocations = jnp.concatenate([first, last], axis=1)  # [B, N]
        log_weights, values = jax.vmap(lambda z: _given(z, x, at, h, components=k, family=family))(allocations)
        # Sums are relative to the largest log weight so far.
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
    """The digits of each index in base K. [B, digits]"""
    return index[:, None] // components ** jnp.arange(digits) % components


def _given(
    z: Array, x: Array, at: Array, h: Hyperparameters, *, components: int, family: Covariance
) -> tuple[Array, Sums]:
    """Log weight of an allocation z [N], and the posterior functionals given it."""
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
