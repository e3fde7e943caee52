"""The random pass: each point's component is drawn by its responsibilities, and statistics of the result are summed."""

from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from workbench.engine.rows import Rows
from workbench.mixture import Mixture, Statistics


def allocated_statistics(key: Array, mixture: Mixture, rows: Rows) -> Statistics:
    """Statistics of each component's points after `z_n ~ Categorical(r_n1, ..., r_nK)`, about the mixture's means.

    It costs one pass: allocations are drawn chunk by chunk, summed and discarded. The expectation of the statistics is
    what `one_pass` returns. Log-joints are computed in the whitened form, which does not cancel far from the origin.

    Returns:
        `Statistics` in the data's units: counts [K], first [K, D] and second moments in the family's shape.
    """
    working = rows.to_working(mixture)
    family, (k, d) = working.covariance, working.means.shape
    constant = jnp.log(working.weights) - family.half_log_determinants(working.scales, k, d)

    def chunk(parameters: tuple[Array, ...], own: Array, z: Array, counted: Array) -> Any:
        constant, means, whitener = parameters
        log_joint = constant[:, None] - 0.5 * family.squared_distances(whitener, means, z)  # [K, B]
        return family.weighted_sums(allocate(own, log_joint) * counted, means, z)

    sums = rows.random_sum(chunk, (constant, working.means, family.whitener(working.scales)), key)
    return rows.statistics_from_working(family.statistics_of(sums, working.means), family)


def allocate(key: Array, log_joint: Array) -> Array:
    """One component for each row, drawn in proportion to `exp(log_joint)` [K, B], as 1 there and 0 elsewhere. [K, B]

    It draws by inversion, which takes one uniform number for each row. The Gumbel trick takes K and as many logarithms.
    """
    shares = jnp.exp(log_joint - jnp.max(log_joint, axis=0))
    below = jnp.cumsum(shares, axis=0)
    level = below[-1] * jax.random.uniform(key, log_joint.shape[1:], log_joint.dtype)
    # The minimum gives every row a component in spite of rounding. All K are counted although K - 1 would be enough:
    # for K = 2, XLA would drop the sum over one row, and then draw again for every component and product.
    chosen = jnp.minimum(jnp.sum(below <= level, axis=0), len(below) - 1)
    return jax.nn.one_hot(chosen, len(log_joint), axis=0, dtype=log_joint.dtype)
