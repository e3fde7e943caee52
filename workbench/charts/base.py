"""What coordinates of the weights and of the covariances must answer; a chart is one of each."""

from abc import ABC, abstractmethod
from typing import ClassVar, NamedTuple

from jax import Array

from workbench.mixture import Covariance


class Coordinates(NamedTuple):
    """A point of a chart, in the working units of the data."""

    weights: Array  # [K] or [K - 1]
    means: Array  # [K, D]
    scales: Array  # [K, D (D + 1) / 2], [D (D + 1) / 2], [K, D] or [K]: full, tied, diagonal, spherical


class WeightCoordinates(ABC):
    """Real coordinates of the weights. Stateless."""

    name: ClassVar[str]
    summary: ClassVar[str]
    covers: ClassVar[bool] = True  # every array of finite numbers is one of weights

    @abstractmethod
    def unconstrain(self, weights: Array) -> Array:
        """Coordinates of positive weights [K] that sum to one. [K] or [K - 1]"""

    @abstractmethod
    def constrain(self, free: Array) -> Array:
        """Weights at these coordinates, whose sum is one; inverse of `unconstrain`. [K]"""


class ScaleCoordinates(ABC):
    """Real coordinates of the covariances of any family. Stateless."""

    name: ClassVar[str]
    summary: ClassVar[str]
    covers: ClassVar[bool] = True  # every array of finite numbers is one of covariances

    @abstractmethod
    def unconstrain(self, scales: Array, covariance: Covariance) -> Array:
        """As many coordinates as the family has free parameters, components first."""

    @abstractmethod
    def constrain(self, free: Array, covariance: Covariance) -> Array:
        """Scales in the family's shape; inverse of `unconstrain`, NaN where there are none."""
