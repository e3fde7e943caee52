"""Starts by hierarchical clustering: the default of mclust, in the units that it and scikit-learn prefer, by turns."""

from typing import ClassVar, Literal

import numpy as np

from workbench.starts.agglomeration import agglomerate
from workbench.starts.groups import GroupedStart, Groups, Points, groups_of, principal_axes


class Hierarchical(GroupedStart):
    """Groups by model-based agglomeration, which merges the rows that fit Gaussian groups best.

    Restarts take whitened and scaled units by turns (Scrucca & Raftery 2015, "Improved initialisation of model-based
    clustering using Gaussian hierarchical clustering", ADAC 9: which serve better depends on the data). The first in
    each have all rows, those after them a random half each: merging has nothing else that varies. Components begin with
    the pooled covariance: merged rows lie in narrow ellipsoids, and EM that begins with those leaves them less easily.
    """

    rule: Literal["hierarchical"] = "hierarchical"
    summary: ClassVar[str] = "groups by model-based agglomeration; of half of the rows from the third restart on"

    # Merging takes time in proportion to the square of the rows and the cube of the axes: at these numbers a second.
    most_rows: ClassVar[int] = 500
    most_axes: ClassVar[int] = 20

    def group(self, x: Points, components: int, rng: np.random.Generator, restart: int) -> Groups:
        """The groups of all rows, or of half of them."""
        # One column is whitened when it is scaled.
        turns = 1 if x.shape[1] == 1 else 2
        if restart >= turns and len(x) < self.most_rows:  # more rows were a random sample already
            size = max(len(x) // 2, min(len(x), 4 * components))
            x = x[np.sort(rng.choice(len(x), size, replace=False))]
        unwhitened, whitened = principal_axes(x, self.most_axes)
        labels = agglomerate(unwhitened if restart % turns else whitened, components)
        groups = groups_of(x, labels, components)
        return groups._replace(covariances=np.tile(groups.pooled, (components, 1, 1)))
