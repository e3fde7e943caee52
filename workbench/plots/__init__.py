"""Plots of a comparison. Each function draws on the Axes that it is given, and changes nothing else."""

from workbench.plots.animation import animation, climbing
from workbench.plots.classification import classification, uncertainty
from workbench.plots.draws import clustering, labels, posterior
from workbench.plots.fit import fit, pairs
from workbench.plots.parameters import forest, groups_of, left_out, marginals, panels_of, ranks, trace
from workbench.plots.score import score, waterfall
from workbench.plots.style import colours

__all__ = [
    "animation",
    "classification",
    "climbing",
    "clustering",
    "colours",
    "fit",
    "forest",
    "groups_of",
    "labels",
    "left_out",
    "marginals",
    "pairs",
    "panels_of",
    "posterior",
    "ranks",
    "score",
    "trace",
    "uncertainty",
    "waterfall",
]
