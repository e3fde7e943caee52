"""Starts by hierarchical clustering, the default of mclust, alternately in whitened and in scaled units."""

from typing import ClassVar, Literal

import numpy as np

from workbench.starts.agglomeration import agglomerate
from workbench.starts.groups import GroupedStart, Groups, Points, groups_of, principal_axes


class Hierarchical(GroupedStart):
    """Groups by model-based agglomeration, which merges the rows that fit Gaussian groups best.

    Restarts alternate between whitened and scaled units; which are better depends on the data (Scrucca & Raftery 2015,
    "Improved initialisation of model-based clustering using Gaussian hierarchical clustering", ADAC 9). The first
    restart in each kind of unit uses all rows, and each later one a random half, since agglomeration is deterministic.
    Components start with the pooled covariance, because merged rows lie in narrow ellipsoids, which EM would leave less
    easily.
    """

    rule: Literal["hierarchical"] = "hierarchical"
    summary: ClassVar[str] = "groups by model-based agglomeration; of half of the rows from the third restart on"

    # The time grows with the square of the rows and the cube of the axes; with these numbers it is about a second.
    most_rows: ClassVar[int] = 500
    most_axes: ClassVar[int] = 20

    def group(self, x: Points, components: int, rng: np.random.Generator, restart: int) -> Groups:
        """The groups of all rows, or of half of them."""
        # For one column, scaling and whitening are the same.
        turns = 1 if x.shape[1] == 1 else 2
        if restart >= turns and len(x) < self.most_rows:  # more rows are already a random sample
            size = max(len(x) // 2, min(len(x), 4 * components))
            x = x[np.sort(rng.choice(len(x), size, replace=False))]
        unwhitened, whitened = principal_axes(x, self.most_axes)
        labels = agglomerate(unwhitened if restart % turns else whitened, components)
        groups = groups_of(x, labels, components)
        return groups._replace(covariances=np.tile(groups.pooled, (components, 1, 1)))
