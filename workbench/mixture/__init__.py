"""Gaussian mixtures: parameters, covariance families, priors and the one pass over the data."""

from workbench.mixture.covariance import COVARIANCES, Covariance, Statistics
from workbench.mixture.mixture import Mixture, covariance_named
from workbench.mixture.one_pass import log_likelihood, one_pass
from workbench.mixture.prior import (
    PRIORS,
    BoundedRatioPrior,
    ChenTanPrior,
    ConjugatePrior,
    FlatPrior,
    IndependentPrior,
    Prior,
)
from workbench.mixture.rows import Rows

__all__ = [
    "COVARIANCES",
    "PRIORS",
    "BoundedRatioPrior",
    "ChenTanPrior",
    "ConjugatePrior",
    "Covariance",
    "FlatPrior",
    "IndependentPrior",
    "Mixture",
    "Prior",
    "Rows",
    "Statistics",
    "covariance_named",
    "log_likelihood",
    "one_pass",
]
