"""What is used of NumPyro beyond its documented interface, in one place for when a version moves it."""

from numpyro.infer.gibbs import any_changed
from numpyro.infer.hmc import hmc
from numpyro.util import is_prng_key

__all__ = ["any_changed", "hmc", "is_prng_key"]
