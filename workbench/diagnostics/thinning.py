"""Thinning: an evenly spaced choice of draws, where the average over all of them would cost more than it gains."""

import jax
import numpy as np

from workbench.mixture import Mixture


def thinned(mixtures: Mixture, count: int) -> Mixture:
    """At most `count` of the mixtures, spread evenly from the first to the last. Leaves [S, ...]

    Args:
        mixtures: leaves [S, ...]; [R, S, ...] as in `Trace.answer`; or one mixture, a sample of size one.
        count: most mixtures to keep.
    """
    axes = np.ndim(mixtures.weights) - 1
    flat = jax.tree.map(lambda leaf: np.asarray(leaf).reshape(-1, *np.shape(leaf)[axes:]), mixtures)
    chosen = evenly(len(flat.weights), count)
    return jax.tree.map(lambda leaf: leaf[chosen], flat)


def evenly(total: int, count: int) -> np.ndarray:
    """At most `count` of the indices below `total`, evenly spaced, with the first and the last among them. [count]"""
    return np.unique(np.linspace(0, total - 1, min(total, count)).astype(int))
