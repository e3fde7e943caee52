"""Covariances that users give: in the shape of their family, or dense."""

import jax.numpy as jnp
import numpy as np

from workbench.errors import InputError, shown
from workbench.mixture.covariance.base import Covariance

# Covariances count as equal if they differ by at most this fraction of their largest entry, which allows for float32
# and for numbers that were printed with seven digits.
SAME = 1e-6


def in_family(family: Covariance, sigma: np.ndarray, components: int, dimensions: int) -> np.ndarray:
    """Covariances in the family's shape, from that shape or from dense ones that lie in the family.

    Raises:
        InputError: the shape is wrong, or the covariances are not symmetric or not of the family.
    """
    shape, dense = family.shape(components, dimensions), (components, dimensions, dimensions)
    if sigma.shape not in (shape, dense):
        shapes = " or ".join(str(list(each)) for each in dict.fromkeys((shape, dense)))
        raise InputError(f"covariances: the {family.name} family needs shape {shapes}, got {list(sigma.shape)}")
    if family.has_correlations or sigma.shape != shape:
        _check_close(np.swapaxes(sigma, -1, -2), sigma, "symmetric")
    if sigma.shape == shape:
        return sigma
    near = family.nearest(sigma)
    scales = family.scale_trils(family.factor(jnp.asarray(near)), components, dimensions)
    _check_close(np.asarray(scales @ jnp.swapaxes(scales, -1, -2)), sigma, f"of the {family.name} family")
    return near


def _check_close(member: np.ndarray, sigma: np.ndarray, what: str) -> None:
    """Raise if covariances differ from a member of the family by more than rounding; NaN is reported elsewhere."""
    off = np.max(np.abs(member - sigma), initial=0.0)
    if off > SAME * np.max(np.abs(sigma)):
        raise InputError(f"covariances: must be {what}, and are off by {off:.3g}, got {shown(sigma.tolist())}")
