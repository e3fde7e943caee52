"""The interfaces of weight coordinates and of covariance coordinates; a chart consists of one of each."""

from abc import ABC, abstractmethod
from typing import ClassVar, NamedTuple

from jax import Array

from workbench.mixture import Covariance


class Coordinates(NamedTuple):
    """A point of a chart, in the working units of the data."""

    weights: Array  # [K] or [K - 1]
    means: Array  # [K, D]
    scales: Array  # [K, D (D + 1) / 2] full, [D (D + 1) / 2] tied, [K, D] diagonal, [K] spherical


class WeightCoordinates(ABC):
    """Real coordinates of the weights. Instances have no state."""

    name: ClassVar[str]
    summary: ClassVar[str]
    covers: ClassVar[bool] = True  # whether every array of finite numbers gives weights

    @abstractmethod
    def unconstrain(self, weights: Array) -> Array:
        """Coordinates of positive weights [K] that sum to one. [K] or [K - 1]"""

    @abstractmethod
    def constrain(self, free: Array) -> Array:
        """The weights at these coordinates, which sum to one; inverse of `unconstrain`. [K]"""


class ScaleCoordinates(ABC):
    """Real coordinates of the covariances of any family. Instances have no state."""

    name: ClassVar[str]
    summary: ClassVar[str]
    covers: ClassVar[bool] = True  # whether every array of finite numbers gives covariances

    @abstractmethod
    def unconstrain(self, scales: Array, covariance: Covariance) -> Array:
        """Coordinates of the scales, as many as the family has free parameters; components are the first axis."""

    @abstractmethod
    def constrain(self, free: Array, covariance: Covariance) -> Array:
        """Scales in the family's shape; inverse of `unconstrain`, NaN where the coordinates give no covariance."""
