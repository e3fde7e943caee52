"""Starts by several rules in turn: which rule serves best differs from data to data, and nobody knows beforehand."""

from typing import ClassVar, Literal

import jax
import numpy as np

from workbench.mixture import Mixture
from workbench.problem import Problem
from workbench.starts.base import Start
from workbench.starts.hierarchical import Hierarchical
from workbench.starts.kmeans import VariedSeeds
from workbench.starts.random import RandomPoints

# From groups that fit, from seeds far apart, and from wide components anywhere: each leads to optima that the others
# miss. Seeds have every second turn, because they reach the most by themselves and differ from restart to restart;
# eight restarts hold both hierarchical starts of all rows. benchmarks/starts.py sets the rules side by side.
SEEDS = VariedSeeds()
TURNS: tuple[Start, ...] = (Hierarchical(), SEEDS, RandomPoints(), SEEDS)


class Alternating(Start):
    """Hierarchical clustering, varied seeds, random points, varied seeds in turn; each rule has its starts in order."""

    rule: Literal["alternating"] = "alternating"
    summary: ClassVar[str] = "hierarchical, varied_seeds, random_points and varied_seeds in turn"

    def draw(self, problem: Problem, restarts: int, seed: int) -> Mixture:
        """The first starts of each rule, in its places."""
        turns = np.arange(restarts) % len(TURNS)
        places = {rule: np.flatnonzero([TURNS[turn] is rule for turn in turns]) for rule in dict.fromkeys(TURNS)}
        drawn = [rule.draw(problem, len(mine), seed) for rule, mine in places.items() if len(mine)]
        # From one rule after the other to restarts in order.
        order = np.argsort(np.concatenate(list(places.values())))
        return jax.tree.map(lambda *leaves: np.concatenate(leaves)[order], *drawn)
