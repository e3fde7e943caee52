"""Diagnostics of traces: statuses, checks, convergence of chains, agreement with known answers, held-out scores."""

from workbench.diagnostics.agreement import adjusted_rand_index, agreement_with, matched_error
from workbench.diagnostics.convergence import Mixing, mixing_of
from workbench.diagnostics.predictive import (
    Evidence,
    Predictive,
    heldout_log_density,
    heldout_scores,
    pooled_evidence,
)
from workbench.diagnostics.status import RestartStatus, Status, checks, restart_statuses

__all__ = [
    "Evidence",
    "Mixing",
    "Predictive",
    "RestartStatus",
    "Status",
    "adjusted_rand_index",
    "agreement_with",
    "checks",
    "heldout_log_density",
    "heldout_scores",
    "matched_error",
    "mixing_of",
    "pooled_evidence",
    "restart_statuses",
]
