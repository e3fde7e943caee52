"""The one pass over the data: likelihood, E-step and gradient at once.

A Gaussian is an exponential family, so a component's log-joint is linear in features of the row, and by Fisher's
identity the gradient of the log-likelihood with respect to the natural parameters *is* the responsibility-weighted sum
of the features: the statistics of the E-step. One sweep over chunks of rows, with one matrix product in and one out,
therefore serves EM, gradient ascent and NUTS at the same price. All other work is of the size of the parameters.

The forms of the sweep are in `sweeps.py`. In the random pass, which Gibbs samplers need, each point's component is
drawn by its responsibilities instead.
"""

from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from workbench.engine import native
from workbench.engine.incomplete import IncompleteRows
from workbench.engine.known import KnownRows, random_component_sum
from workbench.engine.rows import Rows
from workbench.engine.sweeps import Parts, apart, expanded, is_always_whitened, is_narrow, marginalised, whitened
from workbench.mixture.covariance import Statistics
from workbench.mixture.density import log_weights
from workbench.mixture.mixture import Mixture


@jax.custom_jvp
def log_likelihood(mixture: Mixture, rows: Rows) -> Array:
    """ln L = sum_n ln sum_k pi_k N(x_n | mu_k, Sigma_k), or beside a background `Background`'s sum. []

    It can be differentiated with respect to the mixture in forward and reverse mode, to any order; the first derivative
    stores nothing per row. Derivatives with respect to the rows raise TypeError. The first derivative with respect to a
    weight is `sum_n N_k(x_n) / p(x_n)`, also where the weight is zero; second derivatives are NaN there. The weight of
    a background must not be zero where derivatives are taken.
    """
    return native.log_likelihood(mixture, rows) if native.serves(mixture, rows) else one_pass(mixture, rows)[0]


def _log_likelihood_jvp(primals: tuple[Mixture, Rows], tangents: tuple[Mixture, Rows]) -> tuple[Array, Array]:
    # Fisher's identity: d ln L = <statistics, d eta>, eta the natural parameters about fixed origins.
    mixture, rows = primals
    back = mixture.background
    if any(not isinstance(t, jax.custom_derivatives.SymbolicZero) for t in jax.tree.leaves(tangents[1])):
        raise TypeError("log_likelihood: derivatives with respect to the data are not defined")
    mixture = replace(mixture, weights=_above_zero(mixture.weights))
    value, statistics = one_pass(mixture, rows)
    origins = jax.lax.stop_gradient(mixture.means)

    def natural(m: Mixture) -> tuple[Array, ...]:
        own = m.covariance.natural(log_weights(m), m.means - origins, m.scales)
        return own if m.background is None else (*own, jnp.log(m.background.weight))

    tangent = jax.tree.map(_dense, tangents[0])
    _, change = jax.jvp(natural, (mixture,), (tangent,))
    sums = statistics if back is None else (*statistics, rows.num_points - jnp.sum(statistics.counts))
    return value, sum((jnp.sum(s * c) for s, c in zip(sums, change, strict=True)), jnp.zeros_like(value))


log_likelihood.defjvp(_log_likelihood_jvp, symbolic_zeros=True)


@jax.custom_jvp
def _above_zero(weights: Array) -> Array:
    """Weights with zeros replaced by a number so small that it changes no sum over components.

    The derivative with respect to a weight is the count divided by the weight. The replacement is the smallest number
    whose products keep full precision, so the quotient is accurate at a weight of zero as well. A second derivative
    would be a difference of such quotients, so it is NaN.
    """
    info = np.finfo(weights.dtype)
    return jnp.where(weights > 0, weights, jnp.where(weights == 0, info.tiny / info.eps, jnp.nan))


_above_zero.defjvps(lambda tangent, _, weights: tangent * jnp.where(weights > 0, 1.0, jnp.nan))


@jax.custom_jvp
def one_pass(mixture: Mixture, rows: Rows) -> tuple[Array, Statistics]:
    """The log-likelihood and the expected sufficient statistics about the mixture's means.

    The relative accuracy of the log-likelihood is 1e-12 on standardised data, 1e-9 on data 1e6 standard deviations from
    zero, 1e-6 with a component 1e-6 times as wide as the data, and 1e-5 in float32 at D = 32.

    Returns:
        The log-likelihood [], and `Statistics` in the data's units: counts [K], first moments [K, D] and second moments
        in the family's shape, about origins at `mixture.means`.
    """
    return native.statistics(mixture, rows) if native.serves(mixture, rows) else _plain_pass(mixture, rows)


@one_pass.defjvp
def _one_pass_jvp(
    primals: tuple[Mixture, Rows], tangents: tuple[Mixture, Rows]
) -> tuple[tuple[Array, Statistics], tuple[Array, Statistics]]:
    return jax.jvp(lambda mixture: _plain_pass(mixture, primals[1]), primals[:1], tangents[:1])


