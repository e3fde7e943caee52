"""Priors: one file each, found by name in `PRIORS`. Regularisers belong here and nowhere else."""

from workbench.errors import InputError, shown
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
    "prior_named",
]


def prior_named(given: Prior | str | None) -> Prior:
    """A prior, by itself or by the name of its class in the registry; the flat one unless given.

    Raises:
        InputError: it is none of these.
    """
    if isinstance(given, str):
        if given not in PRIORS:
            raise InputError(f"prior: unknown prior {shown(given)}; allowed: {', '.join(PRIORS)}")
        return PRIORS[given].model_validate({})
    if not isinstance(given, Prior | None):
        raise InputError(f"prior: {shown(given)} is none; give a prior, as ConjugatePrior(), or the name of one")
    return FlatPrior() if given is None else given
