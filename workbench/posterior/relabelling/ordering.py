"""Relabelling by order: a component's label is the rank of one coordinate of its mean."""

import numpy as np

from workbench.mixture import Mixture
from workbench.problem import Problem


def ordering(mixtures: Mixture, log_joint: np.ndarray, problem: Problem, *, coordinate: int = 0) -> np.ndarray:
    """Orders in which one coordinate of the means increases. [R, S, K]

    This is the artificial identifiability constraint (Diebolt & Robert 1994, JRSS B 56). It is the cheapest algorithm,
    and gives wrong labels where components differ in something else (Stephens 2000).
    """
    return np.argsort(np.asarray(mixtures.means)[..., coordinate], axis=-1, kind="stable")
