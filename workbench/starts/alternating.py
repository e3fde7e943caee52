"""Starts by several rules in turn, because which rule is best depends on the data and is not known in advance."""

from typing import ClassVar, Literal

import jax
import numpy as np

from workbench.mixture import Mixture
from workbench.problem import Problem
from workbench.starts.base import Start
from workbench.starts.hierarchical import Hierarchical
from workbench.starts.kmeans import RawKMeans, VariedSeeds
from workbench.starts.short_em import ShortEM

# Short EM takes every second turn, because it finds the best optima when used alone. Between its turns come
# hierarchical clustering, k-means in the data's own units, and varied seeds, which lead to optima that it can miss. The
# first eight starts include both hierarchical starts from all rows. benchmarks/starts.py compares the rules.
SHORT, GROUPS = ShortEM(), Hierarchical()
TURNS: tuple[Start, ...] = (GROUPS, SHORT, RawKMeans(), SHORT, GROUPS, SHORT, VariedSeeds(), SHORT)


class Alternating(Start):
    """Every second start is by short EM; the others are by hierarchical clustering, k-means and varied seeds in turn.

    The starts of each rule are used in its own order.
    """

    rule: Literal["alternating"] = "alternating"
    summary: ClassVar[str] = "short_em every second time; hierarchical, raw_kmeans, hierarchical, varied_seeds between"
    climbs: ClassVar[bool] = True

    def draw(self, problem: Problem, restarts: int, seed: int) -> Mixture:
        """The first starts of each rule, at the positions of its turns."""
        turns = np.arange(restarts) % len(TURNS)
        places = {rule: np.flatnonzero([TURNS[turn] is rule for turn in turns]) for rule in dict.fromkeys(TURNS)}
        drawn = [rule.draw(problem, len(mine), seed) for rule, mine in places.items() if len(mine)]
        # Reorder from rule by rule to the order of the restarts.
        order = np.argsort(np.concatenate(list(places.values())))
        return jax.tree.map(lambda *leaves: np.concatenate(leaves)[order], *drawn)
