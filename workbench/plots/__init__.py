"""Plots of a comparison. Each function draws on the Axes that it is given, and changes nothing else."""

from workbench.plots.clustering import clustering
from workbench.plots.fit import fit, pairs
from workbench.plots.labels import labels
from workbench.plots.posterior import posterior
from workbench.plots.score import score
from workbench.plots.style import colours
from workbench.plots.waterfall import waterfall

__all__ = ["clustering", "colours", "fit", "labels", "pairs", "posterior", "score", "waterfall"]
