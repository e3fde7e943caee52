"""Gaussian mixtures by EM, direct gradient ascent and MCMC, compared on the same terms."""

__version__ = "0.1.0"
