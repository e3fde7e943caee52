"""Relabelling by order: components are called by the rank of one coordinate of their means."""

import numpy as np

from workbench.mixture import Mixture
from workbench.problem import Problem


def ordering(mixtures: Mixture, log_joint: np.ndarray, problem: Problem, *, coordinate: int = 0) -> np.ndarray:
    """Increasing in one coordinate of the means. [R, S, K]

    The artificial identifiability constraint (Diebolt & Robert 1994, JRSS B 56): the cheapest, and wrong where
    components differ in anything else (Stephens 2000).
    """
    return np.argsort(np.asarray(mixtures.means)[..., coordinate], axis=-1, kind="stable")
