"""The whole posterior: what is known of it exactly, and the labels of its draws."""

from workbench.posterior.enumeration import ExactPosterior, exact_posterior

__all__ = ["ExactPosterior", "exact_posterior"]
