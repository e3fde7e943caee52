"""Starts by two rules in turn: which serves better differs from data to data, and nobody knows beforehand."""

from typing import ClassVar, Literal

import jax
import numpy as np

from workbench.mixture import Mixture
from workbench.problem import Problem
from workbench.starts.base import Start
from workbench.starts.hierarchical import Hierarchical
from workbench.starts.kmeans import VariedSeeds

# Groups that fit lead to optima that seeds miss, but to nearly the same ones from restart to restart. So they have one
# turn in four: eight restarts are the two hierarchical starts of all rows, and seeds in each of three units with either
# covariances. benchmarks/starts.py sets the rules side by side.
TURNS = 4


class Alternating(Start):
    """Restart 0, 4, 8 and so on by hierarchical clustering, all others by varied seeds, each rule in its own order."""

    rule: Literal["alternating"] = "alternating"
    summary: ClassVar[str] = "one start in four hierarchical, the others varied_seeds"

    def draw(self, problem: Problem, restarts: int, seed: int) -> Mixture:
        """The first starts of both rules, each in its places."""
        places = np.arange(restarts)
        rules: tuple[tuple[Start, np.ndarray], ...] = (
            (Hierarchical(), places[places % TURNS == 0]),
            (VariedSeeds(), places[places % TURNS != 0]),
        )
        drawn = [rule.draw(problem, len(mine), seed) for rule, mine in rules if len(mine)]
        # From one rule after the other to restarts in order.
        order = np.argsort(np.concatenate([mine for _, mine in rules]))
        return jax.tree.map(lambda *leaves: np.concatenate(leaves)[order], *drawn)
