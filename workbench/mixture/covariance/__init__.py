"""Covariance families: one file each, found by name in `COVARIANCES`."""

from workbench.data.names import unknown_name
from workbench.errors import InputError
from workbench.mixture.covariance.base import Covariance, Natural, Statistics
from workbench.mixture.covariance.diagonal import Diagonal
from workbench.mixture.covariance.full import Full, lower_triangular
from workbench.mixture.covariance.spherical import Spherical
from workbench.mixture.covariance.tied import Tied

COVARIANCES: dict[str, Covariance] = {family.name: family for family in (Full(), Tied(), Diagonal(), Spherical())}


def covariance_named(name: str) -> Covariance:
    """The covariance family of the given name.

    Raises:
        InputError: the name is unknown; the message lists the known ones.
    """
    if name not in COVARIANCES:
        raise InputError(f"covariance: {unknown_name('family', name, tuple(COVARIANCES))}")
    return COVARIANCES[name]


__all__ = [
    "COVARIANCES",
    "Covariance",
    "Diagonal",
    "Full",
    "Natural",
    "Spherical",
    "Statistics",
    "Tied",
    "covariance_named",
    "lower_triangular",
]
