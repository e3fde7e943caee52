"""Populations of particles: tempering, weights and resampling, and the Gibbs sweeps with which IBIS refreshes its own.

A sweep goes over the points taken in so far. It needs gamma random numbers, many at a time.

A sweep draws each particle's parameters given the statistics of its allocation, and then a new allocation. Particles
are the last axis of every array, so that sums over components, features and points run over whole vectors, and all
particles share the features of a point in one product. Everything is in working units.
"""

from dataclasses import replace
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from workbench.engine import native
from workbench.engine.known import KnownRows
from workbench.engine.layout import MOST
from workbench.engine.one_pass import allocated_statistics
from workbench.engine.rows import Rows
from workbench.methods.base import only_where
from workbench.mixture import Mixture, Statistics
from workbench.mixture.arithmetic import (
    log,
    lower_inverse,
    lower_root_of_inverse,
    lower_triangular_of,
    products,
)
from workbench.mixture.covariance import Covariance
from workbench.mixture.covariance.base import product
from workbench.mixture.prior import Hyperparameters
from workbench.mixture.prior.update import Known, Updated, shape_of, update

# After the first proposals, at most one number in WAITING is still to be drawn, as a rule: 1 in 20 at shape one, where
# refusals are most frequent. These are gathered, so that further proposals are made for them only, AT_ONCE for each at
# a time; the last of these is hardly ever needed.
WAITING, AT_ONCE = 8, 3


