"""Gaussian mixtures: parameters, covariance families and priors."""

from workbench.mixture.background import Background
from workbench.mixture.covariance import COVARIANCES, Covariance, Statistics, covariance_named
from workbench.mixture.fixed import Fixed
from workbench.mixture.mixture import Mixture, num_parameters
from workbench.mixture.prior import (
    PRIORS,
    BoundedRatioPrior,
    ChenTanPrior,
    ConjugatePrior,
    DiagonalLoadingPrior,
    FlatPrior,
    IndependentPrior,
    Prior,
)

__all__ = [
    "COVARIANCES",
    "PRIORS",
    "Background",
    "BoundedRatioPrior",
    "ChenTanPrior",
    "ConjugatePrior",
    "Covariance",
    "DiagonalLoadingPrior",
    "Fixed",
    "FlatPrior",
    "IndependentPrior",
    "Mixture",
    "Prior",
    "Statistics",
    "covariance_named",
    "num_parameters",
]
