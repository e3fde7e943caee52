"""Priors: one file each, found by name in `PRIORS`. The only place for a regulariser."""

from workbench.mixture.prior.base import Hyperparameters, Prior
from workbench.mixture.prior.conjugate import ConjugatePrior
from workbench.mixture.prior.flat import FlatPrior
from workbench.mixture.prior.independent import IndependentPrior

PRIORS: dict[str, type[Prior]] = {
    "flat": FlatPrior,
    "conjugate": ConjugatePrior,
    "independent": IndependentPrior,
}

__all__ = ["PRIORS", "ConjugatePrior", "FlatPrior", "Hyperparameters", "IndependentPrior", "Prior"]
