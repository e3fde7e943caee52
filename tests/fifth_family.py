"""A fifth covariance family, as somebody else would write it: mclust's EEI, one diagonal covariance for all components.

The file could lie in `workbench/mixture/covariance/` as it is; `test_fifth_family.py` puts it there.
"""

import jax.numpy as jnp
from jax import Array

from workbench.mixture.covariance.base import Matrices
from workbench.mixture.covariance.stored import DeviationCovariance


class SharedDiagonal(DeviationCovariance):
    """diag(sigma_1^2, ..., sigma_D^2) for all components (Scrucca et al. 2016, The R Journal 8, table 3)."""

    name = "shared_diagonal"
    is_shared = True

    def shape(self, components: int, dimensions: int) -> tuple[int, ...]:
        """[D]."""
        return (dimensions,)

    def num_parameters(self, components: int, dimensions: int) -> int:
        """D."""
        return dimensions

    def fewest_points(self, dimensions: int) -> int:
        """0: the points of all components determine the variances."""
        return 0

    def nearest(self, covariances: Matrices) -> Matrices:
        """The mean of the diagonals. [D]"""
        return covariances.diagonal(axis1=1, axis2=2).mean(axis=0)

    def dense(self, entries: Array, components: int, dimensions: int) -> Array:
        """One diagonal matrix, repeated. [K, D, D]"""
        return jnp.tile(jnp.diag(entries), (components, 1, 1))
