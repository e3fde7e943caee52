"""The forms of the sweep over rows, each in working units: expanded, whitened, and with cells missing.

Two forms of the sweep give the same result. The *expanded* form multiplies features by coefficients. It needs the
fewest operations, and all components share the features. It subtracts numbers as large as a component's squared
distance from the origin in its own standard deviations, so digits cancel if a component is much narrower than its
distance. In that case, and always in float32, the *whitened* form `|L^-1 (z - mu)|^2` is used instead. With few
components the whitened form is also the faster one, because it needs no features. To avoid the same cancellation,
statistics are taken about the components' current means.
"""

from dataclasses import replace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from workbench.engine.incomplete import IncompleteRows
from workbench.engine.known import component_sum
from workbench.engine.rows import Rows
from workbench.mixture.arithmetic import log
from workbench.mixture.covariance import Statistics
from workbench.mixture.covariance.base import LOG_2PI, product, weighted_sum
from workbench.mixture.mixture import Mixture

# Squared distance of a component from the origin, in its own standard deviations, beyond which the whitened form
# replaces the expanded one. The expanded form's rounding error per point is about eps times this, 2e-12 in float64.
FAR = 1e4

# Up to this many features are copied into one block, so that one matrix product reads the responsibilities once instead
# of once for each block. With more features the copy would cost more than it saves.
FEW_FEATURES = 16


class Parts(NamedTuple):
    """What a sweep needs of a mixture, in working units."""

    working: Mixture  # the components; their weights sum to what the background leaves
    # Log of the background's weight [], and its `log_thinness` [D]; None if there is none.
    background: tuple[Array, Array] | None

    @property
    def outside(self) -> Array | None:
        """Log of the background's weight and density. []"""
        return None if self.background is None else self.background[0] + jnp.sum(self.background[1])


def apart(mixture: Mixture, rows: Rows) -> Parts:
    """The parts of a mixture in the data's units."""
    working, back = rows.to_working(mixture), mixture.background
    if back is None:
        return Parts(working, None)
    working = replace(working, weights=working.weights * (1.0 - back.weight))
    return Parts(working, (jnp.log(back.weight), back.log_thinness + jnp.log(jnp.diagonal(rows.matrix))))


def is_always_whitened(parts: Parts) -> bool:
    """Whether the whitened form is taken whatever the values."""
    working, family = parts.working, parts.working.covariance
    small = not family.prefers_expanded(*working.means.shape)
    # The expanded form leaves out a quadratic term that all components share, but a background does not.
    unlike = family.is_shared and parts.background is not None
    return small or unlike or bool(np.finfo(working.means.dtype).bits < 64)


def is_narrow(working: Mixture) -> Array:
    """Whether digits would cancel in the expanded form. []"""
    family = working.covariance
    white = family.whiten(family.whitener(working.scales), working.means[..., None])[..., 0]
    return jnp.max(jnp.sum(white**2, -1)) > FAR


def expanded(parts: Parts, rows: Rows) -> tuple[Array, Statistics]:
    """The log-likelihood and the statistics about the means by products of features and coefficients."""
    working, family = parts.working, parts.working.covariance
    natural = family.natural(jnp.log(working.weights), working.means, working.scales)

    few = family.num_features(working.num_dimensions) <= FEW_FEATURES

    def chunk(given: tuple[Any, ...], z: Array, counted: Array) -> tuple[Array, ...]:
        coefficients, outside = given
        features = (jnp.ones_like(z[:1]), *family.features(z))
        if few:
            features = (jnp.concatenate(features),)
        terms = [product(c, f) for c, f in zip(coefficients, features, strict=True)]
        log_density, responsibilities = _normalise(sum(terms[1:], terms[0]), counted, outside)  # [K, B]
        return log_density, *(weighted_sum(responsibilities, f) for f in features)

    coefficients = (natural.constant[:, None], *family.pack(natural))
    widths = np.cumsum([c.shape[-1] for c in coefficients])[:-1]
    if few:
        coefficients = (jnp.concatenate(coefficients, axis=1),)
    value, *blocks = rows.sum(chunk, (coefficients, parts.outside))
    counts, *sums = jnp.split(blocks[0], widths, axis=1) if few else blocks
    value += family.shared_log_joint(natural, rows.total)
    statistics = family.unpack(counts[:, 0], tuple(sums), rows.total)
    # Second moments about c from those about zero: sum r (z - c)(z - c)^T = S - f c^T - c f^T + n c c^T.
    counts, first, second = statistics
    origins = jax.lax.stop_gradient(working.means)
    second = second - family.cross_products(first, origins) - family.cross_products(origins, first)
    second = second + family.cross_products(counts[:, None] * origins, origins)
    return value, Statistics(counts, first - counts[:, None] * origins, second)


