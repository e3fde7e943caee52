"""The whole posterior: exact posteriors of tiny problems, and the labels of draws."""

from workbench.posterior.exact import (
    ExactPosterior,
    ReferencePosterior,
    exact_posterior,
    read_reference,
    reference_names,
)
from workbench.posterior.relabelling import RELABELLINGS
from workbench.posterior.scoring import z_scores
from workbench.posterior.summary import PosteriorSummary, posterior_summary
from workbench.posterior.switching import (
    Convergence,
    RelabelledDraws,
    Switching,
    invariant_convergence,
    label_switching,
    parameter_convergence,
    relabel,
)

__all__ = [
    "RELABELLINGS",
    "Convergence",
    "ExactPosterior",
    "PosteriorSummary",
    "ReferencePosterior",
    "RelabelledDraws",
    "Switching",
    "exact_posterior",
    "invariant_convergence",
    "label_switching",
    "parameter_convergence",
    "posterior_summary",
    "read_reference",
    "reference_names",
    "relabel",
    "z_scores",
]
