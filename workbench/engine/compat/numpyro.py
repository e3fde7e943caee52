"""The parts of NumPyro's undocumented interface that the package uses, in one place in case a version moves them."""

from numpyro.infer.gibbs import any_changed
from numpyro.infer.hmc import hmc
from numpyro.util import is_prng_key

__all__ = ["any_changed", "hmc", "is_prng_key"]
