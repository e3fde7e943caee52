"""Starts: the mixtures at which methods begin. A start depends on (problem, seed, restart) and on nothing else.

Starts are drawn from the rows held in memory: all rows, or an evenly spaced sample if they are streamed.
"""

from workbench.starts.base import Start, draw_starts
from workbench.starts.groups import KMeans, KMeansPlusPlus, RawKMeans, VariedSeeds
from workbench.starts.hierarchical import Hierarchical
from workbench.starts.plain import Given, Labellings, RandomPoints, RandomResponsibilities, Stated
from workbench.starts.short_em import Alternating, ShortEM

STARTS: dict[str, type[Start]] = {
    "alternating": Alternating,
    "random_points": RandomPoints,
    "kmeans": KMeans,
    "raw_kmeans": RawKMeans,
    "kmeans++": KMeansPlusPlus,
    "varied_seeds": VariedSeeds,
    "hierarchical": Hierarchical,
    "short_em": ShortEM,
    "random_responsibilities": RandomResponsibilities,
    "given": Given,
    "labellings": Labellings,
}

__all__ = [
    "STARTS",
    "Alternating",
    "Given",
    "Hierarchical",
    "KMeans",
    "KMeansPlusPlus",
    "Labellings",
    "RandomPoints",
    "RandomResponsibilities",
    "RawKMeans",
    "ShortEM",
    "Start",
    "Stated",
    "VariedSeeds",
    "draw_starts",
]
