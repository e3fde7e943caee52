"""Relabelling algorithms, one file each, looked up by name in `RELABELLINGS`, after R's package label.switching."""

from workbench.posterior.relabelling.agreement import Relabelled, agreement, agreement_matrix, timed
from workbench.posterior.relabelling.base import Relabelling, apply
from workbench.posterior.relabelling.data_based import data_based
from workbench.posterior.relabelling.ecr import ecr, ecr_iterative_1, ecr_iterative_2
from workbench.posterior.relabelling.ordering import ordering
from workbench.posterior.relabelling.pivotal import pivotal
from workbench.posterior.relabelling.stephens import stephens

RELABELLINGS: dict[str, Relabelling] = {
    "ordering": ordering,
    "ecr": ecr,
    "ecr_iterative_1": ecr_iterative_1,
    "ecr_iterative_2": ecr_iterative_2,
    "stephens": stephens,
    "pivotal": pivotal,
    "data_based": data_based,
}

__all__ = ["RELABELLINGS", "Relabelled", "Relabelling", "agreement", "agreement_matrix", "apply", "timed"]
