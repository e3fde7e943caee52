"""Starts by several rules in turn: which rule serves best differs from data to data, and nobody knows beforehand."""

from typing import ClassVar, Literal

import jax
import numpy as np

from workbench.mixture import Mixture
from workbench.problem import Problem
from workbench.starts.base import Start
from workbench.starts.hierarchical import Hierarchical
from workbench.starts.kmeans import KMeans
from workbench.starts.random import RandomPoints

# From groups that fit, from groups that are compact, and from none at all: each finds optima that the others miss.
# Restart r is start r // 3 of rule r % 3. benchmarks/starts.py sets the rules side by side.
RULES: tuple[Start, ...] = (Hierarchical(), KMeans(), RandomPoints())


class Alternating(Start):
    """Hierarchical clustering, k-means and random points in turn, each with its own starts in their order."""

    rule: Literal["alternating"] = "alternating"
    summary: ClassVar[str] = "hierarchical, kmeans and random_points in turn"

    def draw(self, problem: Problem, restarts: int, seed: int) -> Mixture:
        """Restart r is start r // 3 of the rule in place r % 3."""
        turns = len(RULES)
        used = RULES[: min(turns, restarts)]
        drawn = [rule.draw(problem, -(-(restarts - place) // turns), seed) for place, rule in enumerate(used)]
        # From one rule after the other to restarts in order.
        order = np.argsort(np.concatenate([np.arange(place, restarts, turns) for place in range(len(used))]))
        return jax.tree.map(lambda *leaves: np.concatenate(leaves)[order], *drawn)
