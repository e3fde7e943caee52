"""Priors: one file each, found by name in `PRIORS`. Regularisers belong here and nowhere else."""

from workbench.mixture.prior.base import FlatPrior, Hyperparameters, Prior
from workbench.mixture.prior.bounded_ratio import BoundedRatioPrior
from workbench.mixture.prior.chen_tan import ChenTanPrior
from workbench.mixture.prior.conjugate import ConjugatePrior
from workbench.mixture.prior.diagonal_loading import DiagonalLoadingPrior
from workbench.mixture.prior.independent import IndependentPrior

PRIORS: dict[str, type[Prior]] = {
    "flat": FlatPrior,
    "conjugate": ConjugatePrior,
    "independent": IndependentPrior,
    "chen_tan": ChenTanPrior,
    "bounded_ratio": BoundedRatioPrior,
    "diagonal_loading": DiagonalLoadingPrior,
}

__all__ = [
    "PRIORS",
    "BoundedRatioPrior",
    "ChenTanPrior",
    "ConjugatePrior",
    "DiagonalLoadingPrior",
    "FlatPrior",
    "Hyperparameters",
    "IndependentPrior",
    "Prior",
]