def _plain_pass(mixture: Mixture, rows: Rows) -> tuple[Array, Statistics]:
    """The pass in JAX, which serves every processor and every derivative."""
    value, statistics = _sweep(apart(mixture, rows), rows)
    value -= rows.log_volume
    return value, rows.statistics_from_working(statistics, mixture.covariance)


@jax.custom_jvp
def _sweep(parts: Parts, rows: Rows) -> tuple[Array, Statistics]:
    if isinstance(rows, IncompleteRows):
        return marginalised(parts, rows)
    if isinstance(rows, KnownRows) or is_always_whitened(parts):
        return whitened(parts, rows)

    # A loop of at most one iteration replaces a `cond`. Under `vmap` a `cond` computes both branches for every mixture
    # of the batch, whereas the body of a loop runs only if some mixture needs it, and the rows remain shared.
    def again(carry: tuple[Array, Any]) -> tuple[Array, Any]:
        # The barrier makes the body depend on the carry. XLA would otherwise hoist the whitened sweep out of the loop
        # and always run it.
        narrow, inside = jax.lax.optimization_barrier((carry[0], parts))
        return jnp.zeros_like(narrow), whitened(inside, rows)

    return jax.lax.while_loop(lambda carry: carry[0], again, (is_narrow(parts.working), expanded(parts, rows)))[1]


@_sweep.defjvp
def _sweep_jvp(
    primals: tuple[Parts, Rows], tangents: tuple[Parts, Rows]
) -> tuple[tuple[Array, Statistics], tuple[Array, Statistics]]:
    # For second derivatives: `cond`, unlike `while_loop`, can be transposed by reverse mode.
    def plain(parts: Parts) -> tuple[Array, Statistics]:
        if isinstance(primals[1], IncompleteRows):
            return marginalised(parts, primals[1])
        if isinstance(primals[1], KnownRows) or is_always_whitened(parts):
            return whitened(parts, primals[1])
        return jax.lax.cond(is_narrow(parts.working), whitened, expanded, parts, primals[1])

    return jax.jvp(plain, primals[:1], tangents[:1])


def _dense(tangent: Array | jax.custom_derivatives.SymbolicZero) -> Array:
    if isinstance(tangent, jax.custom_derivatives.SymbolicZero):
        return jnp.zeros(tangent.shape, tangent.dtype)
    return tangent


def allocated_statistics(key: Array, mixture: Mixture, rows: Rows) -> Statistics:
    """Statistics of each component's points after `z_n ~ Categorical(r_n1, ..., r_nK)`, about the mixture's means.

    It costs one pass: allocations are drawn chunk by chunk, summed and discarded. The observations of a row with a
    whole weight are allocated one by one, so that their numbers are multinomial. The expectation of the statistics is
    what `one_pass` returns.

    Returns:
        `Statistics` in the data's units: counts [K], first [K, D] and second moments in the family's shape.
    """
    if rows.weights is None and native.serves(mixture, rows):
        return native.allocated_statistics(key, mixture, rows)
    return _plain_allocated_statistics(key, mixture, rows)


def _plain_allocated_statistics(key: Array, mixture: Mixture, rows: Rows) -> Statistics:
    """The random pass in JAX; in the whitened form, which does not cancel far from the origin."""
    working = rows.to_working(mixture)
    family, (k, d) = working.covariance, working.means.shape
    constant = jnp.log(working.weights) - family.half_log_determinants(working.scales, k, d)
    alone = rows.weights is None

    def chunk(parameters: tuple[Array, ...], own: Array, z: Array, counted: Array) -> Any:
        constant, means, whitener = parameters
        log_joint = constant - 0.5 * family.squared_distances(whitener, means, z)  # [K, B]
        drawn = allocate(own, log_joint) * counted if alone else allocate_counts(own, log_joint, counted)
        return family.weighted_sums(drawn, means, z)

    sums = random_component_sum(rows, chunk, constant, (working.means, family.whitener(working.scales)), key)
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


def allocate_counts(key: Array, log_joint: Array, counted: Array) -> Array:
    """How many of each row's `counted` [B] observations come from each component, drawn from the multinomial. [K, B]

    The numbers are drawn component by component, each from the binomial given those before it.
    """
    shares = jnp.exp(log_joint - jnp.max(log_joint, axis=0))
    # What is left for a component and those after it; the last takes all that is left.
    rest = jnp.cumsum(shares[::-1], axis=0)[::-1]
    chances = jnp.where(rest > 0, shares / jnp.where(rest > 0, rest, 1.0), 0.0).at[-1].set(1.0)

    def draw(left: Array, given: tuple[Array, Array]) -> tuple[Array, Array]:
        own, chance = given
        taken = jax.random.binomial(own, left, jnp.clip(chance, 0.0, 1.0), dtype=left.dtype)
        # The algorithm is one of rejection, whose result for no trials or a sure outcome is set here.
        taken = jnp.where(chance >= 1.0, left, jnp.where(left > 0, taken, 0.0))
        return left - taken, taken

    keys = jax.random.split(key, len(log_joint))
    return jax.lax.scan(draw, counted, (keys, chances))[1]
