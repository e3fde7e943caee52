"""Covariance families: one file each, found by name in `COVARIANCES`."""

from workbench.mixture.covariance.base import Covariance, Natural, Statistics
from workbench.mixture.covariance.diagonal import Diagonal
from workbench.mixture.covariance.full import Full, lower_triangular
from workbench.mixture.covariance.spherical import Spherical
from workbench.mixture.covariance.tied import Tied

COVARIANCES: dict[str, Covariance] = {family.name: family for family in (Full(), Tied(), Diagonal(), Spherical())}

__all__ = [
    "COVARIANCES",
    "Covariance",
    "Diagonal",
    "Full",
    "Natural",
    "Spherical",
    "Statistics",
    "Tied",
    "lower_triangular",
]
