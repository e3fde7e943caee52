"""A fifth covariance family, as somebody else would write it: mclust's EEI, one diagonal covariance for all components.

As a plugin of pytest (`-p fifth_family`) it registers the family, so that the tests over the registry ask it as well.
"""

import jax.numpy as jnp
from jax import Array

from workbench.mixture import COVARIANCES
from workbench.mixture.covariance.base import Matrices
from workbench.mixture.covariance.vectors import DeviationCovariance


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
        """0: the variances rest on the points of all components."""
        return 0

    def nearest(self, covariances: Matrices) -> Matrices:
        """The mean of their diagonals. [D]"""
        return covariances.diagonal(axis1=1, axis2=2).mean(axis=0)

    def dense(self, entries: Array, components: int, dimensions: int) -> Array:
        """The one diagonal matrix, repeated. [K, D, D]"""
        return jnp.tile(jnp.diag(entries), (components, 1, 1))


def pytest_load_initial_conftests() -> None:
    """Before any module of the tests, or of the package, lists the families."""
    COVARIANCES[SharedDiagonal.name] = SharedDiagonal()