def log_gamma_draws(key: Array, shapes: Array) -> Array:
    """Logarithms of independent gamma numbers with these shapes, an array of any dimensions, and scale one.

    It draws all numbers together by rejection (Marsaglia & Tsang 2000, "A simple method for generating gamma
    variables", ACM Trans. Math. Software 26), where `jax.random.loggamma` loops for each number separately. A shape
    below one is raised by one, and the number is then multiplied by a power of a uniform number.
    """
    flat = shapes.ravel()
    size, low = flat.size, flat < 1.0
    raised = jnp.where(low, flat + 1.0, flat)
    key_first, key_next, key_low = jax.random.split(key, 3)
    draws, refused = _proposed(key_first, raised)
    few = max(1, size // WAITING)

    def again(carry: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
        turn, draws, waiting = carry
        places = jnp.nonzero(waiting, size=few, fill_value=size)[0]
        shapes = jnp.broadcast_to(raised[jnp.minimum(places, size - 1)], (AT_ONCE, few))
        proposed, refused = _proposed(jax.random.fold_in(key_next, turn), shapes)
        value, still = proposed[-1], refused[-1]
        for i in reversed(range(AT_ONCE - 1)):
            value, still = jnp.where(refused[i], value, proposed[i]), refused[i] & still
        return turn + 1, draws.at[places].set(value, mode="drop"), waiting.at[places].set(still, mode="drop")

    _, draws, _ = jax.lax.while_loop(lambda carry: jnp.any(carry[2]), again, (jnp.asarray(0), draws, refused))

    def lower(values: Array) -> Array:
        uniform = 1.0 - jax.random.uniform(key_low, values.shape, values.dtype)
        return values + jnp.where(low, log(uniform) / flat, 0.0)

    return only_where(jnp.any(low), lower, draws).reshape(shapes.shape)


def _proposed(key: Array, shapes: Array) -> tuple[Array, Array]:
    """One proposal for each shape, all of which are at least one, and whether it is refused."""
    key_normal, key_uniform = jax.random.split(key)
    d = shapes - 1.0 / 3.0
    x = jax.random.normal(key_normal, shapes.shape, shapes.dtype)
    root = 1.0 + x / jnp.sqrt(9.0 * d)
    usable = root > 0.0
    root = jnp.where(usable, root, 1.0)
    log_cube = 3.0 * log(root)
    # The difference is above zero and at most one.
    uniform = 1.0 - jax.random.uniform(key_uniform, shapes.shape, shapes.dtype)
    accepted = usable & (log(uniform) < 0.5 * x**2 + d * (1.0 - root**3 + log_cube))
    return log(d) + log_cube, ~accepted


# Particles that a pass in JAX takes on at a time, so that their intermediates stay in a core's cache.
FEW = 8


class Drawn(NamedTuple):
    """Parameters of mixtures, with the root `W` of each precision, `W^T W` the inverse of the covariance."""

    log_weights: Array  # [K]
    roots: Array  # the family's shape; lower triangular, or reciprocal standard deviations
    white_means: Array  # [K, D]   W mu

    def mixtures(self, family: Covariance) -> Mixture:
        """The parameters as mixtures, from leaves [..., S] to leaves [S, ...]."""
        if family.has_correlations:
            scales = lower_inverse(self.roots)
            means = jnp.sum(scales * self.white_means[:, None], -2)
        else:
            scales = 1.0 / self.roots
            means = _by_column(scales, family) * self.white_means
        weights, means, scales = (jnp.moveaxis(leaf, -1, 0) for leaf in (jnp.exp(self.log_weights), means, scales))
        return Mixture(weights, means, scales, family)


class Setting(NamedTuple):
    """The setting that all particles share."""

    hyperparameters: Hyperparameters  # of the conjugate prior, in working units
    active: Array  # [K]   whether points can come from each component
    points: Array  # [N, D]   in the order in which they are taken in
    family: Covariance
    components: Array | None = None  # [N]   of the points, in their order; -1 where not known, None if none is


def sweep(key: Array, known: Known, seen: Array, setting: Setting) -> tuple[Known, Drawn]:
    """Draw parameters given the statistics, leaves [..., S], then allocations of the first `seen` points.

    The sweep leaves the posterior given these points invariant. The statistics of the new allocations and the
    parameters are a joint draw from it.
    """
    key_mixture, key_allocations = jax.random.split(key)
    drawn = draw(key_mixture, known, setting)
    return allocated(key_allocations, drawn, seen, setting), drawn


def draw(key: Array, known: Known, setting: Setting) -> Drawn:
    """A mixture from the conjugate posterior given the allocation, for each particle; leaves [..., S].

    Bartlett's decomposition as in `prior.draw`: of M lower triangular with `M^T M ~ Wishart(nu, I)`, and `G^T G` the
    inverse scatter, `W = M G`.
    """
    h, family = setting.hyperparameters, setting.family
    k, d, size = known.locations.shape
    b, _, _ = shape_of(family, d)
    key_gamma, key_below, key_means = jax.random.split(key, 3)
    degrees = h["degrees"] + jax.vmap(lambda counts: family.degrees(counts, d), -1, -1)(known.counts)
    number = known.inverse.size // (b**2 * size)  # blocks of a particle
    nu = degrees.reshape(-1, size)
    half = 0.5 * (jnp.repeat(nu, number // len(nu), 0)[:, None] - b + jnp.arange(1.0, b + 1)[:, None])
    shapes = jnp.concatenate([h["concentration"] + known.counts, half.reshape(-1, size)])
    log_gamma = log_gamma_draws(key_gamma, shapes)
    diagonal = jnp.exp(0.5 * (np.log(2.0) + log_gamma[k:])).reshape(half.shape)  # [blocks, b, S]
    log_weights = jax.nn.log_softmax(log_gamma[:k], axis=0)
    noise = jax.random.normal(key_means, known.locations.shape, diagonal.dtype)
    noise /= jnp.sqrt(h["mean_shrinkage"] + known.counts)[:, None]
    if not family.has_correlations:
        roots = diagonal.reshape(known.inverse.shape) * jnp.sqrt(known.inverse)
    else:
        normals = jax.random.normal(key_below, (number, b * (b - 1) // 2, size), diagonal.dtype)
        bartlett = lower_triangular_of(diagonal, normals)
        roots = products(bartlett.reshape(known.inverse.shape), lower_root_of_inverse(known.inverse))
    if not family.has_correlations:
        white = _by_column(roots, family) * known.locations
    else:
        white = jnp.sum(roots * known.locations[:, None], -2)
    return Drawn(log_weights, roots, white + noise)


def allocated(key: Array, drawn: Drawn, seen: Array, setting: Setting) -> Known:
    """Statistics after each of the first `seen` points is allocated by its responsibilities; leaves [..., S].

    Each particle is a mixture of the batch of one random pass.
    """
    family, points, h = setting.family, setting.points, setting.hyperparameters
    (n, d), dtype = points.shape, points.dtype
    size = min(MOST, n)
    chunks = -(-n // size)
    z = jnp.pad(points, ((0, chunks * size - n), (0, 0))).reshape(chunks, size, d)
    counted, unit = jnp.clip(seen - size * jnp.arange(chunks), 0, size), jnp.eye(d, dtype=dtype)
    there = (jnp.arange(n) < seen).astype(dtype)
    total = jnp.einsum("ni,n,nj->ij", points, there, points, precision="highest")
    rows = Rows(jnp.swapaxes(z, 1, 2), counted, jnp.zeros(d, dtype), unit, unit, total, n)
    if setting.components is not None:
        rows = KnownRows.of_rows(rows, setting.components)

    def of_particle(key: Array, mixture: Mixture) -> Updated:
        mixture = replace(mixture, weights=jnp.where(setting.active, mixture.weights, 0.0))
        statistics = allocated_statistics(key, mixture, rows)
        # As in `gibbs.sweep`.
        origins = jnp.where(statistics.counts[:, None] > 0, mixture.means, h["mean_location"])
        return update(statistics, origins, h, family)

    many = drawn.log_weights.shape[-1]
    pairs = (jax.random.split(key, many), drawn.mixtures(family))
    together = many if native.goes_over(rows, family) else FEW
    updated = jax.lax.map(lambda pair: of_particle(*pair), pairs, batch_size=together)
    return Known.of(jax.tree.map(lambda leaf: jnp.moveaxis(leaf, 0, -1), updated), family)


def choose(chances: Array, uniform: Array) -> Array:
    """One component for each of M uniform numbers, in proportion to `chances` [K, M]: 1 there, 0 elsewhere. [K, M]

    It draws by inversion. The cumulative sums are one matrix product, which takes less time than a loop over them.
    """
    k = len(chances)
    before = product(jnp.asarray(np.tril(np.ones((k, k)), -1)), chances)
    level = uniform * jnp.sum(chances, axis=0)
    place = jnp.sum(before <= level, axis=0) - 1
    return (jnp.arange(k)[:, None] == place).astype(chances.dtype)


def _by_column(roots: Array, family: Covariance) -> Array:
    """Roots of a family without correlations by component and column; an axis of equal ones has length 1. [K, D, S]"""
    return roots.reshape(1 if family.is_shared else len(roots), -1, roots.shape[-1])


def nothing_known(setting: Setting, particles: int) -> Known:
    """Statistics before the first point, for a number of particles; leaves [..., S]."""
    h, family, k = setting.hyperparameters, setting.family, len(setting.active)
    d, dtype = setting.points.shape[1], setting.points.dtype
    shape = family.shape(k, d)
    nothing = Statistics(jnp.zeros(k, dtype), jnp.zeros((k, d), dtype), jnp.zeros(shape, dtype))
    updated = update(nothing, jnp.broadcast_to(h["mean_location"], (k, d)), h, family)
    one = Known.of(jax.tree.map(lambda leaf: leaf[..., None], updated), family)
    return jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (*leaf.shape[:-1], particles)), one)


def nothing_drawn(known: Known) -> Drawn:
    """Zeros in place of parameters before the first sweep; leaves [..., S]."""
    return Drawn(*(jnp.zeros_like(leaf) for leaf in (known.counts, known.inverse, known.locations)))


# Bisections for the next temperature, down to the last digit of a float64.
HALVINGS = 52


def next_temperature(temperature: Array, log_likelihoods: Array, share: float) -> Array:
    """The temperature, at most 1, at which the effective sample size of the weights falls to a share of its maximum.

    The effective sample size is `(sum w)^2 / sum w^2` for `w = L^(next - temperature)` (Jasra, Stephens, Doucet &
    Tsagaris 2011, Scandinavian Journal of Statistics 38). Its maximum is the number of particles whose log-likelihood
    is finite.

    Args:
        temperature: the present one, below 1. []
        log_likelihoods: of the particles; minus infinity for a particle without one. [S]
        share: effective sample size to reach, as a share of its maximum.
    """
    wanted = share * jnp.sum(log_likelihoods > -jnp.inf)

    def halve(bounds: tuple[Array, Array], _: None) -> tuple[tuple[Array, Array], None]:
        low, high = bounds
        middle = 0.5 * (low + high)
        far = effective_size((middle - temperature) * log_likelihoods) < wanted
        return (jnp.where(far, low, middle), jnp.where(far, middle, high)), None

    one = jnp.ones_like(temperature)
    (_, high), _ = jax.lax.scan(halve, (temperature, one), length=HALVINGS)
    near = effective_size((one - temperature) * log_likelihoods) >= wanted
    return jnp.where(near, one, high)


def effective_size(log_weights: Array) -> Array:
    """Kish's effective sample size of particles with these weights [S]. []"""
    return jnp.exp(2 * jax.nn.logsumexp(log_weights) - jax.nn.logsumexp(2 * log_weights))


def log_mean_weight(log_weights: Array) -> Array:
    """The log of the mean weight, which a step in temperature adds to the log evidence. []"""
    return jax.nn.logsumexp(log_weights) - np.log(len(log_weights))


def systematic_ancestors(key: Array, log_weights: Array) -> Array:
    """The index of each particle's ancestor, by systematic resampling (Kitagawa 1996), ascending. [S]"""
    count = len(log_weights)
    cumulated = jnp.cumsum(jax.nn.softmax(log_weights))
    places = (jnp.arange(count) + jax.random.uniform(key, dtype=log_weights.dtype)) / count
    # Rounding may leave the last sum below one. Scaled by it, no place falls beyond the last particle with a weight.
    return jnp.searchsorted(cumulated, places * cumulated[-1], side="right")
