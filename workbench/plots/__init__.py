"""Plots of a comparison. Each function draws on the Axes that it is given, and changes nothing else."""

from workbench.plots.draws import clustering, labels, posterior
from workbench.plots.fit import fit, pairs
from workbench.plots.score import score, waterfall
from workbench.plots.style import colours

__all__ = ["clustering", "colours", "fit", "labels", "pairs", "posterior", "score", "waterfall"]
