"""Starts by several rules in turn: which rule serves best differs from data to data, and nobody knows beforehand."""

from typing import ClassVar, Literal

import jax
import numpy as np

from workbench.mixture import Mixture
from workbench.problem import Problem
from workbench.starts.base import Start
from workbench.starts.hierarchical import Hierarchical
from workbench.starts.kmeans import RawKMeans, VariedSeeds
from workbench.starts.short_em import ShortEM

# Short EM has every second turn, because it reaches the most by itself; between its turns come groups that fit, k-means
# in the data's own units, and seeds far apart, which lead to optima that it can miss. The first eight hold both
# hierarchical starts of all rows. benchmarks/starts.py sets the rules side by side.
SHORT, GROUPS = ShortEM(), Hierarchical()
TURNS: tuple[Start, ...] = (GROUPS, SHORT, RawKMeans(), SHORT, GROUPS, SHORT, VariedSeeds(), SHORT)


class Alternating(Start):
    """Every second start by short EM; between them hierarchical clustering, k-means, and varied seeds in turn.

    Each rule has its starts in order.
    """

    rule: Literal["alternating"] = "alternating"
    summary: ClassVar[str] = "short_em every second time; hierarchical, raw_kmeans, hierarchical, varied_seeds between"
    climbs: ClassVar[bool] = True

    def draw(self, problem: Problem, restarts: int, seed: int) -> Mixture:
        """The first starts of each rule, in its places."""
        turns = np.arange(restarts) % len(TURNS)
        places = {rule: np.flatnonzero([TURNS[turn] is rule for turn in turns]) for rule in dict.fromkeys(TURNS)}
        drawn = [rule.draw(problem, len(mine), seed) for rule, mine in places.items() if len(mine)]
        # From one rule after the other to restarts in order.
        order = np.argsort(np.concatenate(list(places.values())))
        return jax.tree.map(lambda *leaves: np.concatenate(leaves)[order], *drawn)
