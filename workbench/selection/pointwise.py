"""The log-likelihood of single points under every draw, without holding all points at once."""

from collections.abc import Iterator

import jax
import numpy as np
from jax import Array
from numpy.typing import NDArray

from workbench.mixture import Mixture
from workbench.mixture.filled import filled

# The most numbers of a matrix of draws and points that are held at once: 64 MiB.
HELD = 2**23


def log_likelihoods(draws: Mixture, x: NDArray[np.float64]) -> Iterator[np.ndarray]:
    """ln P(x_n | draw) for draws with leaves [R, S, ...], in blocks of the points x [N, D]. [B, R, S]"""
    chains, kept = draws.weights.shape[:2]
    flat = filled(jax.tree.map(lambda leaf: np.reshape(np.asarray(leaf), (-1, *leaf.shape[2:])), draws))
    size = max(1, min(HELD // (chains * kept), len(x)))
    for first in range(0, len(x), size):
        block = np.asarray(x[first : first + size])
        # The last block is filled with repeated points, so that one program serves all blocks.
        padded = np.resize(block, (size, x.shape[1]))
        values = np.asarray(_of_draws(flat, padded))[:, : len(block)]
        yield np.ascontiguousarray(values.T).reshape(len(block), chains, kept)


@jax.jit
def _of_draws(mixtures: Mixture, x: Array) -> Array:
    """ln P(x_n | draw) of one block. [R S, B]"""
    return jax.lax.map(lambda mixture: mixture.log_density(x), mixtures)