def whitened(parts: Parts, rows: Rows) -> tuple[Array, Statistics]:
    """The same by squared distances from the means, which do not cancel; known components of rows are respected."""
    working, family = parts.working, parts.working.covariance
    k, d = working.means.shape
    constant = jnp.log(working.weights) - family.half_log_determinants(working.scales, k, d) - 0.5 * d * LOG_2PI

    origins = jax.lax.stop_gradient(working.means)

    def chunk(parameters: tuple[Any, ...], z: Array, counted: Array) -> tuple[Array, Any]:
        constants, means, whitener, origins = parameters
        log_joint = constants[:k] - 0.5 * family.squared_distances(whitener, means, z)  # [K, B]
        # Beyond those of the components stands the background's, which is -inf for known rows.
        outside = constants[k] if len(constants) > k else None
        log_density, responsibilities = _normalise(log_joint, counted, outside)
        return log_density, family.weighted_sums(responsibilities, origins, z)

    constants = constant if parts.outside is None else jnp.append(constant, parts.outside)
    value, sums = component_sum(rows, chunk, constants, (working.means, family.whitener(working.scales), origins))
    return value, family.statistics_of(sums, origins)


def marginalised(parts: Parts, rows: IncompleteRows) -> tuple[Array, Statistics]:
    """The likelihood of the cells that are there, and the statistics expected of whole rows given those cells.

    By Fisher's identity the latter are the gradient of the former, as they are for whole rows. Given the component and
    the cells that are there, a missing cell is Gaussian: its regression on them completes the first moments, and its
    conditional covariance the second. Both are of the size of the parameters, once for each chunk.
    """
    working, family = parts.working, parts.working.covariance
    k, origins = working.num_components, jax.lax.stop_gradient(working.means)
    identity = jnp.eye(working.num_dimensions, dtype=working.means.dtype)

    def chunk(parameters: tuple[Any, ...], observed: Array, z: Array, counted: Array) -> tuple[Array, ...]:
        weights, means, covariances, origins, thinness = parameters
        # The identity stands in the place of missing cells, whose deviations are zero: they add nothing.
        marginal = covariances * (observed[:, None] * observed) + jnp.diag(1.0 - observed)
        tril = jnp.linalg.cholesky(marginal)  # [K, D, D]
        gaps = (z - means[..., None]) * observed[:, None]  # [K, D, B]
        white = jax.scipy.linalg.solve_triangular(tril, gaps, lower=True)
        constant = weights[:k] - jnp.sum(jnp.log(jnp.diagonal(tril, axis1=-2, axis2=-1)), -1)
        constant -= 0.5 * LOG_2PI * jnp.sum(observed)
        outside = None if thinness is None else weights[k] + jnp.sum(observed * thinness)
        log_joint = constant[:, None] - 0.5 * jnp.sum(white**2, axis=1)  # [K, B]
        log_density, shares = _normalise(log_joint, counted, outside)
        counts, first = jnp.sum(shares, -1), jnp.einsum("kb,kib->ki", shares, gaps, precision="highest")
        second = product(shares[:, None] * gaps, jnp.swapaxes(gaps, -1, -2))
        across = jnp.swapaxes(covariances * observed, -1, -2)
        regression = jnp.swapaxes(jax.scipy.linalg.cho_solve((tril, True), across), -1, -2)
        regression = jnp.where(observed[:, None] > 0, identity, regression)  # [K, D, D]
        conditional = (covariances - product(regression, covariances)) * ((1.0 - observed[:, None]) * (1.0 - observed))
        # About the origins: these equal the means, but are constants in derivatives.
        shift, first = means - origins, product(regression, first[..., None])[..., 0]
        second = product(product(regression, second), jnp.swapaxes(regression, -1, -2))
        second += counts[:, None, None] * (conditional + shift[:, :, None] * shift[:, None, :])
        second += first[:, :, None] * shift[:, None, :] + shift[:, :, None] * first[:, None, :]
        return log_density, counts, first + counts[:, None] * shift, second

    own, thinness = jnp.log(working.weights), None
    if parts.background is not None:
        own, thinness = jnp.append(own, parts.background[0]), parts.background[1]
    parameters = (working.means, working.covariances, origins, thinness)
    value, counts, first, second = rows.pattern_sum(chunk, own, parameters)
    return value, Statistics(counts, first, family.moments(second))


def _normalise(log_joint: Array, counted: Array, outside: Array | None) -> tuple[Array, Array]:
    """The chunk's log-likelihood [] and responsibilities [K, B], with padding rows excluded.

    `outside` is the log-joint of a background, [] or [B].

    The sum over rows is a dot product with `counted` [B], because XLA's reduction along contiguous memory adds one
    number at a time.
    """
    largest = jax.lax.stop_gradient(jnp.max(log_joint, axis=0))
    # A row with density zero under every component gives -inf, not NaN.
    if outside is not None:
        largest = jnp.maximum(largest, jax.lax.stop_gradient(outside))
    largest = jnp.where(jnp.isfinite(largest), largest, 0.0)
    shares = jnp.exp(log_joint - largest)
    total = jnp.sum(shares, axis=0)
    if outside is not None:
        total += jnp.exp(outside - largest)
    # A row that does not count adds nothing, whatever its density.
    counts = counted > 0
    return (
        product(jnp.where(counts, largest + log(total), 0.0), counted),
        shares * jnp.where(counts, counted / total, 0.0),
    )
