"""Points whose missing cells are filled in by what a mixture expects of them."""

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.typing import ArrayLike
from numpy.typing import NDArray

from workbench.data import by_name
from workbench.data.incomplete import points_or_missing
from workbench.errors import InputError
from workbench.memory_maps import make_room
from workbench.mixture.covariance.base import LOG_2PI
from workbench.mixture.density import BLOCK_OF_MATRICES, check_reached, log_weights
from workbench.mixture.mixture import Mixture


def complete(mixture: Mixture, x: ArrayLike) -> NDArray[np.float64]:
    """Points with every missing cell filled in by its expectation given the row's other cells.

    `E[x_m | x_o] = sum_k P(k | x_o) (mu_km + Sigma_kmo Sigma_koo^-1 (x_o - mu_ko))` (Little & Rubin 2019, section
    11.2, for each component); a background expects the middle of its box. An expectation varies less than a value that
    was measured, so that variances and errors of completed columns are too small.

    Args:
        mixture: of D columns.
        x: points [N, D], NaN where a cell is missing.

    Returns:
        The points; cells that are there keep their values. [N, D]

    Raises:
        InputError: the number of columns is not D, a cell is infinite, a row has no value at all, or a row is so far
            out that no component has a density there, or that rounding hides which one is the nearest.
    """
    make_room()
    points = points_or_missing(by_name(x, mixture.columns), mixture.num_dimensions)
    lost = np.isnan(points)
    rows = np.flatnonzero(np.any(lost, axis=1))
    if not len(rows):
        return points
    found, joint = _expected(mixture, jnp.asarray(points[rows], mixture.means.dtype))
    check_reached(joint, rows)
    expected = np.asarray(found, float)
    far = rows[~np.all(np.isfinite(expected), axis=1)]
    if len(far):
        raise InputError(f"x: data row {far[0] + 1}: so far out that no component has a density there; check its units")
    filled = points.copy()
    filled[rows] = np.where(lost[rows], expected, points[rows])
    return filled


@jax.jit
def _expected(mixture: Mixture, points: Array) -> tuple[Array, Array]:
    """The expectation of every cell given those that are there [N, D], and the log-joint of these [N, K].

    That of a background comes last, if there is one.
    """
    covariances = mixture.covariances

    def at(point: Array) -> tuple[Array, Array]:
        observed = (~jnp.isnan(point)).astype(point.dtype)
        # The identity stands in the place of missing cells, whose deviations are zero: they add nothing.
        tril = jnp.linalg.cholesky(covariances * (observed[:, None] * observed) + jnp.diag(1.0 - observed))
        gaps = jnp.where(observed > 0, point - mixture.means, 0.0)  # [K, D]
        white = jax.scipy.linalg.solve_triangular(tril, gaps[..., None], lower=True)
        slopes = jax.scipy.linalg.solve_triangular(tril, white, lower=True, trans=1)  # [K, D, 1]
        half_log_determinants = jnp.sum(jnp.log(jnp.diagonal(tril, axis1=-2, axis2=-1)), -1)
        joint = log_weights(mixture) - 0.5 * LOG_2PI * jnp.sum(observed) - half_log_determinants
        joint = joint - 0.5 * jnp.sum(white[..., 0] ** 2, -1)
        means = mixture.means + jnp.einsum("kij,kj->ki", covariances, slopes[..., 0], precision="highest")
        if (back := mixture.background) is not None:
            joint = jnp.append(joint, back.log_joint(point[None]))
            means = jnp.concatenate([means, 0.5 * (back.low + back.high)[None]])
        shares = jax.nn.softmax(joint)
        return jnp.sum(shares[:, None] * means, axis=0), joint

    return jax.lax.map(at, points, batch_size=BLOCK_OF_MATRICES)
