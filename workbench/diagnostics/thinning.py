"""Fewer draws: an even choice of a sample, where the average over all of them costs more than it tells."""

import jax
import numpy as np

from workbench.mixture import Mixture


def thinned(mixtures: Mixture, count: int) -> Mixture:
    """At most `count` of the mixtures with leaves [S, ...], spread evenly from the first to the last."""
    chosen = evenly(len(mixtures.weights), count)
    return jax.tree.map(lambda leaf: leaf[chosen], mixtures)


def evenly(total: int, count: int) -> np.ndarray:
    """At most `count` places out of `total`, the first and the last among them. [count]"""
    return np.unique(np.linspace(0, total - 1, min(total, count)).astype(int))
