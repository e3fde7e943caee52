"""Draws of a sampler against an exact posterior, in Monte-Carlo standard errors."""

from functools import partial
from itertools import combinations
from math import comb

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from workbench.diagnostics.clustering import together
from workbench.engine.known import shares_of
from workbench.mixture import Mixture
from workbench.posterior.exact import ExactPosterior
from workbench.problem import Problem

# Fields of `ExactPosterior` that are posterior means of a functional of the mixture.
MEANS = ("co_clustering", "occupied", "squared_weights", "mean_of_means", "density")

# The probabilities among them.
PROBABILITIES = ("co_clustering", "occupied")

# Relative rounding error of sums of some hundreds of terms.
ROUNDING = 1e-12


def z_scores(exact: ExactPosterior, mixtures: Mixture, problem: Problem) -> dict[str, np.ndarray]:
    """Deviations of the draws' means from the exact ones, in Monte-Carlo standard errors of autocorrelated draws.

    For a sampler of the right posterior, a deviation exceeds 4 about once in some thousands. Draws without a rare event
    say nothing about its error, so the error of a probability p is at least that of as many independent draws.

    Args:
        exact: posterior of the problem.
        mixtures: draws, leaves [R, S, ...].
        problem: the problem of both.

    Returns:
        For each of `MEANS` an array in the shape of the exact posterior's. It is infinite where draws that never move
        are wrong, or a draw is not finite.
    """
    # This import takes 0.8 s; the package promises to import in little more time than numpyro itself.
    from arviz_stats.base import array_stats  # type: ignore[attr-defined]

    shape = np.shape(mixtures.weights)[:2]
    flat = jax.tree.map(lambda leaf: jnp.reshape(leaf, (-1, *leaf.shape[2:])), mixtures)
    x, known = problem.labelled_observations("the exact posterior")
    values = jax.tree.map(np.asarray, _each_draw(flat, x, exact.at, known))
    scores = {}
    for name in MEANS:
        truth = np.asarray(getattr(exact, name))
        columns = values[name].reshape(*shape, -1)  # [R, S, Q]
        errors = np.array([array_stats.mcse(c, chain_axis=0, draw_axis=1) for c in np.moveaxis(columns, -1, 0)])
        if name in PROBABILITIES:
            variance = np.clip(truth * (1 - truth), 0, None).ravel()
            errors = np.fmax(errors, np.sqrt(variance / np.prod(shape)))
        off = columns.mean((0, 1)) - truth.ravel()
        # Some values are constant up to rounding, such as the co-clustering of a point with itself.
        off = np.where(np.abs(off) <= ROUNDING * np.abs(truth.ravel()), 0.0, off)
        with np.errstate(divide="ignore", invalid="ignore"):
            z = np.where(off == 0.0, 0.0, off / np.nan_to_num(errors))
        scores[name] = np.nan_to_num(z, nan=np.inf).reshape(truth.shape)
    return scores


def label_invariant(mixture: Mixture, x: Array, at: Array, known: Array | None = None) -> dict[str, Array]:
    """Conditional means, given one mixture, of the functionals of `ExactPosterior`, by name.

    Given the mixture, allocations are independent, so that averages over them have closed forms. Of `known` components
    [N] those that are not known are -1.
    """
    member = mixture.responsibilities(x)  # [N, K]
    member = member if known is None else shares_of(member, known)
    return {
        "co_clustering": together(member),
        "occupied": _occupied(member),
        "squared_weights": jnp.sum(mixture.weights**2),
        "mean_of_means": jnp.mean(mixture.means, 0),
        "density": jnp.exp(mixture.log_density(at)),
    }


@jax.jit
def _each_draw(mixtures: Mixture, x: Array, at: Array, known: Array) -> dict[str, Array]:
    return jax.lax.map(partial(label_invariant, x=x, at=at, known=known), mixtures, batch_size=256)


def _occupied(member: Array) -> Array:
    """Probability that exactly 1, ..., K components hold points, from responsibilities [N, K]. [K]

    All points fall in a set B of components with probability `g(B) = prod_n sum_{k in B} r_nk`. The probability that
    they occupy exactly j components follows by inclusion and exclusion,
    `sum_B (-1)^(j - |B|) C(K - |B|, j - |B|) g(B)`.
    """
    k = member.shape[1]
    sizes = range(1, k + 1)
    inside = {b: sum(jnp.prod(jnp.sum(member[:, list(s)], 1)) for s in combinations(range(k), b)) for b in sizes}
    terms = [[(-1) ** (j - b) * comb(k - b, j - b) * inside[b] for b in range(1, j + 1)] for j in sizes]
    return jnp.stack([jnp.sum(jnp.stack(row)) for row in terms])
