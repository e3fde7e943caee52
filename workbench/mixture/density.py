"""The density of a mixture at points, and at points of which some cells are missing.

A missing cell is marginalised: the row then counts by the density of the cells that are there.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from workbench.data.observed import MissingCells
from workbench.errors import InputError
from workbench.mixture.covariance.base import LOG_2PI

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from workbench.mixture.mixture import Mixture

# Number of points whose densities are evaluated together, which limits memory to BLOCK x K x D numbers, and of points
# with missing cells, of which each has matrices of its own: BLOCK_OF_MATRICES x K x D x D numbers.
BLOCK, BLOCK_OF_MATRICES = 4096, 256

# Roundings of a log-joint, in units of its last digit, that a squared distance and its terms add up to.
ROUNDINGS = 4


def log_joint_at(mixture: "Mixture", points: Array, missing: MissingCells) -> Array:
    """`log pi_k + log N(x_n | mu_k, Sigma_k)` of points [N, D], in compiled blocks. [N, K]"""
    return _called(_incomplete_log_joint if _may_miss(points, missing) else _log_joint, mixture, points)


def log_density_at(mixture: "Mixture", points: Array, missing: MissingCells) -> Array:
    """`log P(x_n)` of points [N, D]; finite where the log-joint of any component is. [N]"""
    return _called(_incomplete_log_density if _may_miss(points, missing) else _log_density, mixture, points)


def log_weights(mixture: "Mixture") -> Array:
    """The logarithm of each component's share of all points, beside a background if there is one. [K]"""
    own = jnp.log(mixture.weights)
    return own if mixture.background is None else own + mixture.background.log_rest


def out_of_reach(joint: "ArrayLike") -> "list[tuple[NDArray[np.intp], str]]":
    """Points too far from all components to say which of them they come from, and why, in words.

    A log-joint is a difference of squared distances, of which digits are lost far out. Where two components differ by
    less than is lost, and that is more than a nat, equal shares would be an artefact of rounding.

    Args:
        joint: `ln pi_k + ln N(x_n | mu_k, Sigma_k)`. [N, K]
    """
    values = np.asarray(joint)
    best = np.max(values, axis=-1)
    lost = ROUNDINGS * np.finfo(values.dtype).eps * np.abs(best)
    with np.errstate(invalid="ignore"):
        near = np.sum(values >= (best - lost)[..., None], axis=-1)
    nowhere, hidden = ~np.any(np.isfinite(values), axis=-1), np.isfinite(best) & (lost > 1.0) & (near > 1)
    reasons = (
        (nowhere, "no component has a density there"),
        (hidden, "rounding hides which component is the nearest"),
    )
    return [(np.flatnonzero(far), why) for far, why in reasons if np.any(far)]


def check_reached(joint: "ArrayLike", places: "NDArray[np.intp] | None" = None) -> None:
    """Refuse points that are `out_of_reach`.

    Args:
        joint: as there. [N, K]
        places: the numbers of the points, from 0; those of the rows of `joint` unless given. [N]

    Raises:
        InputError: names the first of them, and why.
    """
    for found, why in out_of_reach(joint):
        first = found[0] if places is None else places[found[0]]
        rows = f"data row {first + 1}" + (f" and {len(found) - 1:,} more" if len(found) > 1 else "")
        raise InputError(f"x: {rows}: so far out that {why}; check {'its' if len(found) == 1 else 'their'} units")


def _may_miss(points: Array, missing: MissingCells) -> bool:
    """Whether a cell is missing, or can be: inside a compiled program values are not known."""
    if missing == "refuse":
        return False
    return isinstance(points, jax.core.Tracer) or bool(jnp.any(jnp.isnan(points)))


def _log_joint(mixture: "Mixture", points: Array) -> Array:
    family, (k, d) = mixture.covariance, mixture.means.shape
    whitener = family.whitener(mixture.scales)
    constant = log_weights(mixture) - 0.5 * d * LOG_2PI - family.half_log_determinants(mixture.scales, k, d)

    def at(point: Array) -> Array:
        white = family.whiten(whitener, (point - mixture.means)[..., None])[..., 0]
        return constant - 0.5 * jnp.sum(white**2, -1)

    return jax.lax.map(at, points, batch_size=BLOCK)


def _incomplete_log_joint(mixture: "Mixture", points: Array) -> Array:
    covariances = mixture.covariances

    def at(point: Array) -> Array:
        observed = (~jnp.isnan(point)).astype(point.dtype)
        # The identity stands in the place of missing cells, whose deviations are zero: they add nothing.
        tril = jnp.linalg.cholesky(covariances * (observed[:, None] * observed) + jnp.diag(1.0 - observed))
        gaps = jnp.where(observed > 0, point - mixture.means, 0.0)  # [K, D]
        white = jax.scipy.linalg.solve_triangular(tril, gaps[..., None], lower=True)[..., 0]
        half_log_determinants = jnp.sum(jnp.log(jnp.diagonal(tril, axis1=-2, axis2=-1)), -1)
        constant = log_weights(mixture) - 0.5 * LOG_2PI * jnp.sum(observed) - half_log_determinants
        return constant - 0.5 * jnp.sum(white**2, -1)

    return jax.lax.map(at, points, batch_size=BLOCK_OF_MATRICES)


def _log_density(mixture: "Mixture", points: Array) -> Array:
    return _log_of_sum(_log_joint, mixture, points)


def _incomplete_log_density(mixture: "Mixture", points: Array) -> Array:
    return _log_of_sum(_incomplete_log_joint, mixture, points)


def _log_of_sum(log_joint: Callable[["Mixture", Array], Array], mixture: "Mixture", points: Array) -> Array:
    """Log of the sum over components; finite where the log-joint of any component is. [N]"""
    absent = mixture.weights == 0
    joint = log_joint(replace(mixture, weights=jnp.where(absent, 1.0, mixture.weights)), points)
    largest = jax.lax.stop_gradient(jnp.max(jnp.where(absent, -jnp.inf, joint), axis=-1, keepdims=True))
    # A point with density zero under every component gives -inf, not NaN.
    largest = jnp.where(jnp.isfinite(largest), largest, 0.0)
    shares = jnp.exp(jnp.minimum(joint - largest, np.log(np.finfo(joint.dtype).max)))
    factors = jnp.where(absent, mixture.weights, 1.0)
    density = largest[:, 0] + jnp.log(jnp.sum(factors * shares, axis=-1))
    return density if mixture.background is None else jnp.logaddexp(density, mixture.background.log_joint(points))


def _called(function: Callable[["Mixture", Array], Array], mixture: "Mixture", points: Array) -> Array:
    """Call a function of a mixture and points as one compiled program, instead of operation by operation."""
    if any(isinstance(leaf, jax.core.Tracer) for leaf in (points, *jax.tree.leaves(mixture))):
        return function(mixture, points)
    return _PROGRAMS[function](mixture, points)


_PROGRAMS: dict[Callable[["Mixture", Array], Array], Callable[..., Array]] = {
    function: jax.jit(function)
    for function in (_log_joint, _incomplete_log_joint, _log_density, _incomplete_log_density)
}
