"""The whole posterior: what is known of it exactly, and the labels of its draws."""

from workbench.posterior.enumeration import ExactPosterior, exact_posterior
from workbench.posterior.reference import Reference, read_reference, reference_names
from workbench.posterior.scoring import z_scores

__all__ = [
    "ExactPosterior",
    "Reference",
    "exact_posterior",
    "read_reference",
    "reference_names",
    "z_scores",
]
