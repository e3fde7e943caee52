"""Finds a prior by its name, in a file of its own: what calls it does not depend on the code of every prior."""

from workbench.data.names import unknown_name
from workbench.errors import InputError, shown
from workbench.mixture.prior import PRIORS, FlatPrior, Prior


def prior_named(given: Prior | str | None) -> Prior:
    """A prior, by itself or by the name of its class in the registry; the flat one unless given.

    Raises:
        InputError: it is none of these.
    """
    if isinstance(given, str):
        if given not in PRIORS:
            raise InputError(f"prior: {unknown_name('prior', given, tuple(PRIORS))}")
        return PRIORS[given].model_validate({})
    if not isinstance(given, Prior | None):
        raise InputError(f"prior: {shown(given)} is none; give a prior, as ConjugatePrior(), or the name of one")
    return FlatPrior() if given is None else given
